import io
import sys
from typing import Any

import pytest

from annotator.cli.main import plain_streams
from annotator.cli.terminal import PlainStream, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("caf\u00e9\tand tea\n", "caf\u00e9\tand tea\n"),
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("gone\rhere", "gone\\rhere"),
        ("back\x08\x7f", "back\\x08\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("photo\u202egnp.exe", "photo\\u202egnp.exe"),
        ("\u2066left\u2069", "\\u2066left\\u2069"),
    ],
)
def test_what_steers_a_terminal_is_shown_as_its_code(text: str, shown: str) -> None:
    assert plain(text) == shown
    out = io.StringIO()
    stream = PlainStream(out)
    assert stream.write(text) == len(text)
    stream.writelines([text])
    assert out.getvalue() == shown * 2


@pytest.mark.parametrize("is_terminal", [True, False])
def test_errors_are_always_plain_and_output_where_it_goes_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: is_terminal, raising=False)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with plain_streams():
        print("tag \x1b[31m")
        print("annotator: no photo \x1b[2J", file=sys.stderr)
    print("after \x1b")
    assert out.getvalue() == ("tag \\x1b[31m\n" if is_terminal else "tag \x1b[31m\n") + "after \x1b\n"
    assert err.getvalue() == "annotator: no photo \\x1b[2J\n"


def test_the_name_of_a_file_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from annotator.cli.main import main

    assert main(["backup", "/nowhere/\x1b[2Jproject", "/tmp/x.tar"]) == 1
    said: Any = capsys.readouterr()
    assert "\x1b" not in said.err
    assert "\\x1b[2Jproject" in said.err
