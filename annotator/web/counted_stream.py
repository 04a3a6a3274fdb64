"""Streamed answers that say beforehand how much comes: their length in bytes, and the number of their rows.

The answer is made in a temporary file first. So an error in the middle is answered as an error, and an answer that ends
early is shorter than its Content-Length, which browsers, proxies and other clients notice by themselves. Knows nothing
of what is sent.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import IO

from fastapi.responses import StreamingResponse

from annotator.errors import StoreError
from annotator.json_types import JsonObject

ROWS_HEADER = "x-annotator-rows"
"""Number of rows of the answer, without a heading."""
ROWS_A_WRITE = 500
IN_MEMORY_BYTES = 4_000_000
"""Longer answers are kept on the disk, in the folder for temporary files, while they are sent."""
BLOCK_BYTES = 1 << 18


class CountedRows:
    """Rows that are counted while they are read.

    Args:
        rows: Records of photos.
    """

    def __init__(self, rows: Iterable[JsonObject]) -> None:
        self._rows = rows
        self.num_read = 0

    def __iter__(self) -> Iterator[JsonObject]:
        for row in self._rows:
            self.num_read += 1
            yield row


def counted_stream(
    rows: CountedRows, lines: Iterable[str], media_type: str, headers: Mapping[str, str]
) -> StreamingResponse:
    """Return an answer of lines, with its length and the number of its rows.

    Args:
        rows: What the lines are made of.
        lines: Each with its line end; reads ``rows``.
        media_type: Of the answer.
        headers: Further headers.

    Raises:
        StoreError: The temporary file cannot be written.
    """
    file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 - closed when it was sent
    try:
        try:
            rest = iter(lines)
            while block := "".join(islice(rest, ROWS_A_WRITE)):
                file.write(block.encode())
            length = file.tell()
            file.seek(0)
        except OSError as error:
            raise StoreError(
                f"The answer cannot be prepared in the folder for temporary files: {error.strerror}."
            ) from error
        about = {**headers, "content-length": str(length), ROWS_HEADER: str(rows.num_read)}
        return StreamingResponse(_blocks(file), media_type=media_type, headers=about)
    except BaseException:
        file.close()
        raise


def _blocks(file: "tempfile.SpooledTemporaryFile[bytes] | IO[bytes]") -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK_BYTES):
            yield block
