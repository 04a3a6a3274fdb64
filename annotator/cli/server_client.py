"""Calls the server that has a project open.

The server writes its address and a secret into the project folder, readable by its owner alone, who can also read the
database there. The file may be left from a server that was killed, so each connection begins with a proof
(cli/proven_connection.py); and a copy of the folder carries it along, so the server is asked which folder it serves
before anything else. Knows nothing of the operations.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any

from annotator.cli.proven_connection import ProvenHandler
from annotator.cli.whole_answer import whole_body
from annotator.errors import AnnotatorError, ProjectError
from annotator.json_types import JsonObject
from annotator.storage.private_files import private_files
from annotator.storage.project import Project

TIMEOUT_SECONDS = 600


class ServerClient:
    """A client of a project's server.

    Args:
        project: The project.

    Raises:
        AnnotatorError: There is no file with a server's address, or it is damaged; the server does not answer, or it
            serves another folder.
    """

    def __init__(self, project: Project) -> None:
        try:
            about = json.loads(project.server_path.read_text(encoding="utf-8"))
            self.address, self._secret = str(about["address"]), str(about["secret"])
            self.pid = int(about["pid"])
        except (OSError, ValueError, KeyError) as error:
            raise AnnotatorError(f"No server of {project.folder} can be found ({project.server_path}).") from error
        served = self._json("session", None).get("identity")
        if served != project.identity():
            raise AnnotatorError(f"The server at {self.address} serves another folder than {project.folder}.")

    def call(self, name: str, payload: JsonObject | None = None) -> JsonObject:
        """Call an operation of the server, by its name under /api/v1/.

        Raises:
            AnnotatorError: The server refused, or does not answer.
        """
        return self._json(name, json.dumps(payload or {}).encode())

    def _json(self, name: str, body: bytes | None) -> JsonObject:
        with self.open(name, body) as response:
            text = whole_body(response)
        try:
            answer = json.loads(text)
        except ValueError as error:
            raise AnnotatorError(f"The answer of {self.address} to {name} is not JSON ({error}).") from error
        if not isinstance(answer, dict):
            raise AnnotatorError(f"The answer of {self.address} to {name} is no object.")
        return answer

    def open(self, name: str, body: bytes | None = None) -> Any:
        """Return the response to a call, as ``urllib`` gives it; None as body makes it a GET.

        Raises:
            AnnotatorError: The server refused, or does not answer.
        """
        headers = {"authorization": f"Bearer {self._secret}", "content-type": "application/json"}
        request = urllib.request.Request(f"{self.address}/api/v1/{name}", body, headers)
        # The server is on this machine or its network: proxies of the environment are ignored.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), ProvenHandler(self._secret))
        try:
            return direct.open(request, timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            raise AnnotatorError(_refusal(error)) from error
        except (OSError, urllib.error.URLError, HTTPException) as error:
            raise AnnotatorError(
                f"The server at {self.address} (process {self.pid}) does not answer: {error}."
            ) from error


def _refusal(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"]["message"])
    except (ValueError, KeyError, TypeError, OSError, HTTPException):
        return f"The server refused the call with status {error.code}."


@contextmanager
def open_or_ask(project: Project) -> Iterator[tuple[Any, ServerClient | None]]:
    """Yield the project's open database, or the server that has it open.

    Raises:
        ProjectError: The database cannot be opened, and no server of this folder answers.
    """
    from annotator.storage.database import Store

    store, server = None, None
    with private_files():
        try:
            store = Store(project.database_path)
        except ProjectError as error:
            server = server_or(project, error)
        try:
            yield store, server
        finally:
            if store is not None:
                store.close()


@contextmanager
def read_or_ask(project: Project) -> Iterator[tuple[Any, ServerClient | None]]:
    """Yield the project's database to read, or the server that has it open.

    On a disk that cannot be written, the database is a copy of the project's.

    Raises:
        ProjectError: The database cannot be read, and no server of this folder answers.
    """
    from annotator.storage.database import is_writable, open_copy

    if is_writable(project.database_path):
        with open_or_ask(project) as found:
            yield found
        return
    try:
        server = ServerClient(project)
    except AnnotatorError:
        with open_copy(project.database_path) as store:
            yield store, None
        return
    yield None, server


def server_or(project: Project, error: ProjectError) -> ServerClient:
    """Return the server that serves this very folder.

    Raises:
        ProjectError: There is none; then it is the given error.
    """
    try:
        return ServerClient(project)
    except AnnotatorError:
        raise error from None
