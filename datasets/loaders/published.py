"""The published data sets by name. A loader's module is imported when it is asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from annotator.datasets.loaders.loading import DataSet
from annotator.datasets.record import Record
from annotator.errors import ConfigError, DataError

_LOADERS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "corel5k": ("corel5k", "load_corel5k", {}),
    "esp-game": ("esp_game", "load_esp_game", {}),
    "iapr-tc12": ("iapr_tc12", "load_iapr_tc12", {}),
    "mscoco": ("coco", "load_coco", {}),
    "mscoco2017": ("coco", "load_coco", {"edition": "2017"}),
    "nus-wide": ("nus_wide", "load_nus_wide", {}),
    "mirflickr": ("mirflickr", "load_mirflickr", {}),
    "mirflickr-relevant": ("mirflickr", "load_mirflickr", {"relevant": True}),
    "voc2007": ("voc2007", "load_voc2007", {}),
    "voc2007-objects": ("voc2007", "load_voc2007_objects", {}),
    "labelme": ("labelme", "load_labelme", {}),
}
"""Name -> (module, function, its further arguments)."""

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class PublishedSet:
    """A published data set in its official parts."""

    parts: Mapping[str, Sequence[Record]]
    """train, test, and validation where the protocol has one."""
    vocabulary: Sequence[str]

    def part(self, name: str) -> list[Record]:
        """Return the photos of a part, or of all of them.

        Args:
            name: One of `PARTS`, or all.

        Raises:
            DataError: The set has no such part.
        """
        if name == "all":
            return [record for part in self.parts.values() for record in part]
        if name not in self.parts:
            raise DataError(f"The data set has no part {name!r}; its parts are {', '.join(self.parts)}.")
        return list(self.parts[name])


def names() -> list[str]:
    """Return the names of the data sets."""
    return list(_LOADERS)


def load(name: str, folder: Path) -> PublishedSet:
    """Load a published data set.

    Args:
        name: One of `names`.
        folder: Folder of its files; where one is missing, the error says what to download.

    Raises:
        ConfigError: There is no data set of that name.
        DataError: A file is missing or damaged.
    """
    if name not in _LOADERS:
        raise ConfigError(f"There is no published data set {name[:40]!r}. Choose one of: {', '.join(_LOADERS)}.")
    module, function, arguments = _LOADERS[name]
    loader: Callable[..., DataSet] = getattr(import_module(f"annotator.datasets.loaders.{module}"), function)
    loaded = loader(folder, **arguments)
    found = {part: getattr(loaded, part) for part in PARTS if hasattr(loaded, part)}
    return PublishedSet(found, loaded.vocabulary)
