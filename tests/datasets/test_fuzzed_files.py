"""Files in foreign formats, changed at random: each reader returns content or raises one clear error.

`FOUND` holds earlier findings of hypothesis, since fixed; they are read on every run before new files are generated.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from annotator.datasets.embedded_metadata import EmbeddedBlocks
from annotator.datasets.image_folder import DecodedImage
from annotator.datasets.loaders.coco import load_coco
from annotator.datasets.loaders.corel5k import load_corel5k
from annotator.datasets.loaders.labelme import load_labelme
from annotator.datasets.loaders.voc2007 import load_voc2007_objects
from annotator.datasets.record import read_records
from annotator.datasets.sidecars import read_metadata
from annotator.datasets.splits import load_split
from annotator.datasets.vocabulary import Vocabulary
from annotator.errors import AnnotatorError
from annotator.maintenance.backup import restore
from annotator.models.checkpoint import read_info
from annotator.storage.project import Project

COCO = {
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "sofa"}],
    "images": [{"id": 7, "file_name": "a.jpg"}],
    "annotations": [{"image_id": 7, "category_id": 1, "area": 3.5}, {"image_id": 7, "category_id": 2, "area": 9}],
}
CAPTIONS = {"annotations": [{"image_id": 7, "caption": "A cat on a sofa."}]}
VOC = (
    "<annotation><size><width>9</width><height>9</height></size><object><name>cat</name><difficult>0</difficult>"
    "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object></annotation>"
)
LABELME = (
    "<annotation><filename>a.jpg</filename><folder>x</folder><object><name>cat</name><deleted>0</deleted><id>0</id>"
    "<polygon><pt><x>1</x><y>1</y></pt><pt><x>3</x><y>1</y></pt><pt><x>3</x><y>4</y></pt></polygon></object>"
    "</annotation>"
)
RECORD = {"image": "a.jpg", "tags": ["cat", "sofa"], "user_tags": ["pet"], "caption": "A cat.", "more": 1}


NUM_EXAMPLES = 25
"""More when run by hand. The generated files are the same on every run, so that the tests are deterministic."""


def hvecs(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)


# Name -> (files of a small valid set, the file to change, its reader)
READERS: dict[str, tuple[dict[str, bytes | str], str, Callable[[Path], object]]] = {
    "records": ({"records.jsonl": json.dumps(RECORD) + "\n", "a.jpg": b"x"}, "records.jsonl", read_records),
    "split": (
        {"records.jsonl": json.dumps(RECORD), "a.jpg": b"x", "split.json": '{"train": ["a.jpg"], "validation": []}'},
        "split.json",
        lambda folder: load_split(read_records(folder), folder / "split.json"),
    ),
    "vocabulary": (
        {"v.json": '{"version": 1, "tags": ["cat", "sofa"], "counts": [2, 1]}'},
        "v.json",
        lambda folder: Vocabulary.from_json((folder / "v.json").read_bytes().decode("utf-8", "replace")),
    ),
    "coco instances": (
        {
            **{f"annotations/instances_{side}2014.json": json.dumps(COCO) for side in ("train", "val")},
            **{f"annotations/captions_{side}2014.json": json.dumps(CAPTIONS) for side in ("train", "val")},
            "train2014/a.jpg": b"x",
            "val2014/a.jpg": b"x",
        },
        "annotations/instances_train2014.json",
        load_coco,
    ),
    "coco captions": (
        {
            **{f"annotations/instances_{side}2014.json": json.dumps(COCO) for side in ("train", "val")},
            **{f"annotations/captions_{side}2014.json": json.dumps(CAPTIONS) for side in ("train", "val")},
            "train2014/a.jpg": b"x",
            "val2014/a.jpg": b"x",
        },
        "annotations/captions_train2014.json",
        load_coco,
    ),
    **{
        f"corel5k {file}": (
            {
                "corel5k_dictionary.txt": "cat\nsofa\n",
                "corel5k_train_list.txt": "a\n",
                "corel5k_test_list.txt": "b\n",
                "corel5k_train_annot.hvecs": hvecs(2, 1, 0),
                "corel5k_test_annot.hvecs": hvecs(2, 1, 1),
                "images/a.jpg": b"x",
                "images/b.jpg": b"x",
            },
            f"corel5k_{file}",
            load_corel5k,
        )
        for file in ("dictionary.txt", "train_list.txt", "train_annot.hvecs")
    },
    "voc": (
        {
            f"VOCdevkit/VOC2007/{name}": data
            for name, data in {
                "JPEGImages/000001.jpg": "x",
                "JPEGImages/000002.jpg": "x",
                "ImageSets/Main/trainval.txt": "000001\n",
                "ImageSets/Main/test.txt": "000002\n",
                "Annotations/000001.xml": VOC,
                "Annotations/000002.xml": VOC,
            }.items()
        },
        "VOCdevkit/VOC2007/Annotations/000001.xml",
        load_voc2007_objects,
    ),
    "labelme": (
        {f"{kind}/x/{name}": data for n in range(4) for kind, name, data in
         (("Images", f"{n}.jpg", b"x"), ("Annotations", f"{n}.xml", LABELME.replace("a.jpg", f"{n}.jpg")))},
        "Annotations/x/0.xml",
        load_labelme,
    ),
    "settings": ({"settings.json": '{"version": 1, "name": "x"}'}, "settings.json", Project),
    "checkpoint": ({"tagger.json": '{"format_version": 1, "tagger": "jvsp", "weights": {}}'}, "tagger.json", read_info),
    "backup": ({"b.tar": b"x" * 512}, "b.tar", lambda folder: restore(folder / "b.tar", folder / "restored")),
}  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def changed(draw: st.DrawFn, whole: bytes) -> bytes:
    """Generate a file: other bytes, other JSON, or the valid file with some part replaced."""
    kind = draw(st.sampled_from(["bytes", "json", "part", "part", "value", "value"]))
    if kind == "bytes":
        return draw(st.binary(max_size=60))
    if kind == "json":
        return json.dumps(draw(json_values)).encode()
    if kind == "value":  # somewhere in a JSON file, another value
        try:
            tree = json.loads(whole)
        except ValueError:
            kind = "part"
        else:
            return json.dumps(replaced(tree, draw)).encode()
    start = draw(st.integers(0, len(whole)))
    end = draw(st.integers(start, min(len(whole), start + 12)))
    return (
        whole[:start] + draw(st.binary(max_size=6) | st.sampled_from([b"\0", b"-1", b"\xff", b"<", b'"'])) + whole[end:]
    )


def replaced(tree: Any, draw: st.DrawFn) -> Any:
    """Replace the value at one place of a JSON tree."""
    places = list(places_of(tree))
    if not places:
        return draw(json_values)
    holder, key = draw(st.sampled_from(places))
    holder[key] = draw(json_values)
    return tree


def places_of(tree: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(tree, dict | list):
        for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
            yield tree, key
            yield from places_of(value)


def as_bytes(data: bytes | str) -> bytes:
    return data if isinstance(data, bytes) else data.encode()


def write_set(name: str, folder: Path) -> Path:
    files, target, _ = READERS[name]
    shutil.rmtree(folder, ignore_errors=True)
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(as_bytes(data))
    return folder / target


def read(name: str, folder: Path) -> None:
    """Read a set; a project error is as good as content."""
    try:
        READERS[name][2](folder)
    except AnnotatorError as error:
        assert str(error).strip()  # noqa: PT017


FOUND: list[tuple[str, bytes]] = [
    ("split", b'{"train": [[]], "validation": []}'),
    ("corel5k train_list.txt", b"\0"),
]
"""(reader, file) pairs that once raised another error."""


@pytest.mark.parametrize("name", [name for name in READERS if name not in {"checkpoint", "backup"}])
def test_the_whole_file_is_read(tmp_path: Path, name: str) -> None:
    """The unchanged files are valid; otherwise the tests of changed ones prove nothing."""
    write_set(name, tmp_path / "set")
    READERS[name][2](tmp_path / "set")


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_an_earlier_finding_is_one_clear_error(tmp_path: Path, name: str, data: bytes) -> None:
    write_set(name, tmp_path / "set").write_bytes(data)
    read(name, tmp_path / "set")


@pytest.mark.parametrize("name", READERS)
@settings(
    max_examples=NUM_EXAMPLES,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_changed_file_is_read_or_refused(tmp_path: Path, name: str, data: st.DataObject) -> None:
    folder = tmp_path / "set"
    files, target, _ = READERS[name]
    if not folder.exists():
        write_set(name, folder)
    (folder / target).write_bytes(data.draw(changed(as_bytes(files[target]))))
    read(name, folder)


@settings(
    max_examples=NUM_EXAMPLES,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=changed(b'{"tags": ["cat"], "description": "x", "geoData": {"latitude": 1.0, "longitude": 2.0}}'))
@pytest.mark.parametrize("suffix", [".json", ".txt", ".xmp"])
def test_a_changed_sidecar_is_read_or_noted(tmp_path: Path, suffix: str, content: bytes) -> None:
    photo = DecodedImage(Image.new("RGB", (1, 1)), 1, 1, "JPEG", EmbeddedBlocks(), None)
    (tmp_path / "a").with_suffix(suffix).write_bytes(content)
    read_metadata(tmp_path / "a.jpg", photo, root=tmp_path)
