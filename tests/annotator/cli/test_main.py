import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.auth.accounts import Accounts
from annotator.cli.main import _COMMANDS, build_parser, main
from annotator.models.backbones.backbone import Backbone
from annotator.proposals import without_project as suggest_module
from annotator.session import photo_intake as intake_module
from annotator.session import workspace as workspace_module
from annotator.settings import ServerConfig
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.project import Project
from annotator.web import server as app_module

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def quick(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the commands the session's backbone."""
    for module in (intake_module, workspace_module):
        monkeypatch.setattr(module, "load_backbone", lambda name, num_threads: backbone)
    monkeypatch.setattr(suggest_module, "load_backbone", lambda *_, **__: backbone)


@pytest.fixture
def project(
    tmp_path: Path, quick: None, write_photos: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> Path:
    write_photos(tmp_path / "photos", [1, 2, 3])
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"")
    assert main(["add", str(tmp_path / "project"), str(tmp_path / "photos")]) == 0
    capsys.readouterr()
    store = Store(tmp_path / "project" / "project.duckdb")
    log = CorrectionLog(store)
    log.save(1, revision=0, tags=["cat", "=1+1", "🐈"], dropped=["dog"], user_name="local", effort=Effort())
    store.close()
    return tmp_path / "project"


def test_add_prints_its_summary_as_text_and_as_json(
    tmp_path: Path, quick: None, write_photos: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(tmp_path / "photos", [1, 2])
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"")
    folders = [str(tmp_path / "project"), str(tmp_path / "photos")]
    assert main(["add", *folders, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary.pop("photos_per_second") >= 0
    assert summary == {"num_found": 3, "num_new": 2, "num_changed": 0, "num_images": 2, "num_unreadable": 1,
                       "unread_types": {"JPEG": 1}, "not_mounted": []}  # fmt: skip
    assert main(["add", *folders]) == 0
    assert capsys.readouterr().out.startswith("3 files, 0 new photos")


def test_add_counts_and_names_the_types_that_are_not_read(
    tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.mp4", "b.mp4", "c.psd", "d.heic"):
        (photos / name).write_bytes(b"x")
    assert main(["add", str(tmp_path / "project"), str(photos)]) == 0
    printed = capsys.readouterr().out
    assert "0 new photos" in printed
    assert "4 not read: 2 video (.mp4), 1 " in printed
    assert "1 layered picture (.psd)" in printed
    assert "1 HEIC" in printed
    assert main(["unreadable", str(tmp_path / "project"), "--json"]) == 0
    reasons = {Path(item["path"]).name: item["reason"] for item in json.loads(capsys.readouterr().out)}
    assert set(reasons) == {"a.mp4", "b.mp4", "c.psd", "d.heic"}
    assert "video" in reasons["a.mp4"]


def test_suggest_prints_a_json_list_of_ranked_tags(
    quick: None, demo_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(demo_photos / name) for name in ("cat.png", "coffee.png")]
    assert main(["suggest", *paths, "--json", "--num", "4", "--tagger", "cold_start"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [result["image"] for result in results] == paths
    assert [result["tags"][0]["tag"] for result in results] == ["cat", "coffee"]
    for result in results:
        assert set(result) == {"image", "tags"}
        assert 1 <= len(result["tags"]) <= 4
        for tag in result["tags"]:
            assert set(tag) == {"tag", "score", "source"}
            assert 0 <= tag["score"] <= 1
            assert isinstance(tag["source"], str)


def test_suggest_continues_after_an_unreadable_photo(
    quick: None, demo_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.jpg").touch()
    missing, empty, good = tmp_path / "missing.jpg", tmp_path / "empty.jpg", demo_photos / "cat.png"
    assert main(["suggest", str(missing), str(empty), str(tmp_path), str(good), "--json"]) == 1
    printed = capsys.readouterr()
    assert [result["image"] for result in json.loads(printed.out)] == [str(good)]
    lines = printed.err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"annotator: {missing}: The file could not be read: no such file")
    assert lines[1] == f"annotator: {empty}: The file is empty (0 bytes)."
    assert lines[2] == f"annotator: {tmp_path}: This is a folder, not a photo."


def test_suggest_prints_score_tag_and_source(
    quick: None, demo_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["suggest", str(demo_photos / "cat.png"), "--num", "1", "--tagger", "cold_start"]) == 0
    path, tag = capsys.readouterr().out.splitlines()
    assert path == str(demo_photos / "cat.png")
    score, word, source = tag.split()
    assert 0 <= float(score) <= 1
    assert (word, source) == ("cat", "looks")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are not UTF-8")
def test_a_name_that_is_not_utf_8_is_printed_all_the_same(
    run_command: Run, backbone: Backbone, demo_photos: Path, tmp_path: Path
) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    odd.write_bytes((demo_photos / "flower.jpg").read_bytes())
    broken = odd.with_suffix(".png")
    broken.touch()
    for options in ([], ["--json"]):
        done = run_command("suggest", odd, broken, *options)
        assert done.returncode == 1
        assert "caf\ufffd.jpg" in done.stdout
        assert done.stderr.splitlines()[-1].endswith("caf\ufffd.png: The file is empty (0 bytes).")


def test_export_prints_jsonl_and_csv(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(project)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["tags"] == ["cat", "=1+1", "🐈"]
    assert main(["export", str(project), "--format", "csv"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.startswith("\ufeffimage,tags,dropped")
    assert row.startswith("photo 1.jpg,cat; '=1+1; 🐈,dog,1,")


def test_unreadable_lists_files_with_reasons(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["unreadable", str(project), "--json"]) == 0
    path = str(project.parent / "photos" / "broken.jpg")
    assert json.loads(capsys.readouterr().out) == [{"path": path, "reason": "The file is empty (0 bytes)."}]
    assert main(["unreadable", str(project)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{path}: The file is empty (0 bytes).\n"
    assert printed.err == "1 not read: 1 JPEG.\n"


def test_export_of_a_project_in_use_without_a_server_names_the_process(
    project: Path, run_command: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "server.json").write_text('{"address": "http://127.0.0.1:9"}')  # of a server that was killed
    store = Store(project / "project.duckdb")
    try:
        done = run_command("export", project)
        assert done.returncode == 1
        assert f"in use by process {os.getpid()}" in done.stderr
        assert done.stdout == ""
    finally:
        store.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "{missing}"], "is not a project"),
        (["unreadable", "{missing}"], "is not a project"),
        (["add", "{new}", "{missing}"], "There is no folder"),
        (["add", "{new}", "{file}"], "is not a folder"),
        (["add", "{photos}", "{photos}"], "is not empty and not a project"),
        (["add", "{new}", "{photos}", "--decode-threads", "0"], "num_decode_threads must lie between 1 and 64"),
        (["serve", "{missing}"], "There is no folder"),
        (["serve", "{file}"], "is not a folder"),
        (["serve", "{photos}", "--project", "{new}", "--port", "70000"], "port must lie between 0 and 65535"),
        (["serve", "{photos}", "--project", "{new}", "--trusted-proxy", "nearby"], "'nearby' is no address and no"),
        (["serve", "{photos}", "--project", "{file}"], "cannot be made"),
        (["suggest", "{file}", "--num", "0"], "--num must be at least 1"),
    ],
)
def test_a_known_error_is_one_sentence_and_exit_code_1(
    quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "letter.txt").touch()
    (tmp_path / "file").touch()
    names = {name: str(tmp_path / name) for name in ("missing", "new", "photos", "file")}
    assert main([argument.format(**names) for argument in arguments]) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert len([line for line in printed.err.splitlines() if line.startswith("annotator: ")]) == 1
    assert "Traceback" not in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["add"], ["suggest"], ["export", "x", "--format", "xml"], ["serve", "x", "--port", "y"]]
)
def test_a_wrong_command_line_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: annotator" in capsys.readouterr().err


def commands() -> list[str]:
    (group,) = build_parser()._subparsers._group_actions  # type: ignore[union-attr]
    return list(group.choices)  # type: ignore[arg-type]


@pytest.mark.parametrize("command", commands())
def test_every_help_has_an_example_that_parses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    import shlex

    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    example = " ".join(text[text.index("example: annotator ") + len("example: annotator ") :].split())
    example = example.split(" > ")[0]
    assert shlex.split(example)[0] == command
    build_parser().parse_args(shlex.split(example))


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    from annotator import __version__

    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"annotator {__version__}\n"


def test_a_closed_pipe_is_no_error(project: Path) -> None:
    store = Store(project / "project.duckdb")
    log = CorrectionLog(store)
    for image_id in (2, 3):
        tags = [f"{image_id} {number} " + "x" * 80 for number in range(190)]
        log.save(image_id, revision=0, tags=tags, dropped=tags, user_name="local", effort=Effort())
    store.close()
    command = [sys.executable, "-m", "annotator.cli", "export", str(project)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0
    assert b"Traceback" not in errors
    assert b"BrokenPipe" not in errors


def test_a_project_is_served_by_its_own_folder_or_by_its_photos(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from annotator.web import server as app

    served: list[tuple[Project, object, object]] = []
    monkeypatch.setattr(app, "serve", lambda project, photos, config, *_: served.append((project, photos, config)))
    assert main(["serve", str(project), "--port", "0"]) == 0
    assert main(["serve", str(tmp_path / "photos"), "--project", str(project), "--allow-host", "nas"]) == 0
    assert main(["serve", str(tmp_path / "photos")]) == 0
    assert main(["serve", "--project", str(project)]) == 0
    assert (served[3][0].folder, served[3][1]) == (project, None)
    del served[3]
    assert [entry[0].folder for entry in served[:2]] == [project, project]
    assert [entry[1] for entry in served] == [None, [tmp_path / "photos"], [tmp_path / "photos"]]
    assert served[1][2].allowed_hosts == ("nas",)  # type: ignore[attr-defined]
    assert served[0][2].host == "127.0.0.1"  # type: ignore[attr-defined]
    assert served[2][0].folder.is_relative_to(os.environ["XDG_DATA_HOME"])
    assert served[2][0].settings.name == "photos"


def test_other_machines_are_served_only_with_an_account_to_log_in(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built: list[str] = []

    class EnoughError(Exception):
        pass

    def build(session: object, config: ServerConfig, observation: object) -> None:
        built.append(config.host)
        raise EnoughError

    monkeypatch.setattr(app_module, "build_app", build)
    serve = ["serve", str(project), "--host", "0.0.0.0", "--port", "0"]
    assert main(serve) == 1
    assert "anybody who reaches 0.0.0.0 could read and change this project" in capsys.readouterr().err
    proxied = ["serve", str(project), "--port", "0", "--trusted-proxy", "127.0.0.1"]
    assert main(proxied) == 1
    assert "anybody who reaches the proxy could read" in capsys.readouterr().err
    with pytest.raises(EnoughError):
        main(["serve", str(project), "--port", "0"])
    set_up_account(project, is_disabled=True)
    assert main(serve) == 1
    assert "Every account of this project is disabled" in capsys.readouterr().err
    set_up_account(project, is_disabled=False)
    for arguments in (serve, proxied):
        with pytest.raises(EnoughError):
            main(arguments)
    assert built == ["127.0.0.1", "0.0.0.0", "127.0.0.1"]


def set_up_account(project: Path, *, is_disabled: bool) -> None:
    store = Store(project / "project.duckdb")
    try:
        accounts = Accounts(store)
        if not accounts.is_needed():
            accounts.add("vera", "viewer", "correct horse battery")
        accounts.set_disabled("vera", is_disabled)
    finally:
        store.close()


def commands_of(command: str | None) -> dict[str, Any]:
    (group,) = build_parser(command)._subparsers._group_actions  # type: ignore[union-attr]
    return dict(group.choices or {})


def test_a_command_is_the_same_with_and_without_the_others() -> None:
    every = commands_of(None)
    assert list(every) == list(_COMMANDS)
    for name in every:
        assert commands_of(name)[name].format_help() == every[name].format_help()
    assert list(commands_of("fly")) == list(every)


@pytest.mark.integration
def test_add_imports_nothing_that_proposes_learns_or_serves(
    tmp_path: Path, write_photos: Callable[..., object]
) -> None:
    write_photos(tmp_path / "photos", [1])
    code = (
        "import sys; from annotator.cli.main import main; code = main(sys.argv[1:]); "
        "print(*sys.modules, sep='\\n', file=sys.stderr); sys.exit(code)"
    )
    arguments = ["add", str(tmp_path / "project"), str(tmp_path / "photos"), "--json"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["num_new"] == 1
    modules = set(done.stderr.split("\n"))
    unwanted = (
        *("proposals", "learning", "active_learning", "collaboration", "exchange", "web", "hosted", "simulation"),
        *("models.taggers.jvsp", "datasets.formats.xmp", "session.workspace", "cli.serve"),
    )
    assert "annotator.ingest.pipeline" in modules
    assert [name for name in unwanted if f"annotator.{name}" in modules] == []
    assert modules.isdisjoint({"faiss", "gradio", "argon2", "urllib.request", "torch"})
