"""Text for a terminal: what comes from files and other people cannot steer it.

A file name, a tag or a user name may hold escape sequences that clear the screen, change the title or hide text.
"""

import re
from typing import Any, TextIO

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]")
"""Control characters but tab and line feed, and those that change the direction of text."""


def plain(text: str) -> str:
    r"""Return a text with every character that steers a terminal written as its code, such as ``\x1b``."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class PlainStream:
    """A text stream that writes `plain` text; everything else is that of the stream.

    Args:
        stream: The stream of a terminal or a log.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        self._stream.write(plain(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
