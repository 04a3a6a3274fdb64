"""Exports of an open project in the formats of other programs: a preview, then the whole, in the background.

The result lies in the project's folder until it is fetched, or until the next export of the same person.
"""

import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from annotator.datasets.formats import registry
from annotator.datasets.formats.contract import Format, Problem, Report
from annotator.datasets.formats.describing import described
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.datasets.formats.writing import write_format
from annotator.errors import ConfigError, DataError
from annotator.exchange.exported_photo import exported_photo
from annotator.exchange.matching import find_all
from annotator.exchange.selection import Selection, select
from annotator.exchange.transfers import Transfer
from annotator.json_types import JsonObject
from annotator.session.navigation import Navigation
from annotator.session.workspace import Workspace
from annotator.storage.photo_rows import photo_rows

PREVIEW_ROWS = 5
PREVIEW_LETTERS = 3_000
"""Most characters that are shown of each of the first files."""
MOST_SHOWN = 200
"""Photos that are left out, and notes, in one answer."""
RESULT = "result"
"""Name of the file or folder that a format writes, within the folder of its transfer."""


@dataclass(frozen=True)
class Chosen:
    """Which photos, as the page knows them."""

    selection: Selection
    found: tuple[str, str] | None = None
    """(text, state) of the browse view: only the photos that it shows; None takes all."""


class Exporting:
    """Exports of one project.

    Args:
        workspace: The open project.
        navigation: Knows what the browse view shows.
    """

    def __init__(self, workspace: Workspace, navigation: Navigation) -> None:
        self._workspace = workspace
        self._navigation = navigation

    def formats(self) -> JsonObject:
        """Return every format with its options and what survives in it."""
        return {"formats": [described(registry.find(name)) for name in registry.names()]}

    def find_photos(self, names: Sequence[str]) -> JsonObject:
        """Return the ids of photos by their names, as an import finds them, and the names that fit none."""
        image_ids, missing = find_all(self._workspace.store, names)
        return {"image_ids": image_ids, "missing": [asdict(Problem(*one)) for one in missing]}

    def preview(self, user: str, format: str, values: Mapping[str, Any], chosen: Chosen) -> JsonObject:
        """Return how many photos are chosen, and the first five as the format writes them.

        Args:
            user: Who asks.
            format: A name of the registry.
            values: Options of the format.
            chosen: Which photos.

        Raises:
            ConfigError: There is no such format, it is read only, or an option is wrong.
            DataError: The disk refuses.
            StoreError: The database could not be read.
        """
        chosen_format, options = _configured(format, values)
        image_ids = self.image_ids(user, chosen)
        first = list(islice(self._photos(user, chosen_format, image_ids), PREVIEW_ROWS))
        report = Report()
        files: list[JsonObject] = []
        if first:
            with tempfile.TemporaryDirectory(prefix="annotator-") as folder:
                try:
                    report = _written(chosen_format, first, Path(folder), options)
                    files = list(_shown_files(Path(folder) / RESULT))
                except DataError:
                    report = _checked(chosen_format, first, Path(folder), options)
        return {
            "num_photos": len(image_ids),
            "rows": [{"name": photo.name, "tags": list(photo.tags)} for photo in first],
            "files": files,
            **_described(report),
        }

    def start(self, user: str, format: str, values: Mapping[str, Any], chosen: Chosen) -> JsonObject:
        """Begin to write all chosen photos; photos that break a rule of the format are left out and named.

        Args:
            user: Who exports.
            format: A name of the registry.
            values: Options of the format.
            chosen: Which photos.

        Returns:
            The state of the export, see `state`.

        Raises:
            ConfigError: There is no such format, it is read only, or an option is wrong.
            DataError: No photo is chosen, or the disk is nearly full.
            StoreError: The database could not be read.
        """
        chosen_format, options = _configured(format, values)
        image_ids = self.image_ids(user, chosen)
        if not image_ids:
            raise DataError("No photo is selected, so there is nothing to export.")
        transfer = self._workspace.transfers.begin(user, "export")
        transfer.num_photos = len(image_ids)
        photos = transfer.watch(self._photos(user, chosen_format, image_ids))
        name = self._workspace.project.settings.name

        def work() -> JsonObject:
            report = _written(chosen_format, photos, transfer.folder, options)
            path, file_name = _one_file(transfer, chosen_format, name)
            return {**_described(report), "num_written": report.num_photos, "file_name": file_name,
                    "num_bytes": path.stat().st_size}  # fmt: skip

        transfer.start(work, "ready")
        return transfer.describe()

    def state(self, user: str, transfer_id: str) -> JsonObject:
        """Return how far an export or import of this person is.

        Raises:
            ConfigError: They have none of that id.
        """
        return self._workspace.transfers.get(user, transfer_id).describe()

    def cancel(self, user: str, transfer_id: str) -> JsonObject:
        """End an export or import of this person before it has written anything; return its state.

        Raises:
            ConfigError: They have none of that id.
        """
        transfer = self._workspace.transfers.get(user, transfer_id)
        transfer.cancel()
        return transfer.describe()

    def result(self, user: str, transfer_id: str) -> tuple[Path, str]:
        """Return the file that an export has written, and the name to offer for it.

        Raises:
            ConfigError: They have no such export, or it is not ready.
        """
        transfer = self._workspace.transfers.get(user, transfer_id)
        if transfer.kind != "export" or transfer.state != "ready":
            raise ConfigError("This export is not ready.")
        file_name = str(transfer.result["file_name"])
        return transfer.folder / f"{RESULT}.part{Path(file_name).suffix}", file_name

    def image_ids(self, user: str, chosen: Chosen) -> list[int]:
        """Return the ids of the chosen photos, in ascending order.

        Raises:
            TagError: The tag is not a valid tag.
            StoreError: The database could not be read.
        """
        found = select(self._workspace.store, chosen.selection)
        if chosen.found is None:
            return found
        among = set(self._navigation.found(user, *chosen.found)[0].tolist())
        return [image_id for image_id in found if image_id in among]

    def _photos(self, user: str, format: Format, image_ids: Sequence[int]) -> Iterator[TaggedPhoto]:
        """Yield photos; of a person who may not see folders of this machine, no path is in them."""
        in_full = self._workspace.shows_folders(user)
        for row in photo_rows(self._workspace.store, image_ids, self._workspace.vocabulary.levels_of):
            photo = exported_photo(row)
            if not in_full:
                photo = replace(
                    photo,
                    name=row["image"] or row["content_hash"],
                    path=photo.path if format.takes_photos else None,
                    row={**photo.row, "root": ""},
                )
            yield photo


