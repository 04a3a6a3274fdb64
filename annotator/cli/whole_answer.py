"""Reads an answer of a server to its end, and refuses one that ended early.

Python's HTTP client takes the end of a connection for the end of an answer when an answer is read by lines or blocks.
So what was read is compared with the length that the server announced, and the rows with their number. Nothing of an
answer is used before all of it is there.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import IO, Any

from annotator.errors import AnnotatorError

ROWS_HEADER = "x-annotator-rows"
BLOCK_BYTES = 1 << 20
IN_MEMORY_BYTES = 4_000_000


class CutAnswerError(AnnotatorError):
    """The server's answer ended before its end: it was killed, or the connection broke."""


def copy_whole(response: Any, target: IO[bytes]) -> int:
    """Copy an answer's body into a file and return its length in bytes.

    Args:
        response: As ``urllib`` gives it.
        target: An open file.

    Raises:
        CutAnswerError: The answer ended early, or the server did not say how long it is.
        OSError: The file cannot be written.
    """
    announced = response.headers.get("content-length")
    if announced is None or not announced.isdigit():
        raise CutAnswerError(
            "The server does not say how long its answer is, so it may end early unnoticed. It is of another version "
            "than this command: end it and start it again."
        )
    num_bytes, expected = 0, int(announced)
    while block := _read(response, num_bytes, expected):
        target.write(block)
        num_bytes += len(block)
    if num_bytes != expected:
        raise _cut(num_bytes, expected)
    return num_bytes


def _read(response: Any, num_bytes: int, expected: int) -> bytes:
    try:
        block: bytes = response.read(BLOCK_BYTES)
    except (OSError, HTTPException) as error:  # a reset connection, a time-out, a cut answer
        raise _cut(num_bytes, expected) from error
    return block


def _cut(num_bytes: int, expected: int) -> CutAnswerError:
    return CutAnswerError(
        f"The server's answer ended after {num_bytes:,} of {expected:,} bytes: it was ended, or the connection broke. "
        "Nothing of the answer was used; run the command again."
    )


@contextmanager
def whole_lines(response: Any) -> Iterator[Iterator[bytes]]:
    """Yield the lines of a counted answer, one a row, after all of it is there.

    Raises:
        CutAnswerError: The answer ended early, or has another number of lines than the server counted rows.
    """
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as file:
        copy_whole(response, file)
        file.seek(0)
        num_lines, announced = sum(1 for _ in file), response.headers.get(ROWS_HEADER)
        if str(num_lines) != announced:
            raise CutAnswerError(
                f"The server's answer has {num_lines:,} rows, but it announced {announced or 'no number'}. "
                "Nothing of the answer was used; run the command again."
            )
        file.seek(0)
        yield iter(file)


def whole_body(response: Any) -> bytes:
    """Return an answer's body.

    Raises:
        CutAnswerError: The answer ended early.
    """
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as file:
        copy_whole(response, file)
        file.seek(0)
        return file.read()
