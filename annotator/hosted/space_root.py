"""The folder of all spaces of a hosted demo: claimed by one server, with the salt for addresses.

Knows nothing of the spaces in it.
"""

import fcntl
import hashlib
import hmac
import secrets
from pathlib import Path

from annotator.errors import ConfigError

MARK_FILE = "annotator-spaces.json"
"""Its presence in a folder means that the content of the folder may be deleted."""


class SpaceRoot:
    """A folder of spaces, locked for this process.

    Args:
        path: The folder; created if missing. It must be empty or have been used for spaces before.

    Raises:
        ConfigError: The folder holds something else, is in use by another server, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self._claim()

    def folders(self) -> list[Path]:
        """Return everything in the folder but its own file."""
        return [path for path in self.path.iterdir() if path.name != MARK_FILE]

    def hashed(self, address: str) -> str:
        """Return a salted hash of an address."""
        return hmac.new(self._salt, address.encode(), hashlib.sha256).hexdigest()

    def close(self) -> None:
        """Let other servers use the folder."""
        self._lock_file.close()

    def _claim(self) -> None:
        mark = self.path / MARK_FILE
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not mark.exists() and any(self.path.iterdir()):
                raise ConfigError(
                    f"{self.path} is not empty and was not used for spaces before. Visitors' spaces are deleted with "
                    "all that is in them, so name a new or an empty folder."
                )
            self._lock_file = mark.open("a")
        except OSError as error:
            raise ConfigError(
                f"The folder for visitors' spaces {self.path} cannot be used: {error.strerror}."
            ) from error
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock_file.close()
            raise ConfigError(
                f"Another server has its visitors' spaces in {self.path}. Name another folder."
            ) from error
        self._salt = self._read_salt(mark)

    def _read_salt(self, mark: Path) -> bytes:
        """Return the salt of the addresses, which is created with the folder and stored there alone."""
        try:
            if not mark.read_bytes():
                mark.chmod(0o600)
                self._lock_file.write(secrets.token_hex(32))
                self._lock_file.flush()
            return mark.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"The folder for visitors' spaces {self.path} cannot be used: {error.strerror}."
            ) from error
