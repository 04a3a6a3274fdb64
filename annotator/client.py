"""A client of a running annotator: open a photo, get proposals, save a ranked list, search, export.

Small on purpose: these are the calls that most programs need, with types; `Client.call` makes any other one of the REST
interface (docs/rest.md). Knows nothing of projects on this machine, except where their server is.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from annotator.errors import AnnotatorError, StaleRevisionError
from annotator.json_types import JsonObject
from annotator.server_proof import is_proof

__all__ = ["Client", "FoundPhoto", "Page", "Photo", "Proposal", "ServerError", "StaleRevisionError"]

TIMEOUT_SECONDS = 60.0
ROWS_HEADER = "x-annotator-rows"
"""Number of rows of an export."""


class ServerError(AnnotatorError):
    """The server refused a call, or does not answer.

    Args:
        message: The sentence for the user.
        kind: The kind of the error, as docs/rest.md lists them; empty if there was no answer.
        status: HTTP status; 0 if there was no answer.
    """

    def __init__(self, message: str, kind: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.answered_kind = kind
        self.answered_status = status


@dataclass(frozen=True)
class Proposal:
    """One proposed tag."""

    tag: str
    score: float
    """Probability that this person puts the tag on this photo, in [0, 1]."""
    source: str
    why: str


@dataclass(frozen=True)
class Photo:
    """A photo with its list and the proposals for it."""

    image_id: int
    file_name: str
    revision: int
    """Sent with the next save."""
    state: str
    tags: tuple[str, ...]
    """The saved list, or the draft, the most important tag first."""
    proposals: tuple[Proposal, ...]
    """Best first."""
    about: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The whole answer, see docs/rest.md."""


@dataclass(frozen=True)
class FoundPhoto:
    """A photo of a search."""

    image_id: int
    file_name: str
    state: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """One page of a search."""

    total: int
    photos: tuple[FoundPhoto, ...]


