"""Adobe Stock: weighs the first ten keywords most.

Columns and limits as in its contributor help: a file name of at most 30 characters, a title of at most 70 without
commas, a category from 1 to 21.
"""

from annotator.datasets.formats.stock_pack import Pack, StockOptions, stock_format, title_of
from annotator.datasets.formats.tagged_photo import TaggedPhoto

MOST_NAME, MOST_TITLE, MOST_CATEGORY = 30, 70, 21


def row(photo: TaggedPhoto, options: StockOptions) -> dict[str, str]:
    """Return a photo's row."""
    return {
        "Filename": photo.file_name,
        "Title": title_of(photo, options, MOST_TITLE),
        "Keywords": ",".join(photo.tags),
        "Category": photo.category or options.category,
    }


def breach(photo: TaggedPhoto, row: dict[str, str]) -> str | None:
    """Return why Adobe Stock refuses a row; None if it does not."""
    if len(row["Filename"]) > MOST_NAME:
        return f"its file name has {len(row['Filename'])} characters; Adobe Stock takes {MOST_NAME}"
    if len(row["Title"]) > MOST_TITLE:
        return f"its title has {len(row['Title'])} characters; Adobe Stock takes {MOST_TITLE}"
    if "," in row["Title"]:
        return f"its title {row['Title']!r} holds a comma"
    category = row["Category"]
    if category and not (category.isascii() and category.isdigit() and 1 <= int(category) <= MOST_CATEGORY):
        return f"its category {category!r} is not a number from 1 to {MOST_CATEGORY}"
    return None


PACK = Pack(
    "adobe", "Adobe Stock", ("Filename", "Title", "Keywords", "Category", "Releases"), row, breach,
    keywords_column="Keywords", name_column="Filename",
)  # fmt: skip
FORMAT = stock_format(PACK, StockOptions)
