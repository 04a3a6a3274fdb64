"""Shutterstock: 7 to 50 keywords, one or two categories of its list."""

from dataclasses import dataclass

from annotator.datasets.formats.stock_pack import Pack, StockOptions, stock_format, title_of
from annotator.datasets.formats.tagged_photo import TaggedPhoto

CATEGORIES = (
    "Abstract", "Animals/Wildlife", "Arts", "Backgrounds/Textures", "Beauty/Fashion", "Buildings/Landmarks",
    "Business/Finance", "Celebrities", "Education", "Food and drink", "Healthcare/Medical", "Holidays", "Industrial",
    "Interiors", "Miscellaneous", "Nature", "Objects", "Parks/Outdoor", "People", "Religion", "Science",
    "Signs/Symbols", "Sports/Recreation", "Technology", "Transportation", "Vintage",
)  # fmt: skip


@dataclass(frozen=True)
class ShutterstockOptions(StockOptions):
    """Options of `shutterstock`."""

    illustration: bool = False
    """The pictures are illustrations."""
    mature: bool = False
    """The pictures show mature content."""
    editorial: bool = False
    """The pictures are for editorial use only."""


def row(photo: TaggedPhoto, options: ShutterstockOptions) -> dict[str, str]:
    """Return a photo's row."""
    return {
        "Filename": photo.file_name,
        "Description": photo.description or title_of(photo, options),
        "Keywords": ",".join(photo.tags),
        "Categories": photo.category or options.category,
        "Illustration": _yes(options.illustration),
        "Mature Content": _yes(options.mature),
        "Editorial": _yes(options.editorial),
    }


def _yes(value: bool) -> str:
    return "Yes" if value else "No"


def breach(photo: TaggedPhoto, row: dict[str, str]) -> str | None:
    """Return why Shutterstock refuses a row; None if it does not."""
    categories = [part.strip() for part in row["Categories"].split(",") if part.strip()]
    unknown = [one for one in categories if one not in CATEGORIES]
    if unknown:
        return f"its category {unknown[0]!r} is not one of Shutterstock's"
    return f"it has {len(categories)} categories; Shutterstock takes two" if len(categories) > 2 else None


PACK = Pack(
    "shutterstock", "Shutterstock",
    ("Filename", "Description", "Keywords", "Categories", "Illustration", "Mature Content", "Editorial"), row, breach,
    keywords_column="Keywords", name_column="Filename", fewest=7,
)  # fmt: skip
FORMAT = stock_format(PACK, ShutterstockOptions)
