"""PASCAL VOC: an XML file a photo; an object of the whole photo for each tag, with its rank as an attribute."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from annotator.datasets.formats.coco import size_problem
from annotator.datasets.formats.contract import Format, NoOptions, Place, Report, Survival
from annotator.datasets.formats.reading import clean_list, parse_xml
from annotator.datasets.formats.tagged_photo import TaggedPhoto, safe_name
from annotator.datasets.formats.writing import write_small
from annotator.errors import DataError

ANNOTATIONS, LIST, LABELS = "Annotations", "ImageSets/Main/default.txt", "labelmap.txt"


def write(photos: Iterable[TaggedPhoto], place: Place, options: NoOptions, report: Report) -> None:
    """Write Annotations/, the list of photos, and the labels."""
    labels: dict[str, None] = {}
    stems: dict[str, str] = {}
    place.path.mkdir()
    write_small(place.path, LIST, b"")
    with (place.path / LIST).open("w", encoding="utf-8", newline="\n") as names:
        for photo in photos:
            stem = safe_name(photo.stem, "The project")
            reason = _problem(photo, stems.get(stem.casefold()))
            if reason is not None:
                report.refuse(photo.name, reason)
                continue
            stems[stem.casefold()] = photo.name
            report.num_photos += 1
            labels |= dict.fromkeys(photo.tags)
            names.write(f"{stem}\n")
            write_small(place.path / ANNOTATIONS, f"{stem}.xml", _annotation(photo).encode())
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", *(f"{label}:::" for label in labels)]
    write_small(place.path, LABELS, ("\n".join(lines) + "\n").encode())


def _problem(photo: TaggedPhoto, other: str | None) -> str | None:
    if other is not None:
        return f"{other} would have the same annotation file"
    colon = next((tag for tag in photo.tags if ":" in tag or tag.startswith("#")), None)
    if colon is not None:
        return f"the tag {colon!r} holds a colon or begins with #, which the list of labels cannot hold"
    return size_problem(photo)


def _annotation(photo: TaggedPhoto) -> str:
    objects = "".join(_object(photo, tag, rank) for rank, tag in enumerate(photo.tags, start=1))
    return (
        f"<annotation>\n  <folder></folder>\n  <filename>{escape(photo.name)}</filename>\n  <size>\n"
        f"    <width>{photo.width}</width>\n    <height>{photo.height}</height>\n    <depth>3</depth>\n  </size>\n"
        f"  <segmented>0</segmented>\n{objects}</annotation>\n"
    )


def _object(photo: TaggedPhoto, tag: str, rank: int) -> str:
    return (
        f"  <object>\n    <name>{escape(tag)}</name>\n    <pose>Unspecified</pose>\n    <truncated>0</truncated>\n"
        f"    <difficult>0</difficult>\n    <bndbox>\n      <xmin>0</xmin>\n      <ymin>0</ymin>\n"
        f"      <xmax>{photo.width}</xmax>\n      <ymax>{photo.height}</ymax>\n    </bndbox>\n    <attributes>\n"
        f"      <attribute>\n        <name>rank</name>\n        <value>{rank}</value>\n      </attribute>\n"
        "    </attributes>\n  </object>\n"
    )


def read(source: Path, options: NoOptions, report: Report) -> Iterator[TaggedPhoto]:
    """Yield the photos of a folder of annotations: by rank where objects have one, else the largest area first."""
    folder = source / ANNOTATIONS if (source / ANNOTATIONS).is_dir() else source
    paths = [source] if source.is_file() else sorted(folder.rglob("*.xml"))
    if not paths:
        raise DataError(f"{folder} holds no .xml file.")
    for path in paths:
        root = parse_xml(path)
        name = (root.findtext("filename") or "").strip() or path.stem
        places: dict[str, tuple[float, float]] = {}
        for found in root.iter("object"):
            tag = (found.findtext("name") or "").strip()
            try:
                rank, area = _place_of(found)
            except ValueError as error:
                raise DataError(f"{path} is not an annotation of PASCAL VOC: {error}.") from error
            known = places.get(tag, (rank, 0.0))
            places[tag] = min(rank, known[0]), known[1] - area
        report.num_photos += 1
        ranked = sorted(places, key=lambda tag: places[tag])
        yield TaggedPhoto(name, clean_list(ranked, name, report))


def _place_of(found: Element) -> tuple[float, float]:
    """Return (rank, area) of an object."""
    ranks = [one.findtext("value") for one in found.iter("attribute") if one.findtext("name") == "rank"]
    left, top, right, bottom = (float(found.findtext(f"bndbox/{key}") or 0) for key in ("xmin", "ymin", "xmax", "ymax"))
    return float(ranks[0]) if ranks and ranks[0] else float("inf"), (right - left) * (bottom - top)


FORMAT = Format(
    "voc",
    "PASCAL VOC annotations, with the rank as an attribute",
    Survival(order="yes", scores="no", who="no", dropped="no", hierarchy="no"),
    layout="folder",
    write=write,
    read=read,
)