class Client:
    """Calls a server of annotator; also a context manager, which closes the connections.

    Args:
        address: Of the server, such as http://127.0.0.1:7860.
        token: An API token (``annotator users PROJECT token NAME``).
        http: The HTTP client to use instead of one of its own.
    """

    def __init__(self, address: str, token: str = "", *, http: httpx.Client | None = None) -> None:
        self.address = address.rstrip("/")
        self._owns_http = http is None
        # The server is on this machine or its network: proxies of the environment are ignored.
        self._http = http or httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False)
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    @classmethod
    def of_project(cls, folder: str | Path) -> "Client":
        """Return a client of the server that has a project of this machine open, with all rights of its owner.

        Args:
            folder: The project.

        Raises:
            ServerError: No server has it open.
        """
        path = Path(folder).expanduser() / "server.json"
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            address, secret = str(about["address"]), str(about["secret"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ServerError(f"No server of {folder} can be found ({path}). Start it: annotator serve.") from error
        client = cls(address, secret)
        try:
            client._check_server(secret)
        except BaseException:
            client.close()
            raise
        return client

    def _check_server(self, secret: str) -> None:
        """Let the server prove that it knows the secret, before that is sent: the file may be left from a killed one.

        Raises:
            ServerError: It does not answer, or cannot prove it.
        """
        challenge = secrets.token_hex(32)
        try:
            response = self._http.get(f"{self.address}/api/v1/proof", params={"challenge": challenge})
        except httpx.HTTPError as error:
            raise self._no_answer(error) from error
        if response.status_code != 200 or not is_proof(response.text, secret, challenge):
            raise ServerError(
                f"Whatever listens at {self.address} is not the server of this project, which may have been killed. "
                "Nothing was sent to it."
            )

    def __enter__(self) -> "Client":
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            self._http.close()

    # Calls

    def call(self, name: str, /, **payload: Any) -> JsonObject:
        """Call any operation of docs/rest.md by its name.

        Raises:
            StaleRevisionError: The photo was saved meanwhile.
            ServerError: The server refused the call for another reason, or does not answer.
        """
        answer: JsonObject = self._ask("POST", name, json=payload).json()
        return answer

    def session(self) -> JsonObject:
        """Return who calls: ``user``, ``role`` and ``project``.

        Raises:
            ServerError: The server refused the call, or does not answer.
        """
        answer: JsonObject = self._ask("GET", "session").json()
        return answer

    def open(self, image_id: int | None = None) -> Photo | None:
        """Return a photo with its proposals; without an id the next one to tag, None when there is none.

        Raises:
            ServerError: There is no such photo, or the server does not answer.
        """
        answer = self.call("open", image_id=image_id)
        return None if answer.get("done") else _photo(answer)

    def propose(self, photo: Photo, kept: Sequence[str], dropped: Sequence[str] = ()) -> tuple[Proposal, ...]:
        """Return the proposals after the kept tags, best first; the list is kept as a draft.

        Args:
            photo: The photo, as it was opened.
            kept: The list so far, the most important tag first.
            dropped: Refused proposals.

        Raises:
            ServerError: The call was refused, or the server does not answer.
        """
        answer = self.call(
            "propose", image_id=photo.image_id, revision=photo.revision, kept=list(kept), dropped=list(dropped)
        )
        return _proposals(answer)

    def save(self, photo: Photo, tags: Sequence[str], dropped: Sequence[str] = ()) -> int:
        """Save a ranked list and return its revision; it is on disk when this returns.

        Args:
            photo: The photo, as it was opened.
            tags: The whole list, the most important tag first.
            dropped: Refused proposals.

        Raises:
            StaleRevisionError: Somebody saved this photo since it was opened; nothing was overwritten.
            ServerError: The call was refused for another reason, or the server does not answer.
        """
        answer = self.call(
            "save", image_id=photo.image_id, revision=photo.revision, kept=list(tags), dropped=list(dropped),
            brings_next=False,
        )  # fmt: skip
        return int(answer["revision"])

    def search(self, text: str = "", state: str = "all", offset: int = 0, limit: int = 100) -> Page:
        """Return a page of the photos whose tags or file names hold every word of a text.

        Args:
            text: The words.
            state: ``all``, ``saved``, ``unsaved`` or another one of docs/rest.md.
            offset: Of the first photo.
            limit: Most photos, 1 to 500.

        Raises:
            ServerError: The call was refused, or the server does not answer.
        """
        answer = self.call("browse", query=text, state=state, offset=offset, limit=limit)
        found = (
            FoundPhoto(item["image_id"], item["file_name"], item["state"], tuple(item["tags"]))
            for item in answer["items"]
        )
        return Page(answer["total"], tuple(found))

    def thumbnail(self, image_id: int) -> bytes:
        """Return a photo's thumbnail, as a JPEG.

        Raises:
            ServerError: There is no such photo, or the server does not answer.
        """
        return self._ask("GET", f"{self.address}/thumbnail/{image_id}").content

    def export(self, query: str = "", tag: str = "", state: str = "saved") -> Iterator[JsonObject]:
        """Yield a record for every saved photo, or for those that are selected.

        Args:
            query: Words that tags or file names hold.
            tag: A tag that the photos carry.
            state: ``saved``, ``unsaved``, ``empty`` or ``all``.

        Raises:
            ServerError: The call was refused, or the server does not answer, or its answer ended early: then the rows
                so far are not all.
        """
        num_rows, parameters = 0, {"query": query, "tag": tag, "state": state}
        url = f"{self.address}/api/v1/export"
        try:
            with self._http.stream("GET", url, params=parameters, headers=self._headers) as response:
                if response.is_error:
                    response.read()
                    raise _refusal(response)
                for line in response.iter_lines():
                    if line.strip():
                        num_rows += 1
                        yield json.loads(line)
                announced = response.headers.get(ROWS_HEADER)
                if str(num_rows) != announced:
                    raise ServerError(
                        f"The answer of {self.address} ended early: {num_rows:,} of {announced or 'unknown'} rows came."
                    )
        except httpx.HTTPError as error:
            raise self._no_answer(error) from error

    def _ask(self, method: str, name: str, **options: Any) -> httpx.Response:
        url = name if name.startswith(self.address) else f"{self.address}/api/v1/{name}"
        try:
            response = self._http.request(method, url, headers=self._headers, **options)
        except httpx.HTTPError as error:
            raise self._no_answer(error) from error
        if response.status_code != 200:
            raise _refusal(response)
        return response

    def _no_answer(self, error: Exception) -> ServerError:
        return ServerError(f"The server at {self.address} does not answer: {error}.")


def _refusal(response: httpx.Response) -> AnnotatorError:
    """Return the error that an answer stands for."""
    status = response.status_code
    try:
        about = response.json()["error"]
        kind, message = str(about["kind"]), str(about["message"])
        if kind == "stale":
            return StaleRevisionError(
                message, revision=about["revision"], tags=about["tags"], user=about["user"], saved_at=about["saved_at"]
            )
    except (ValueError, KeyError, TypeError):
        return ServerError(f"The server refused the call with status {status}.", status=status)
    return ServerError(message, kind, status)


def _photo(answer: JsonObject) -> Photo:
    return Photo(
        answer["image_id"], answer["file_name"], answer["revision"], answer["state"], tuple(answer["kept"]),
        _proposals(answer), answer,
    )  # fmt: skip


def _proposals(answer: JsonObject) -> tuple[Proposal, ...]:
    return tuple(Proposal(item["tag"], item["score"], item["source"], item["why"]) for item in answer["proposals"])