def _configured(name: str, values: Mapping[str, Any]) -> tuple[Format, Any]:
    format = registry.find(name)
    if format.write is None:
        raise ConfigError(f"The format {format.name} is read only.")
    return format, format.configure(values)


def _written(format: Format, photos: Iterable[TaggedPhoto], folder: Path, options: Any) -> Report:
    return write_format(format, photos, folder / RESULT, options, leave_out=True)


def _checked(format: Format, photos: Iterable[TaggedPhoto], folder: Path, options: Any) -> Report:
    """Return why none of the first photos can be written, one after the other."""
    report = Report()
    for number, photo in enumerate(photos):
        try:
            write_format(format, [photo], folder / f"{RESULT}-{number}", options, leave_out=False)
        except DataError as error:
            *_, last = str(error).splitlines()
            report.refuse(photo.name, last.removeprefix(f"{photo.name}: "))
    return report


def _described(report: Report) -> JsonObject:
    return {
        "num_left_out": report.num_problems,
        "left_out": [asdict(one) for one in report.problems[:MOST_SHOWN]],
        "num_notes": report.num_notes,
        "notes": [asdict(one) for one in report.notes[:MOST_SHOWN]],
    }


def _shown_files(result: Path) -> Iterator[JsonObject]:
    """Yield the first files that were written: their names, and their text where they are text."""
    folder = result if result.is_dir() else result.parent
    files = sorted(path for path in result.rglob("*") if path.is_file()) if result.is_dir() else [result]
    for path in files[:PREVIEW_ROWS]:
        with path.open("rb") as file:
            data = file.read(4 * PREVIEW_LETTERS)
        # Cut letters at the end are left out; a photo or a Parquet file is no text at all.
        text = "" if b"\0" in data else data.decode("utf-8-sig", errors="ignore")[:PREVIEW_LETTERS]
        yield {"name": path.relative_to(folder).as_posix() if result.is_dir() else "", "text": text}


def _one_file(transfer: Transfer, format: Format, project: str) -> tuple[Path, str]:
    """Return the file to fetch and the name to offer: the file itself, or a ZIP archive of the folder."""
    result, name = transfer.folder / RESULT, _file_name(project, format.name)
    if result.is_file():
        path = transfer.folder / f"{RESULT}.part{format.suffix}"
        result.rename(path)
        return path, f"{name}{format.suffix}"
    path = transfer.folder / f"{RESULT}.part.zip"
    files = sorted(one for one in result.rglob("*") if one.is_file() or one.is_symlink())
    transfer.num_done, transfer.num_photos = 0, len(files)
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for file in transfer.watch(files):
                if file.is_symlink():
                    raise DataError("An archive holds no links; choose photos=copy.")
                archive.write(file, file.relative_to(result).as_posix())
                file.unlink()  # otherwise both would need room
    except OSError as error:
        raise DataError(f"The archive could not be written: {error.strerror}.") from error
    return path, f"{name}.zip"


def _file_name(project: str, format: str) -> str:
    """Return a file name for every system."""
    kept = "".join(letter if letter.isalnum() or letter in " -_" else "_" for letter in project).strip()
    return f"{kept[:60] or 'tags'} {format}"
