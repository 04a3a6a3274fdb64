"""An answer that is shorter than announced, or has other rows, is refused before anything of it is used."""

import io
from http.client import IncompleteRead
from typing import Any

import pytest

from annotator.cli.whole_answer import CutAnswerError, copy_whole, whole_body, whole_lines


class Response:
    """A response whose connection ends after some bytes."""

    def __init__(self, body: bytes, error: Exception | None = None, **headers: object) -> None:
        self.headers = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        self._body, self._error = io.BytesIO(body), error

    def read(self, size: int) -> bytes:
        block = self._body.read(size)
        if not block and self._error is not None:
            raise self._error
        return block


def test_a_whole_answer_is_read() -> None:
    assert whole_body(Response(b"ab" * 9, content_length=18)) == b"ab" * 9
    with whole_lines(Response(b"1\n2\n", content_length=4, x_annotator_rows=2)) as lines:
        assert list(lines) == [b"1\n", b"2\n"]
    with whole_lines(Response(b"", content_length=0, x_annotator_rows=0)) as lines:
        assert list(lines) == []


@pytest.mark.parametrize("error", [None, ConnectionResetError("gone"), IncompleteRead(b""), TimeoutError("late")])
def test_an_answer_that_ends_early_is_one_sentence_and_no_rows(error: Exception | None) -> None:
    for read in (whole_body, lambda response: copy_whole(response, io.BytesIO())):
        with pytest.raises(CutAnswerError, match=r"ended after 4 of 9 bytes: .*\. Nothing of the answer was used; "):
            read(Response(b"1\n2\n", error, content_length=9))
    seen: list[Any] = []
    with pytest.raises(CutAnswerError), whole_lines(Response(b"1\n2\n", error, content_length=9)) as lines:
        seen.extend(lines)
    assert seen == []


def test_an_answer_without_a_length_or_with_another_number_of_rows_is_refused() -> None:
    with pytest.raises(CutAnswerError, match="does not say how long"):
        whole_body(Response(b"1\n"))
    for announced in ({}, {"x_annotator_rows": 3}):
        with (
            pytest.raises(CutAnswerError, match=r"has 2 rows, but it announced (3|no number)"),
            whole_lines(Response(b"1\n2\n", content_length=4, **announced)),
        ):
            pass
