"""iStock: ties the order of keywords to relevance."""

from dataclasses import dataclass

from annotator.datasets.formats.stock_pack import Pack, StockOptions, stock_format, title_of
from annotator.datasets.formats.tagged_photo import TaggedPhoto


@dataclass(frozen=True)
class IstockOptions(StockOptions):
    """Options of `istock`."""

    country: str = ""
    """Where the photos were taken."""
    brief_code: str = ""
    """Of the brief that they answer."""


def row(photo: TaggedPhoto, options: IstockOptions) -> dict[str, str]:
    """Return a photo's row."""
    title = title_of(photo, options)
    return {
        "file name": photo.file_name,
        "created date": str(photo.row.get("taken_at") or "")[:10],
        "description": photo.description or title,
        "country": options.country,
        "brief code": options.brief_code,
        "title": title,
        "keywords": ",".join(photo.tags),
    }


def breach(photo: TaggedPhoto, row: dict[str, str]) -> str | None:
    """Return why iStock refuses a row beside what every site refuses: for no other reason."""
    return None


PACK = Pack(
    "istock", "iStock", ("file name", "created date", "description", "country", "brief code", "title", "keywords"),
    row, breach, keywords_column="keywords", name_column="file name",
)  # fmt: skip
FORMAT = stock_format(PACK, IstockOptions)
