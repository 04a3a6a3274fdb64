"""Pond5: 5 to 50 keywords; price and copyright for all photos at once."""

from dataclasses import dataclass

from annotator.datasets.formats.stock_pack import Pack, StockOptions, stock_format, title_of
from annotator.datasets.formats.tagged_photo import TaggedPhoto


@dataclass(frozen=True)
class Pond5Options(StockOptions):
    """Options of `pond5`."""

    copyright: str = ""
    """Holder of the rights."""
    price: str = ""
    """In US dollars."""
    editorial: bool = False
    """The photos are for editorial use only."""


def row(photo: TaggedPhoto, options: Pond5Options) -> dict[str, str]:
    """Return a photo's row."""
    title = title_of(photo, options)
    return {
        "originalfilename": photo.file_name,
        "title": title,
        "description": photo.description or title,
        "keywords": ",".join(photo.tags),
        "copyright": options.copyright,
        "price": options.price,
        "editorial": "Yes" if options.editorial else "No",
    }


def breach(photo: TaggedPhoto, row: dict[str, str]) -> str | None:
    """Return why Pond5 refuses a row; None if it does not."""
    price = row["price"]
    is_price = price.isascii() and price.replace(".", "", 1).isdigit()
    return f"the price {price!r} is not a number" if price and not is_price else None


PACK = Pack(
    "pond5", "Pond5", ("originalfilename", "title", "description", "keywords", "copyright", "price", "editorial"),
    row, breach, keywords_column="keywords", name_column="originalfilename",
)  # fmt: skip
FORMAT = stock_format(PACK, Pond5Options)
