"""Servers of other projects that a person has opened from the page of this one.

Each is a process of its own (`annotator open`), so that locks, memory and failures of one project stay its own. It
listens to this machine alone, and ends with the process that started it: its standard input is closed then. Knows
nothing of HTTP.
"""

import logging
import re
import subprocess
import sys
import threading
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
                    raise ConfigError(
                        f"{MOST_SERVERS} projects are open from here. End this server and start it again to close them."
                    )
                server = self._servers[folder] = _ProjectServer([*self._command, what])
            return server.describe()

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
        return self._was_told and self.has_ended

    def describe(self) -> JsonObject:
        answer = self._describe()
        self._was_told = answer["state"] != "starting"
        return answer

    def _describe(self) -> JsonObject:
        if self.has_ended:
            self.ask_to_end()  # closes the pipe
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
        self._process.stdin.close()

    def end(self) -> None:
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            logger.warning("A server that was opened from the page did not end, and is killed.")
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join(SECONDS_TO_END)
