"""The formats by name. A format's module is imported when it is asked for."""

from importlib import import_module

from annotator.datasets.formats.contract import Format
from annotator.errors import ConfigError

_MODULES = {
    "jsonl": "json_lines",
    "csv": "csv_table",
    "xmp": "xmp",
    "captions": "captions",
    "kohya-json": "kohya_json",
    "kohya-jsonl": "kohya_jsonl",
    "adobe": "adobe",
    "shutterstock": "shutterstock",
    "pond5": "pond5",
    "freepik": "freepik",
    "istock": "istock",
    "imagefolder": "imagefolder",
    "parquet": "parquet",
    "coco": "coco",
    "voc": "voc",
    "cvat": "cvat",
    "labelstudio": "labelstudio",
    "fiftyone": "fiftyone",
}


def names() -> list[str]:
    """Return the names of the formats."""
    return list(_MODULES)


def find(name: str) -> Format:
    """Return a format.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in _MODULES:
        raise ConfigError(f"There is no format {name[:40]!r}. Formats: {', '.join(_MODULES)}.")
    found: Format = import_module(f"annotator.datasets.formats.{_MODULES[name]}").FORMAT
    return found
