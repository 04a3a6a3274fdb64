"""Label Studio: tasks with the saved list as an annotation, and the model's proposals as a prediction.

Choices keep their order in Label Studio's files, though its page shows them in the order of the labelling interface.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import quoteattr

from annotator.datasets.formats.contract import Format, Place, Report, Survival
from annotator.datasets.formats.reading import clean_list, read_json
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.errors import DataError

TASKS, INTERFACE = "tasks.json", "interface.xml"
_UPLOAD_HASH = re.compile(r"^[0-9a-f]{8}-")


@dataclass(frozen=True)
class LabelStudioOptions:
    """Options of `labelstudio`."""

    prefix: str = "/data/local-files/?d="
    """What comes before a photo's name in a task: Label Studio's local files, or the address of a web server."""
    from_name: str = "tags"
    """Name of the Choices in the labelling interface."""
    to_name: str = "image"
    """Name of the Image in it, and the key of the photo in the data of a task."""
    model_version: str = "annotator"
    """What the predictions are called."""


def write(photos: Iterable[TaggedPhoto], place: Place, options: LabelStudioOptions, report: Report) -> None:
    """Write tasks.json and a labelling interface with every tag."""
    place.path.mkdir()
    tags: dict[str, None] = {}
    with (place.path / TASKS).open("w", encoding="utf-8", newline="\n") as file:
        file.write("[")
        for photo in photos:
            tags |= dict.fromkeys([*photo.tags, *photo.scores])
            file.write((",\n" if report.num_photos else "\n") + json.dumps(_task(photo, options), ensure_ascii=False))
            report.num_photos += 1
        file.write("\n]\n")
    (place.path / INTERFACE).write_text(_interface(tags, options), encoding="utf-8")


def _task(photo: TaggedPhoto, options: LabelStudioOptions) -> dict[str, Any]:
    task: dict[str, Any] = {
        "data": {options.to_name: options.prefix + quote(photo.name)},
        "annotations": [{"result": [_result(photo.tags, options)] if photo.tags else []}],
    }
    if photo.scores:
        proposed = sorted(photo.scores, key=lambda tag: -photo.scores[tag])
        task["predictions"] = [
            {
                "model_version": options.model_version,
                "score": round(max(photo.scores.values()), 6),
                "result": [_result(proposed, options)],
            }
        ]
    return task


def _result(tags: Iterable[str], options: LabelStudioOptions) -> dict[str, Any]:
    return {
        "id": "tags",
        "from_name": options.from_name,
        "to_name": options.to_name,
        "type": "choices",
        "value": {"choices": list(tags)},
    }


def _interface(tags: Iterable[str], options: LabelStudioOptions) -> str:
    choices = "".join(f"    <Choice value={quoteattr(tag)}/>\n" for tag in tags)
    return (
        f"<View>\n  <Image name={quoteattr(options.to_name)} value={quoteattr('$' + options.to_name)}/>\n"
        f'  <Choices name={quoteattr(options.from_name)} toName={quoteattr(options.to_name)} choice="multiple">\n'
        f"{choices}  </Choices>\n</View>\n"
    )


def read(source: Path, options: LabelStudioOptions, report: Report) -> Iterator[TaggedPhoto]:
    """Yield the photos of tasks, as Label Studio exports them (JSON or JSON-MIN): the newest annotation of each."""
    path = source / TASKS if source.is_dir() else source
    tasks = read_json(path)
    if not isinstance(tasks, list):
        raise DataError(f"{path} is not an export of Label Studio: it must be a list of tasks.")
    for number, task in enumerate(tasks, start=1):
        place = f"Task {number:,} of {path}"
        if not isinstance(task, dict):
            raise DataError(f"{place} is not an object.")
        data = task.get("data", task)
        link = data.get(options.to_name) if isinstance(data, dict) else None
        if not isinstance(link, str) or not link:
            raise DataError(f"{place} has no photo under {options.to_name!r}; name its key with --set to_name=KEY.")
        name = name_of(link, options)
        choices = _choices(task, options) if "data" in task else _listed(task.get(options.from_name))
        report.num_photos += 1
        yield TaggedPhoto(name, clean_list(choices, name, report))


def name_of(link: str, options: LabelStudioOptions) -> str:
    """Return the photo's name of a link in a task, without the hash that Label Studio puts before uploads."""
    if options.prefix and link.startswith(options.prefix):
        return unquote(link.removeprefix(options.prefix))
    try:
        parts = urlsplit(link)
    except ValueError:  # no address, such as http://[
        return link
    if parts.path.rstrip("/").endswith("/data/local-files"):
        return (parse_qs(parts.query).get("d") or [""])[0]
    path = PurePosixPath(unquote(parts.path))
    return _UPLOAD_HASH.sub("", path.name) if "upload" in path.parts else str(path).lstrip("/")


def _choices(task: Mapping[str, Any], options: LabelStudioOptions) -> list[object]:
    annotations = [one for one in task.get("annotations") or [] if isinstance(one, dict)]
    given = [one for one in annotations if not one.get("was_cancelled")]
    found: list[object] = []
    for result in given[-1].get("result") or [] if given else []:
        if isinstance(result, dict) and result.get("from_name") == options.from_name:
            value = result.get("value")
            found += _listed(value)
    return found


def _listed(value: object) -> list[object]:
    """Return the tags of a result's value, or of JSON-MIN: a text, a list, or an object with one of these."""
    if isinstance(value, dict):
        ranker = value.get("ranker")
        if isinstance(ranker, dict):
            return [one for bucket in ranker.values() if isinstance(bucket, list) for one in bucket]
        return _listed(value.get("choices", value.get("taxonomy", ranker)))
    if isinstance(value, list):
        return [one[-1] if isinstance(one, list) and one else one for one in value]
    return [value] if isinstance(value, str) else []


FORMAT = Format(
    "labelstudio",
    "Label Studio's tasks, with a labelling interface",
    Survival(order="yes", scores="partly", who="no", dropped="no", hierarchy="no"),
    layout="folder",
    write=write,
    read=read,
    options=LabelStudioOptions,
)
