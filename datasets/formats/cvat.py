"""CVAT for images 1.1: a `tag` a tag, with its rank and score as attributes."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from annotator.datasets.formats.coco import size_problem
from annotator.datasets.formats.contract import Format, NoOptions, Place, Report, Survival
from annotator.datasets.formats.reading import clean_list, xml_elements
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.datasets.formats.writing import passing
from annotator.errors import DataError

_ATTRIBUTES = (
    "<attributes><attribute><name>rank</name><mutable>False</mutable><input_type>number</input_type>"
    "<default_value>1</default_value><values>1\n1000\n1</values></attribute></attributes>"
)


def write(photos: Iterable[TaggedPhoto], place: Place, options: NoOptions, report: Report) -> None:
    """Write one XML file; the images wait in a temporary file, since the labels come before them."""
    labels: dict[str, None] = {}
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", dir=place.path.parent) as images:
        for number, photo in enumerate(passing(photos, size_problem, report)):
            labels |= dict.fromkeys(photo.tags)
            images.write(_image(number, photo))
        images.seek(0)
        with place.path.open("w", encoding="utf-8", newline="\n") as file:
            file.write(
                '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n'
                "    <task>\n"
                f"      <name>annotator</name>\n      <size>{report.num_photos}</size>\n      <mode>annotation</mode>\n"
                "      <labels>\n"
            )
            for label in labels:
                file.write(f"        <label><name>{escape(label)}</name>{_ATTRIBUTES}</label>\n")
            file.write("      </labels>\n    </task>\n  </meta>\n")
            shutil.copyfileobj(images, file)
            file.write("</annotations>\n")


def _image(number: int, photo: TaggedPhoto) -> str:
    head = f'  <image id="{number}" name={quoteattr(photo.name)} width="{photo.width}" height="{photo.height}">\n'
    tags = []
    for rank, tag in enumerate(photo.tags, start=1):
        source = "auto" if tag in photo.scores else "manual"
        rank_attribute = f'      <attribute name="rank">{rank}</attribute>\n'
        tags.append(f'    <tag label={quoteattr(tag)} source="{source}">\n{rank_attribute}    </tag>\n')
    return f"{head}{''.join(tags)}  </image>\n"


def read(source: Path, options: NoOptions, report: Report) -> Iterator[TaggedPhoto]:
    """Yield the photos of an annotations file: their tags by rank, those without one in the order of the file."""
    path = source / "annotations.xml" if source.is_dir() else source
    for image in xml_elements(path, "image"):
        name = image.get("name")
        if not name:
            raise DataError(f"{path} has an image without a name.")
        ranked: list[tuple[float, str]] = []
        for tag in image.iter("tag"):
            rank = next((found.text for found in tag.iter("attribute") if found.get("name") == "rank"), None)
            try:
                ranked.append((float(rank) if rank else float("inf"), tag.get("label") or ""))
            except ValueError:
                raise DataError(f"{path}: the rank {rank!r} of a tag of {name} is not a number.") from None
        report.num_photos += 1
        ranked.sort(key=lambda item: item[0])
        yield TaggedPhoto(name, clean_list([label for _, label in ranked], name, report))


FORMAT = Format(
    "cvat",
    "CVAT for images 1.1, with the rank as an attribute",
    Survival(order="yes", scores="no", who="no", dropped="no", hierarchy="no"),
    write=write,
    read=read,
    suffix=".xml",
)
