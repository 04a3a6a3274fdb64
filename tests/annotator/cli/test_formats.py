"""`annotator export`, `import` and `formats` on a project with photos, without a backbone."""

import hashlib
import json
import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from annotator.cli.main import main
from annotator.datasets.formats import registry
from annotator.datasets.tags import tag_key
from annotator.datasets.vocabulary_file import VocabularyTag
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.field_values import FieldValues
from annotator.storage.images import ImageEntry, IngestedBatch, SeenPath
from annotator.storage.project import Project
from annotator.storage.vocabulary import replace_vocabulary

LISTS = {
    "a.jpg": ["cat", "sofa", "red hat", "window", "floor", "lamp", "wall"],
    "sub/b.png": ["dog", "gr\u00fcn", "\u732b", "grass", "tree", "sky", "path"],
    "sub/c.jpg": ["Cat", "bed", "pillow", "wall", "night", "sleep", "fur"],
}
OUTPUT = {"jsonl": "tags.jsonl", "csv": "tags.csv", "parquet": "tags.parquet"}


def make_project(folder: Path, photos: Path, lists: dict[str, list[str]]) -> Path:
    """A project of four photos, of which some are saved."""
    opened = Project.open_or_create(folder, "test")
    store = Store(opened.database_path)
    root = store.images.root_id(photos)
    images, paths = [], []
    for number, name in enumerate([*LISTS, "open.jpg"], start=1):
        path = photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (number, 0, 0)).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        images.append((number, ImageEntry(digest, 8, 6, "JPEG")))
        paths.append(SeenPath(root, name, 1, 1, image_id=number))
    store.images.add(IngestedBatch(images=images, paths=paths))
    log = CorrectionLog(store)
    for image_id, tags in enumerate(lists.values(), start=1):
        log.save(image_id, revision=0, tags=tags, dropped=["bird"], user_name="ana", effort=Effort())
    store.close()
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Three saved photos and one that is not, in a project whose photos are files."""
    return make_project(tmp_path / "project", tmp_path / "photos", LISTS)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def digests(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*") if path.is_file()}  # fmt: skip


def saved(project: Path) -> dict[str, list[str]]:
    store = Store(Project.open(project).database_path)
    rows = store.rows("SELECT p.path, a.tags FROM annotations a JOIN paths p USING (image_id) WHERE a.is_saved")
    store.close()
    return {path: list(tags) for path, tags in rows}


@pytest.mark.parametrize("name", registry.names())
def test_what_is_exported_is_imported_into_an_empty_project(
    name: str, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = digests(tmp_path / "photos")
    assert run("export", project, "--format", name, tmp_path / "out") == 0, capsys.readouterr().err
    assert capsys.readouterr().out == f"3 photos were written to {tmp_path / 'out'}.\n"
    assert digests(tmp_path / "photos") == photos
    empty = make_project(tmp_path / "empty", tmp_path / "photos", {})
    assert run("import", empty, "--format", name, tmp_path / "out") == 0, capsys.readouterr().err
    assert "3 photos were imported, 0 left out." in capsys.readouterr().out
    assert saved(empty) == LISTS
    assert run("import", empty, "--undo", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"change_id": 1, "num_undone": 3, "num_kept": 0}
    assert saved(empty) == {}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], list(LISTS)),
        (["--tag", "CAT"], ["a.jpg", "sub/c.jpg"]),
        (["--query", "sub/"], ["sub/b.png", "sub/c.jpg"]),
        (["--state", "all"], [*LISTS, "open.jpg"]),
        (["--state", "unsaved"], ["open.jpg"]),
        (["--tag", "cat", "--query", "a.jpg"], ["a.jpg"]),
    ],
)
def test_a_selection_is_exported(
    options: list[str], names: list[str], project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", project, *options) == 0
    printed = [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()]
    assert printed == names
    assert run("export", project, tmp_path / "out.jsonl", *options) == 0
    assert [json.loads(line)["image"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == names


def test_sidecars_come_to_lie_beside_the_photos(project: Path, tmp_path: Path) -> None:
    assert run("export", project, "--format", "xmp", tmp_path / "photos", "--set", "profile=immich") == 0
    assert (tmp_path / "photos/sub/b.png.xmp").is_file()
    before = digests(tmp_path / "photos")
    assert run("export", project, "--format", "xmp", tmp_path / "photos", "--set", "profile=immich") == 0
    assert digests(tmp_path / "photos") == before


def test_photos_that_break_a_rule_are_named_and_can_be_left_out(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", project, "--format", "captions", tmp_path / "out", "--state", "all"]
    assert run(*command) == 1
    assert capsys.readouterr().err.splitlines() == [
        "annotator: 1 photo breaks a rule of the format; nothing was written (--leave-out writes the others):",
        "open.jpg: it has no tags, and an empty caption stops a training",
    ]
    assert not (tmp_path / "out").exists()
    assert run(*command, "--leave-out", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["num_photos"], [problem["photo"] for problem in report["problems"]]) == (3, ["open.jpg"])


BAD = {
    "no out": (["export", "PROJECT", "--format", "coco"], "Name the file or folder to write"),
    "bad option": (["export", "PROJECT", "--format", "coco", "OUT", "--set", "a=1"], "has no option 'a'"),
    "bad tag": (["export", "PROJECT", "--tag", "x" * 101], "has 101 characters"),
    "set without out": (["export", "PROJECT", "--format", "csv", "--set", "delimiter=;"], "needs a file to write"),
    "no source": (["import", "PROJECT"], "Name the format and what to read"),
    "missing source": (["import", "PROJECT", "--format", "csv", "nowhere.csv"], "There is no "),
    "nothing to undo": (["import", "PROJECT", "--undo"], "There is nothing to undo."),
    "unknown format": (["formats", "xlsx"], "There is no format 'xlsx'"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_command_is_one_sentence(
    case: str, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = BAD[case]
    places = {"PROJECT": str(project), "OUT": str(tmp_path / "out")}
    assert run(*(places.get(argument, argument) for argument in arguments)) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_an_import_is_previewed_listed_and_undone(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "keywords.csv"
    table.write_text("filename,keywords\nopen.jpg,moon; night\na.jpg,other\nz.jpg,x\n")
    command = ["import", project, "--format", "csv", table]
    assert run(*command, "--dry-run") == 0
    printed = capsys.readouterr()
    assert printed.out == "open.jpg: moon, night\n1 photos would get a list; nothing was written.\n"
    assert printed.err.splitlines() == [
        "left out: a.jpg: ana has saved it already.",
        "left out: z.jpg: the project has no such photo.",
    ]
    assert saved(project) == LISTS
    assert run(*command) == 0
    assert saved(project) == {**LISTS, "open.jpg": ["moon", "night"]}
    capsys.readouterr()
    assert run("import", project, "--list", "--json") == 0
    (change,) = json.loads(capsys.readouterr().out)
    assert (change["kind"], change["num_photos"], change["source"]) == ("accepted", 1, f"csv: {table}")
    assert run("import", project, "--undo") == 0
    assert saved(project) == LISTS


def test_a_damaged_file_imports_nothing(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "tags.jsonl"
    source.write_text('{"image": "open.jpg", "tags": ["moon"]}\n{"image": "a.jpg", "tags"')
    assert run("import", project, "--format", "jsonl", source, "--replace") == 1
    assert "Line 2 of" in capsys.readouterr().err
    assert saved(project) == LISTS


def test_a_damaged_sidecar_refuses_all_or_is_left_out(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos/open.jpg.xmp").write_text("<x")
    run("export", project, "--format", "xmp", tmp_path / "photos")
    command = ["import", project, "--format", "xmp", tmp_path / "photos", "--replace", "--as", "draft"]
    assert run(*command) == 1
    assert "1 of the photos could not be read, the first is open.jpg" in capsys.readouterr().err
    assert run(*command, "--leave-out") == 0
    assert "3 photos were imported" in capsys.readouterr().out


def test_formats_lists_what_survives_and_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("formats", "--json") == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert list(found) == registry.names()
    assert found["xmp"]["survives"] == {
        "order": "yes", "scores": "no", "who": "no", "dropped": "no", "hierarchy": "yes"
    }  # fmt: skip
    for one in found.values():
        assert all(option["what"].endswith(".") for option in one["options"]), one["name"]
    assert [option["name"] for option in found["pond5"]["options"]] == [
        "category", "title_tags", "copyright", "price", "editorial"
    ]  # fmt: skip
    assert run("formats") == 0
    assert len(capsys.readouterr().out.splitlines()) == len(found) + 1
    assert run("formats", "captions") == 0
    assert '  trigger="": Words put before all tags' in capsys.readouterr().out


def test_a_format_that_names_what_survives_keeps_it(project: Path, tmp_path: Path) -> None:
    """Dropped tags come back from exactly the formats that say so."""
    for name in registry.names():
        format = registry.find(name)
        out = tmp_path / f"out-{name}"
        assert run("export", project, "--format", name, out) == 0
        from annotator.datasets.formats.contract import Report

        assert format.read is not None
        photos = list(format.read(out, format.configure({}), Report()))
        keeps = {tag_key(tag) for photo in photos for tag in photo.dropped} == {"bird"}
        assert keeps == (format.survival.dropped == "yes"), name


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_sentence(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").chmod(0o555)
    assert run("export", project, "--format", "xmp", tmp_path / "photos") == 1
    assert "could not be written: Permission denied" in capsys.readouterr().err


README = Path(__file__).parents[3] / "README.md"
EXAMPLES = [line for line in README.read_text(encoding="utf-8").splitlines() if "export PROJECT --format" in line]


@pytest.mark.parametrize("line", EXAMPLES)
def test_the_examples_of_the_readme_write_what_their_audience_needs(
    line: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = line.partition("  #")[0].replace("~/Pictures/holiday", "photos").replace("PROJECT", str(project))
    command, _, printed = line.removeprefix("annotator ").partition(" > ")
    assert run(*command.split()) == 0, capsys.readouterr().err
    first = ", ".join(LISTS["a.jpg"])
    expected = {
        "csv": ("", '"cat; sofa; red hat; window; floor; lamp; wall"'),
        "xmp": ("photos/a.jpg.xmp", "<rdf:li>cat</rdf:li>\n     <rdf:li>sofa</rdf:li>"),
        "adobe": ("stock/adobe-1.csv", 'a.jpg,Cat sofa red hat window floor,"' + ",".join(LISTS["a.jpg"])),
        "captions": ("training/a.txt", f"ohwx, {first}"),
        "imagefolder": ("dataset/metadata.jsonl", '{"file_name": "a.jpg", "tags": ["cat", "sofa"'),
        "jsonl": ("tags.jsonl", '{"image": "a.jpg", "tags": ["cat", "sofa"'),
    }
    path, text = expected[command.split()[3]]
    found = capsys.readouterr().out if printed else (tmp_path / path).read_text(encoding="utf-8")
    assert text.strip('"') in found


def test_each_audience_has_an_example_in_the_readme() -> None:
    assert [line.split()[4] for line in EXAMPLES] == ["csv", "xmp", "adobe", "captions", "imagefolder", "jsonl"]


def test_order_rules_are_previewed_applied_to_a_selection_and_undone(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rules.json").write_text('{"classes": [["wall"], ["*"]], "most": 6}')
    command = ["order", project, "--rules", tmp_path / "rules.json", "--before", "sofa", "cat", "--tag", "wall"]
    assert run(*command, "--dry-run") == 0
    assert capsys.readouterr().out.splitlines() == [
        "a.jpg: cat, sofa, red hat, window, floor, lamp, wall",
        "  -> wall, sofa, cat, red hat, window, floor",
        "sub/c.jpg: Cat, bed, pillow, wall, night, sleep, fur",
        "  -> wall, Cat, bed, pillow, night, sleep",
        "2 of 2 photos would change; nothing was written.",
    ]
    assert saved(project) == LISTS
    assert run(*command) == 0
    changed = saved(project)
    assert changed["a.jpg"] == ["wall", "sofa", "cat", "red hat", "window", "floor"]
    assert changed["sub/b.png"] == LISTS["sub/b.png"]
    assert run(*command, "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {
        "num_photos": 2, "num_changed": 0, "is_dry_run": False
    }  # fmt: skip
    store = Store(Project.open(project).database_path)
    (first, second) = CorrectionLog(store).history(1)
    store.close()
    assert (first["kind"], second["kind"], second["dropped"]) == ("save", "reorder", ["bird"])
    assert run("order", project, "--undo") == 0
    assert saved(project) == LISTS


def test_order_needs_a_rule(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("order", project) == 1
    assert "Name a rule" in capsys.readouterr().err


def test_chosen_photos_are_exported_by_name(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.txt").write_text(f"\n{tmp_path}/photos/sub/c.jpg\n  a \n")

    def exported(*options: object) -> list[str]:
        assert run("export", project, *options) == 0
        return [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()]

    assert exported("--photo", "b.png", "--photo", "a.jpg") == ["a.jpg", "sub/b.png"]
    assert exported("--photos", tmp_path / "list.txt") == ["a.jpg", "sub/c.jpg"]
    assert exported("--photos", tmp_path / "list.txt", "--photo", "b", "--tag", "dog") == ["sub/b.png"]
    assert run("export", project, "--photo", "z.jpg", "--photo", "y.jpg", "--photo", "a") == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (
        "",
        "annotator: z.jpg: the project has no such photo, and 1 more are not found. Nothing was done.\n",
    )
    (tmp_path / "empty.txt").write_text("\n")
    assert run("export", project, "--photos", tmp_path / "empty.txt") == 1
    assert "names no photo" in capsys.readouterr().err


def test_an_archive_is_imported_and_one_that_leaves_its_folder_is_refused(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, entries in (("good.zip", {"open.txt": "moon, night"}), ("bad.zip", {"open.txt": "x", "../a.txt": "y"})):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for entry, text in entries.items():
                archive.writestr(entry, text)
    assert run("import", project, "--format", "captions", tmp_path / "bad.zip", "--replace") == 1
    assert "does not lie inside of the folder" in capsys.readouterr().err
    assert saved(project) == LISTS
    assert run("import", project, "--format", "captions", tmp_path / "good.zip") == 0
    assert saved(project) == {**LISTS, "open.jpg": ["moon", "night"]}


def test_rules_are_kept_for_lists_to_come(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("order", project, "--pin", "wall", "--when-saving", "on") == 0
    assert Project.open(project).settings.order_rules["pinned"] == ["wall"]
    assert saved(project) == LISTS
    assert run("order", project, "--when-saving", "off") == 0
    assert Project.open(project).settings.order_rules == {}
    assert run("order", project, "--when-saving", "on") == 1
    assert "Name a rule" in capsys.readouterr().err


def test_levels_and_fields_of_a_project_are_exported(project: Path, tmp_path: Path) -> None:
    opened = Project.open(project)
    opened.update_settings(vocabulary="extend", fields=[{"name": "title"}, {"name": "category", "kind": "choice",
                                                        "choices": ["11"]}])  # fmt: skip
    store = Store(opened.database_path)
    replace_vocabulary(store, [VocabularyTag("cat", levels=("Animals",))])
    FieldValues(store).put(1, "title", "My cat", "", "ana")
    FieldValues(store).put(1, "category", "11", "", "ana")
    store.close()
    assert run("export", project, "--format", "adobe", tmp_path / "adobe", "--photo", "a.jpg") == 0
    assert 'a.jpg,My cat,"cat,sofa' in (tmp_path / "adobe/adobe-1.csv").read_text()
    assert run("export", project, "--format", "xmp", tmp_path / "xmp", "--photo", "a.jpg") == 0
    sidecar = (tmp_path / "xmp/a.jpg.xmp").read_text()
    assert "<rdf:li>Animals|cat</rdf:li>" in sidecar
    assert '<rdf:li xml:lang="x-default">My cat</rdf:li>' in sidecar
    empty = make_project(tmp_path / "empty", tmp_path / "photos", {})
    Project.open(empty).update_settings(fields=[{"name": "title"}])
    assert run("import", empty, "--format", "xmp", tmp_path / "xmp") == 0
    store = Store(Project.open(empty).database_path)
    assert FieldValues(store).of(1) == {"title": "My cat"}
    store.close()
