"""Asks programs that nobody here wrote what they read: ``python ask.py READER FOLDER`` prints JSON, photo -> tags.

Runs with the interpreter of an environment that has the reader (requirements.txt); imports nothing of ours. The folder
holds what `readers.py` wrote: the photos, and a folder or file a format.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Said = dict[str, list[str]]


def exiftool(folder: Path) -> dict[str, Said]:
    command = ["exiftool", "-json", "-r", "-ext", "xmp", "-G1", "-XMP:all", "-charset", "utf8", "."]
    found = json.loads(subprocess.run(command, cwd=folder / "xmp", capture_output=True, text=True, check=True).stdout)
    names = ("XMP-dc:Subject", "XMP-lr:HierarchicalSubject", "XMP-digiKam:TagsList", "XMP-annotator:RankedTags")
    return {name: {_photo(entry["SourceFile"]): _listed(entry.get(name, [])) for entry in found} for name in names}


def _photo(source: str) -> str:
    return source.removeprefix("./").removesuffix(".xmp")


def _listed(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def datasets_imagefolder(folder: Path) -> dict[str, Said]:
    import datasets  # type: ignore[import-not-found]

    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder / "imagefolder"), cache_dir=str(folder / "cache"))
    rows = loaded["train"].cast_column("image", datasets.Image(decode=False))
    root = folder / "imagefolder"
    return {"tags": {Path(row["image"]["path"]).relative_to(root).as_posix(): row["tags"] for row in rows}}


def datasets_parquet(folder: Path) -> dict[str, Said]:
    import datasets

    loaded = datasets.load_dataset("parquet", data_files=str(folder / "parquet"), cache_dir=str(folder / "cache"))
    sizes = {row["file_name"]: list(map(str, row["image"].size)) for row in loaded["train"]}
    return {"tags": {row["file_name"]: row["tags"] for row in loaded["train"]}, "size": sizes}


def duckdb(folder: Path) -> dict[str, Said]:
    import duckdb

    rows = duckdb.sql(f"SELECT file_name, tags FROM read_parquet('{folder / 'parquet'}')").fetchall()
    return {"tags": dict(rows)}


def pycocotools(folder: Path) -> dict[str, Said]:
    from pycocotools.coco import COCO  # type: ignore[import-not-found]

    sys.stdout = sys.stderr  # it prints
    coco = COCO(str(folder / "coco"))
    sys.stdout = sys.__stdout__
    found = {}
    for image in coco.imgs.values():
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        annotations.sort(key=lambda one: one["attributes"]["rank"])
        found[image["file_name"]] = [coco.cats[one["category_id"]]["name"] for one in annotations]
    return {"tags": found}


def datumaro(folder: Path) -> dict[str, Said]:
    import shutil

    import datumaro as dm  # type: ignore[import-not-found]

    (folder / "dm/coco/annotations").mkdir(parents=True, exist_ok=True)
    (folder / "dm/cvat").mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "coco", folder / "dm/coco/annotations/instances_default.json")
    shutil.copy(folder / "cvat", folder / "dm/cvat/annotations.xml")
    for name in ("coco", "cvat"):
        shutil.copytree(folder / "photos", folder / "dm" / name / "images", dirs_exist_ok=True)
    shutil.copytree(folder / "voc", folder / "dm/voc", dirs_exist_ok=True)
    shutil.copytree(folder / "photos", folder / "dm/voc/JPEGImages", dirs_exist_ok=True)
    said: dict[str, Said] = {}
    for name, format in (("coco", "coco_instances"), ("cvat", "cvat"), ("voc", "voc")):
        loaded = dm.Dataset.import_from(str(folder / "dm" / name), format)
        labels = loaded.categories()[dm.AnnotationType.label]
        said[name] = {}
        for item in loaded:
            ranked = sorted(item.annotations, key=lambda one: float(one.attributes["rank"]))
            said[name][item.id] = [labels[one.label].name for one in ranked]
    return said


def label_studio(folder: Path) -> dict[str, Said]:
    from label_studio_sdk.converter import Converter  # type: ignore[import-not-found]
    from label_studio_sdk.label_interface import LabelInterface  # type: ignore[import-not-found]

    config = (folder / "labelstudio/interface.xml").read_text(encoding="utf-8")
    interface = LabelInterface(config)
    interface.validate()
    tasks = json.loads((folder / "labelstudio/tasks.json").read_text(encoding="utf-8"))
    predicted = {}
    for number, task in enumerate(tasks, start=1):
        assert interface.validate_task({"data": task["data"]})
        assert all(interface.validate_annotation(one) for one in task["annotations"])
        assert all(interface.validate_prediction(one) for one in task.get("predictions", []))
        task["id"] = number
        for one in task["annotations"]:
            one["id"] = number
        predicted[_link(task["data"]["image"])] = [
            choice for one in task.get("predictions", []) for choice in one["result"][0]["value"]["choices"]
        ]
    (folder / "ls-in").mkdir(exist_ok=True)
    (folder / "ls-in/tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
    Converter(config=config, project_dir=None).convert_to_json_min(str(folder / "ls-in"), str(folder / "ls-out"))
    rows = json.loads((folder / "ls-out/result.json").read_text(encoding="utf-8"))
    tags = {}
    for row in rows:
        value = row.get("tags", [])
        tags[_link(row["image"])] = value["choices"] if isinstance(value, dict) else _listed(value)
    return {"tags": tags, "predictions": predicted}


def _link(link: str) -> str:
    from urllib.parse import unquote

    return unquote(link.removeprefix("/data/local-files/?d="))


def fiftyone(folder: Path) -> dict[str, Said]:
    os.environ["FIFTYONE_DO_NOT_TRACK"] = "1"
    from fiftyone.utils.data.importers import FiftyOneDatasetImporter  # type: ignore[import-not-found]

    # Through its importer, which needs no database server: the package that brings one has no program for every system.
    plain = FiftyOneDatasetImporter(dataset_dir=str(folder / "fiftyone"))
    tags: Said = {}
    with plain._to_legacy_importer() as importer:
        for sample in importer:
            found = sorted(sample.ranked_tags.classifications, key=lambda one: one.rank)
            tags[Path(sample.filepath).relative_to(folder / "photos").as_posix()] = [one.label for one in found]
    return {"tags": tags}


READERS: dict[str, Callable[[Path], dict[str, Said]]] = {
    "exiftool": exiftool,
    "datasets_imagefolder": datasets_imagefolder,
    "datasets_parquet": datasets_parquet,
    "duckdb": duckdb,
    "pycocotools": pycocotools,
    "datumaro": datumaro,
    "label_studio": label_studio,
    "fiftyone": fiftyone,
}

if __name__ == "__main__":
    print(json.dumps(READERS[sys.argv[1]](Path(sys.argv[2])), ensure_ascii=False))
