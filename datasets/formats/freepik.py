"""Freepik: cells parted by semicolons; prompt and model for generated pictures."""

from dataclasses import dataclass

from annotator.datasets.formats.stock_pack import Pack, StockOptions, stock_format, title_of
from annotator.datasets.formats.tagged_photo import TaggedPhoto


@dataclass(frozen=True)
class FreepikOptions(StockOptions):
    """Options of `freepik`."""

    prompt: str = ""
    """Of generated pictures."""
    model: str = ""
    """That generated them."""


def row(photo: TaggedPhoto, options: FreepikOptions) -> dict[str, str]:
    """Return a photo's row."""
    return {
        "File name": photo.file_name,
        "Title": title_of(photo, options),
        "Keywords": ",".join(photo.tags),
        "Prompt": options.prompt,
        "Model": options.model,
    }


def breach(photo: TaggedPhoto, row: dict[str, str]) -> str | None:
    """Return why Freepik refuses a row; None if it does not."""
    bad = next((column for column, cell in row.items() if ";" in cell), None)
    return f"its {bad.lower()} holds a semicolon, which parts the cells" if bad else None


PACK = Pack(
    "freepik", "Freepik", ("File name", "Title", "Keywords", "Prompt", "Model"), row, breach,
    keywords_column="Keywords", name_column="File name", delimiter=";",
)  # fmt: skip
FORMAT = stock_format(PACK, FreepikOptions)
