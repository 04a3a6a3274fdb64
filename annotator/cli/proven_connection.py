"""Connections over which nothing secret is sent before the server has proved that it knows the project's secret.

The file that names a server may be left from one that was killed, and its port may belong to anybody since. So the
first exchange on each connection is a random challenge, which only a program that knows the secret can answer; the
secret itself is not sent for it. Knows nothing of projects.
"""

import secrets
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.request import HTTPHandler, Request

from annotator.errors import AnnotatorError
from annotator.server_proof import is_proof

PROOF_SECONDS = 30.0
PROOF_PATH = "/api/v1/proof"
MAX_PROOF_BYTES = 10_000


class WrongServerError(AnnotatorError):
    """What listens at a server's address is not that server."""


class ProvenConnection(HTTPConnection):
    """A connection that is closed at once unless its server proves itself.

    Args:
        host: Host and port.
        secret: Of the project's server.
    """

    def __init__(self, host: str, *, secret: str, **options: Any) -> None:
        super().__init__(host, **options)
        self._secret = secret
        self._host_header = host

    def connect(self) -> None:
        """Connect, and let the server prove itself.

        Raises:
            WrongServerError: It does not, or not in time.
            OSError: Nobody listens there.
        """
        super().connect()
        self.auto_open = 0  # nothing is sent over another connection if the server closes this one
        challenge = secrets.token_hex(32)
        if not is_proof(self._ask(challenge), self._secret, challenge):
            self.close()
            raise WrongServerError(
                f"Whatever listens at {self._host_header} is not the server of this project, which may have been "
                "killed. Nothing was sent to it."
            )

    def _ask(self, challenge: str) -> str:
        seconds = self.sock.gettimeout()
        self.sock.settimeout(PROOF_SECONDS)
        head = f"GET {PROOF_PATH}?challenge={challenge} HTTP/1.1\r\nHost: {self._host_header}\r\n\r\n"
        self.sock.sendall(head.encode("ascii"))
        try:
            with HTTPResponse(self.sock, method="GET") as response:
                response.begin()
                text = response.read(MAX_PROOF_BYTES)
                is_usable = response.status == 200 and not response.will_close
        except TimeoutError as error:
            self.close()
            raise WrongServerError(
                f"{self._host_header} has not proved within {PROOF_SECONDS:g} s that it is the server of this project. "
                "Nothing was sent to it; it may be busy: try again."
            ) from error
        except (OSError, HTTPException):
            return ""
        self.sock.settimeout(seconds)
        return text.decode("ascii", "replace") if is_usable else ""


class ProvenHandler(HTTPHandler):
    """Makes ``urllib`` use `ProvenConnection`.

    Args:
        secret: Of the project's server.
    """

    def __init__(self, secret: str) -> None:
        super().__init__()
        self._secret = secret

    def http_open(self, req: Request) -> HTTPResponse:
        """Open a proven connection for a request."""
        return self.do_open(partial(ProvenConnection, secret=self._secret), req)
