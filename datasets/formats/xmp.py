"""XMP sidecars: keywords for Lightroom, digiKam, Immich, darktable and others, and the ranked list for this program.

Properties and containers are those that the programs read: dc:subject (Bag), lr:hierarchicalSubject (Bag, levels
parted by `|`), MicrosoftPhoto:LastKeywordXMP (Bag, `/`), digiKam:TagsList (Seq, `/`). Since several programs sort or
mix a Bag, the order is also kept in a Seq of our own namespace. Everything else in a sidecar is kept byte for byte;
photos are never written to.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from annotator.datasets.formats.contract import Format, Place, Report, Survival, check_choice
from annotator.datasets.formats.reading import clean_list, read_small
from annotator.datasets.formats.tagged_photo import TaggedPhoto, safe_name
from annotator.datasets.formats.writing import write_small
from annotator.datasets.formats.xmp_packet import EMPTY_PACKET, Property, read_lists, replace_lists
from annotator.datasets.tags import tag_key
from annotator.errors import DataError

RANKED = Property("urn:x-annotator:ranked-tags:1.0/", "RankedTags", "annotator", "Seq")
SUBJECT = Property("http://purl.org/dc/elements/1.1/", "subject", "dc", "Bag")
LIGHTROOM = Property("http://ns.adobe.com/lightroom/1.0/", "hierarchicalSubject", "lr", "Bag")
DIGIKAM = Property("http://www.digikam.org/ns/1.0/", "TagsList", "digiKam", "Seq")
MICROSOFT = Property("http://ns.microsoft.com/photo/1.0/", "LastKeywordXMP", "MicrosoftPhoto", "Bag")
MICROSOFT_BY_EXIFTOOL = Property("http://ns.microsoft.com/photo/1.0", "LastKeywordXMP", "MicrosoftPhoto", "Bag")
"""The same property in the namespace as ExifTool writes it; read, and removed when MICROSOFT is written."""
LEVELS = {LIGHTROOM: "|", DIGIKAM: "/", MICROSOFT: "/", MICROSOFT_BY_EXIFTOOL: "/"}
"""Property -> what parts the levels of a hierarchy in it."""
FIELDS = {
    "title": Property("http://purl.org/dc/elements/1.1/", "title", "dc", "Alt"),
    "description": Property("http://purl.org/dc/elements/1.1/", "description", "dc", "Alt"),
    "category": Property("http://ns.adobe.com/photoshop/1.0/", "SupplementalCategories", "photoshop", "Bag"),
}
"""Field of a photo -> the property that holds it; written where a person has filled it."""
ALL = (SUBJECT, LIGHTROOM, DIGIKAM, MICROSOFT, RANKED)
READ = (*ALL, MICROSOFT_BY_EXIFTOOL)


@dataclass(frozen=True)
class Profile:
    """What a program reads."""

    properties: tuple[Property, ...]
    replaces_suffix: bool
    """`photo.xmp`; otherwise `photo.jpg.xmp`."""


PROFILES = {
    "all": Profile(ALL, False),
    "adobe": Profile((SUBJECT, LIGHTROOM, RANKED), True),
    "digikam": Profile(ALL, False),
    "immich": Profile((SUBJECT, LIGHTROOM, DIGIKAM, RANKED), False),
    "darktable": Profile((SUBJECT, LIGHTROOM, RANKED), False),
}


@dataclass(frozen=True)
class XmpOptions:
    """Options of `xmp`."""

    profile: str = "all"
    """The program that the sidecars are for: all, adobe (photo.xmp), digikam, immich or darktable (photo.jpg.xmp)."""
    keywords: str = "keep"
    """Keywords of a sidecar that are not in the saved list: keep them after it, replace, or refuse the photo."""

    def __post_init__(self) -> None:
        check_choice("profile", self.profile, PROFILES)
        check_choice("keywords", self.keywords, ("keep", "replace", "refuse"))


def write(photos: Iterable[TaggedPhoto], place: Place, options: XmpOptions, report: Report) -> None:
    """Write a sidecar a photo; an existing one is merged."""
    names: set[str] = set()
    for photo in photos:
        name = sidecar_name(safe_name(photo.name, "The project"), options, place.final)
        if name in names:
            report.refuse(photo.name, f"another photo has the sidecar {name} too")
            continue
        names.add(name)
        path = place.final / name
        existing = read_small(path) if path.exists() else None
        try:
            data = merged(existing, photo, options, report, name)
        except DataError as error:
            report.refuse(photo.name, str(error))
            continue
        if data is not None:
            report.num_photos += 1
            if data != existing:
                write_small(place.path, name, data)


def sidecar_name(name: str, options: XmpOptions, folder: Path) -> str:
    """Return the name of a photo's sidecar: for digiKam an existing `photo.xmp`, otherwise as the profile has it."""
    short = str(PurePosixPath(name).with_suffix(".xmp"))
    if PROFILES[options.profile].replaces_suffix:
        return short
    full = f"{name}.xmp"
    is_kept = options.profile == "digikam" and (folder / short).exists() and not (folder / full).exists()
    return short if is_kept else full


