"""Roots of photos: a folder on a disk, or a URL of a store of files (see remote_store.py).

Knows nothing of projects, nor of what is in a root.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from annotator.errors import ConfigError

ARCHIVES = (".zip", ".tar")
"""Endings of files that are read like folders."""
SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "http", "https", "zip", "tar", "memory")
"""Of stores that photos are read from; ``memory`` is the process's own, for tests."""
LOCAL_ARCHIVES = ("zip", "tar")
"""Schemes of archives on this machine's disk: ``zip:///path/photos.zip``."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class PhotoUrl:
    """A folder, a list of addresses or an archive behind a URL, or a file below it."""

    text: str
    """Without a slash at its end."""

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, path: str) -> "PhotoUrl":
        return PhotoUrl(f"{self.text}/{path}")

    @property
    def name(self) -> str:
        """The last part of its path; the host if it has none."""
        return self.text.rpartition("/")[2]

    @property
    def is_archive(self) -> bool:
        """Whether it is a ZIP or tar file."""
        return self.text.lower().endswith(ARCHIVES)


PhotoRoot = Path | PhotoUrl
"""Where photos lie."""


def is_url(text: str) -> bool:
    """Tell whether a text names a URL, not a path."""
    return bool(_SCHEME.match(text))


def known_root(text: str) -> PhotoRoot:
    """Return the root that `str` of a root has named; no path on a disk has two slashes in a row."""
    return PhotoUrl(text) if is_url(text) else Path(text)


def typed_root(text: str) -> PhotoRoot:
    """Return the root that a person has typed: a path in full, where ``~`` is the home folder, or a checked URL.

    Raises:
        ConfigError: The URL is of no known store, or holds a user, a password or a query, which would be stored with
            the project.
    """
    if not is_url(text):
        return Path(text).expanduser().resolve()
    parts = urlsplit(text)
    if parts.scheme not in SCHEMES:
        raise ConfigError(f"Photos are not read from {parts.scheme[:40]}://. Known are: {', '.join(SCHEMES[:-1])}.")
    if parts.scheme in LOCAL_ARCHIVES and "::" not in text:
        return PhotoUrl(f"{parts.scheme}://{Path(text.partition('://')[2]).expanduser().resolve()}")
    if "@" in parts.netloc or parts.query or parts.fragment or "::" in text:
        raise ConfigError(
            f"Name {parts.scheme}://… without user, password, ?, # and ::, since the project keeps it. Log in by "
            "the store's own way, such as its configuration file or environment variables."
        )
    if not parts.netloc and not parts.path.strip("/"):
        raise ConfigError(f"{text[:100]} names no folder.")
    return PhotoUrl(text.rstrip("/"))
