"""Servers of other projects that a person has opened from the page of this one.

Each is a process of its own (`annotator open`), so that locks, memory and failures of one project stay its own. It
listens to this machine alone, and ends with the process that started it: its standard input is closed then. Knows
nothing of HTTP.
"""

import logging
import math
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from annotator.errors import ConfigError
from annotator.json_types import JsonObject

logger = logging.getLogger(__name__)

MOST_SERVERS = 8
"""Servers that one process starts."""
SECONDS_TO_END = 30.0
"""Time that a server has to end before it is killed."""
ADDRESS = re.compile(r"Tagging page:\s+(\S+)")
PROBLEM = "annotator: "
"""Begins the line with which a command says why it ends."""


class ProjectServers:
    """The servers that were started from one page.

    Args:
        own: Folder of the project that this process serves.
        command: Arguments before the path; by default those of `annotator open`.
    """

    def __init__(self, own: Path, command: tuple[str, ...] = ()) -> None:
        self.own = own
        self._command = command or (
            sys.executable, "-m", "annotator.cli", "open", "--no-browser", "--until-input-ends",
        )  # fmt: skip
        self._servers: dict[Path, _ProjectServer] = {}
        self._lock = threading.Lock()

    def open(self, folder: Path, what: str) -> JsonObject:
        """Start the server of a project unless it runs, and return how far it is; ask again until it has started.

        Args:
            folder: The project's folder, which tells it from others.
            what: Argument of `annotator open`: the project's folder, its photos, or ``--demo``.

        Returns:
            ``state`` is "here" for the project of this process, "starting", "ready" with the ``address``, or "failed"
            with the ``problem`` in a sentence; after that, the next call starts it anew.

        Raises:
            ConfigError: `MOST_SERVERS` run already, or the process cannot be started.
        """
        if folder == self.own:
            return {"state": "here", "address": "", "problem": ""}
        with self._lock:
            server = self._servers.get(folder)
            if server is None or server.is_over:
                if sum(not one.has_ended for one in self._servers.values()) >= MOST_SERVERS:
                    raise ConfigError(f"{MOST_SERVERS} projects are open from here. End one of them first.")
                server = self._servers[folder] = _ProjectServer([*self._command, what])
            return server.describe()

    def running(self) -> set[Path]:
        """Return the folders of the projects whose servers run, started from here."""
        with self._lock:
            return {folder for folder, server in self._servers.items() if not server.has_ended}

    def end(self, folder: Path) -> JsonObject:
        """Ask the server of a project to end, and return how far that is; ask again until it has ended.

        What people do on its page meanwhile is finished; a server that takes longer than `SECONDS_TO_END` is killed.

        Args:
            folder: The project's folder.

        Returns:
            ``state`` is "ending" or "ended".

        Raises:
            ConfigError: No server of that project was started from here, or it has ended before.
        """
        with self._lock:
            server = self._servers.get(folder)
            if server is None or (server.has_ended and not server.is_ending):
                raise ConfigError("The server of this project was not started from here. End it where it was started.")
            is_late = server.is_late
            server.ask_to_end()
            if not server.has_ended and not is_late:
                return {"state": "ending"}
            del self._servers[folder]
        server.end(0.0 if is_late else SECONDS_TO_END)
        return {"state": "ended"}

    def close(self) -> None:
        """End all servers; returns when they have ended."""
        with self._lock:
            servers = list(self._servers.values())
            self._servers.clear()
        for server in servers:
            server.ask_to_end()
        for server in servers:
            server.end()


class _ProjectServer:
    def __init__(self, command: list[str]) -> None:
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        except OSError as error:
            raise ConfigError(f"No further server can be started: {error.strerror}.") from error
        self._address = ""
        self._problem = ""
        self._was_told = False
        self._asked_at = math.inf
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_output, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_messages, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def is_over(self) -> bool:
        """Whether it has ended, and what became of it was told."""
        return (self._was_told or self.is_ending) and self.has_ended

    @property
    def is_ending(self) -> bool:
        """Whether it was asked to end."""
        return self._asked_at < math.inf

    @property
    def is_late(self) -> bool:
        """Whether it was asked to end so long ago that it should have."""
        return time.monotonic() - self._asked_at > SECONDS_TO_END

    def describe(self) -> JsonObject:
        if self.is_ending:
            return {"state": "starting", "address": "", "problem": ""}  # anew, once it has ended
        answer = self._describe()
        self._was_told = answer["state"] != "starting"
        return answer

    def _describe(self) -> JsonObject:
        if self.has_ended:
            assert self._process.stdin is not None
            self._process.stdin.close()
            for reader in self._readers:
                reader.join(SECONDS_TO_END)
        if self._address:
            # Of a process that has ended, it is that of the server that has the project open.
            return {"state": "ready", "address": self._address, "problem": ""}
        if not self.has_ended:
            return {"state": "starting", "address": "", "problem": ""}
        problem = self._problem or f"The server of the project ended at once (exit code {self._process.returncode})."
        return {"state": "failed", "address": "", "problem": problem}

    def _read_output(self, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                if found := ADDRESS.match(line):
                    self._address = found.group(1)

    def _read_messages(self, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                if line.startswith(PROBLEM):
                    self._problem = line.removeprefix(PROBLEM).strip()
                elif line.strip() != "Starting ...":
                    logger.warning("%s", line.rstrip())

    def ask_to_end(self) -> None:
        assert self._process.stdin is not None
        self._asked_at = min(self._asked_at, time.monotonic())
        self._process.stdin.close()

    def end(self, seconds: float = SECONDS_TO_END) -> None:
        """Wait until it has ended, and kill it after so many seconds."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            logger.warning("A server that was opened from the page did not end, and is killed.")
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join(SECONDS_TO_END)
