"""What programs that nobody here wrote read from our files: tags and order equal to the saved list.

`make test-readers` asks the programs themselves and keeps what they said in readers/said.json, with a digest of each
file that they read. The plain run checks that our writers still write exactly those files, and that what was said is
the saved list.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from PIL import Image

from annotator.datasets.formats.contract import Report
from annotator.datasets.formats.tagged_photo import TaggedPhoto

HERE = Path(__file__).parent / "readers"
KEPT = HERE / "said.json"
LISTS = {
    "a.jpg": ["cat", "red, hot", "gr\u00fcn", "\u732b", "a & b <c>", "\u05d7\u05ea\u05d5\u05dc", 'it\'s "x"'],
    "sub/b c.png": ["zebra", "apple", "mango", "banana"],
    "sub/one.jpg": ["Only"],
}
SCORES = {"cat": 0.25, "gr\u00fcn": 0.75, "zebra": 0.5}
FORMATS: dict[str, dict[str, Any]] = {
    "xmp": {}, "imagefolder": {}, "parquet": {"photos": "embed"}, "coco": {}, "cvat": {}, "voc": {}, "labelstudio": {},
    "fiftyone": {},
}  # fmt: skip
READS = {
    "exiftool": ["xmp"],
    "datasets_imagefolder": ["imagefolder"],
    "datasets_parquet": ["parquet"],
    "duckdb": ["parquet"],
    "pycocotools": ["coco"],
    "datumaro": ["coco", "cvat", "voc"],
    "label_studio": ["labelstudio"],
    "fiftyone": ["fiftyone"],
}
"""Reader -> the formats that it reads."""
NOT_TAGS = {"size": {name: ["8", "6"] for name in LISTS}}


@pytest.fixture
def written(tmp_path: Path, write: Callable[..., Report]) -> Path:
    """The photos and a file or folder of every format that some program reads."""
    photos = []
    for number, (name, tags) in enumerate(LISTS.items()):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (number * 50, 0, 0)).save(path)
        scores = {tag: SCORES[tag] for tag in tags if tag in SCORES}
        photos.append(TaggedPhoto(name, tuple(tags), path=path, width=8, height=6, scores=scores))
    for format, options in FORMATS.items():
        write(format, photos, tmp_path / format, **options)
    return tmp_path


def digest_of(folder: Path, formats: list[str]) -> str:
    """The digest of what a reader reads, without pictures and paths of this machine."""
    digest = hashlib.sha256()
    for format in formats:
        place = folder / format
        if format == "parquet":  # its bytes differ between versions of the library
            table = pyarrow.parquet.read_table(place).drop_columns("image")
            digest.update(f"{table.schema.to_string(truncate_metadata=False)}{table.to_pylist()}".encode())
            continue
        paths = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
        for path in paths:
            if path.suffix in (".jpg", ".png"):
                continue  # these bytes, too
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            digest.update(path.read_bytes().replace(str(folder).encode(), b"FOLDER"))
    return digest.hexdigest()


def check(reader: str, said: dict[str, dict[str, list[str]]]) -> None:
    for what, lists in said.items():
        if what == "predictions":
            proposed = {name: sorted((t for t in tags if t in SCORES), key=lambda t: -SCORES[t])
                        for name, tags in LISTS.items()}  # fmt: skip
            assert lists == proposed
        elif what in NOT_TAGS:
            assert lists == NOT_TAGS[what]
        else:
            expected = LISTS if reader != "datumaro" else {name.rpartition(".")[0]: LISTS[name] for name in LISTS}
            assert lists == expected, f"{reader}: {what}"


@pytest.mark.parametrize("reader", READS)
def test_what_a_reader_said_is_the_saved_list_and_we_still_write_what_it_read(reader: str, written: Path) -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))[reader]
    check(reader, kept["said"])
    assert kept["digest"] == digest_of(written, READS[reader]), "the format has changed: run `make test-readers`"


@pytest.mark.integration
@pytest.mark.parametrize("reader", READS)
def test_the_reader_itself_reads_the_saved_list(reader: str, written: Path) -> None:
    """Keeps what it says; runs where ANNOTATOR_READERS names the interpreter of an environment with the readers."""
    python = os.environ.get("ANNOTATOR_READERS", "")
    if not python:
        pytest.skip("set ANNOTATOR_READERS, or run `make test-readers`")
    if reader == "exiftool" and shutil.which("exiftool") is None:
        pytest.skip("ExifTool is not installed (Debian: libimage-exiftool-perl)")
    # Without our folders on the path: `datasets` is Hugging Face's package there.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    command = [python, str(HERE / "ask.py"), reader, str(written)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=written)
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip(f"{reader} is not installed there: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    check(reader, said)
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    kept[reader] = {"digest": digest_of(written, READS[reader]), "said": said}
    KEPT.write_text(json.dumps(kept, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