def merged(existing: bytes | None, photo: TaggedPhoto, options: XmpOptions, report: Report, place: str) -> bytes | None:
    """Return a sidecar with the photo's list; None where the options refuse it.

    Args:
        existing: The present sidecar.
        photo: The photo.
        options: Of the format.
        report: Takes what a person should know.
        place: The sidecar's name, for messages.

    Raises:
        DataError: The present sidecar cannot be read.
    """
    data = existing or EMPTY_PACKET
    found = _joined(read_lists(data, READ, place))
    written = {tag_key(tag) for tag in found.get(RANKED, ())}
    gone = {tag_key(tag) for tag in photo.dropped} | written
    foreign = {one: _foreign(one, items, photo.tags, gone) for one, items in found.items() if one != RANKED}
    others = list(dict.fromkeys(_leaf(one, item) for one, items in foreign.items() for item in items))
    if others and options.keywords == "refuse":
        report.refuse(photo.name, f"its sidecar {place} has keywords that are not in the saved list: {_some(others)}")
        return None
    if others and options.keywords == "keep":
        report.note(photo.name, f"keywords of its sidecar that are not in the saved list were kept: {_some(others)}")
    lists: dict[Property, Sequence[str]] = {}
    for one in ALL:
        if one in PROFILES[options.profile].properties or one in found:
            own = _own(one, photo, found.get(one, ()))
            lists[one] = [*own, *(foreign.get(one, ()) if options.keywords == "keep" else ())]
    lists[MICROSOFT_BY_EXIFTOOL] = ()
    lists |= _fields(data, photo, report, place)
    for tag in photo.tags:
        for sign in sorted({LEVELS[one] for one in lists if one in LEVELS and LEVELS[one] in tag}):
            report.note(photo.name, f"other programs read the tag {tag!r} as levels, since it holds {sign!r}")
    return replace_lists(data, lists, place)


def _fields(data: bytes, photo: TaggedPhoto, report: Report, place: str) -> dict[Property, list[str]]:
    """Return the properties of the photo's fields; a text in several languages stays as it is."""
    wanted = {one: photo.fields[name] for name, one in FIELDS.items() if photo.fields.get(name)}
    if not wanted:
        return {}
    present = read_lists(data, list(wanted), place)
    several = [one for one in wanted if len(present.get(one, ())) > 1]
    for one in several:
        report.note(photo.name, f"its sidecar {place} has several values of {one.prefix}:{one.name}, which were kept")
    return {one: [value] for one, value in wanted.items() if one not in several}


def _joined(found: dict[Property, list[str]]) -> dict[Property, list[str]]:
    """Return what was found with both spellings of a namespace as one property."""
    other = found.pop(MICROSOFT_BY_EXIFTOOL, [])
    if other:
        known = found.setdefault(MICROSOFT, [])
        known += [item for item in other if item not in known]
    return found


def _own(one: Property, photo: TaggedPhoto, found: Sequence[str]) -> list[str]:
    """Return the list in a property's notation; a tag keeps the levels that it has in the sidecar, else the photo's."""
    if one not in LEVELS:
        return list(photo.tags)
    sign = LEVELS[one]
    known = {tag_key(_leaf(one, item)): item for item in found if sign in item}
    return [tag if sign in tag else known.get(tag_key(tag), _with_levels(tag, photo, sign)) for tag in photo.tags]


def _with_levels(tag: str, photo: TaggedPhoto, sign: str) -> str:
    levels = photo.levels.get(tag, ())
    return tag if any(sign in level for level in levels) else sign.join((*levels, tag))


def _foreign(one: Property, items: Sequence[str], tags: Sequence[str], gone: set[str]) -> list[str]:
    keys = {tag_key(tag) for tag in tags} | gone
    return [item for item in items if tag_key(item) not in keys and tag_key(_leaf(one, item)) not in keys]


def _leaf(one: Property, item: str) -> str:
    return item.rpartition(LEVELS[one])[2].strip() if one in LEVELS else item


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:5]) + (f" and {len(words) - 5:,} more" if len(words) > 5 else "")


def read(source: Path, options: XmpOptions, report: Report) -> Iterator[TaggedPhoto]:
    """Yield a photo for each sidecar below a folder, or for one sidecar."""
    paths = [source] if source.is_file() else sorted(source.rglob("*.[xX][mM][pP]"))
    for path in paths:
        name = path.relative_to(source if source.is_dir() else source.parent).with_suffix("").as_posix()
        try:
            data = read_small(path)
            tags = clean_list(keywords_of(data, str(path)), name, report)
            found = read_lists(data, list(FIELDS.values()), str(path))
        except DataError as error:
            report.refuse(name, str(error))
            continue
        if tags:
            report.num_photos += 1
            texts = {key: found[one][0] for key, one in FIELDS.items() if found.get(one)}
            title, description, category = (texts.get(key, "") for key in ("title", "description", "category"))
            yield TaggedPhoto(name, tags, title=title, description=description, category=category)


def keywords_of(data: bytes, place: str) -> list[str]:
    """Return the keywords of a sidecar, see `ranked_list`.

    Raises:
        DataError: It cannot be read.
    """
    return ranked_list(_joined(read_lists(data, READ, place)))


def ranked_list(found: Mapping[Property, Sequence[str]]) -> list[str]:
    """Return a sidecar's keywords: in our order as far as other programs kept them, then theirs."""
    flat = list(found.get(SUBJECT, ()))
    for one in (DIGIKAM, LIGHTROOM, MICROSOFT):
        if not flat:
            flat = [_leaf(one, item) for item in found.get(one, ())]
    keys = {tag_key(tag) for tag in flat}
    if not keys:
        return list(found.get(RANKED, ()))
    ours = [tag for tag in found.get(RANKED, ()) if tag_key(tag) in keys]
    return [*ours, *(tag for tag in flat if tag_key(tag) not in {tag_key(tag) for tag in ours})]


FORMAT = Format(
    "xmp",
    "XMP sidecars for Lightroom, digiKam, Immich and darktable",
    Survival(order="yes", scores="no", who="no", dropped="no", hierarchy="yes"),
    layout="tree",
    write=write,
    read=read,
    options=XmpOptions,
    merges=True,
)
