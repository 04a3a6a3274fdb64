"""One call on the hosted demo: the visitor, and their space, which stays open during the call.

Knows nothing of the lifetime of spaces, nor of operations.
"""

import threading
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass

from annotator.auth.roles import LOCAL_USER, Caller, Role
from annotator.hosted.open_space import OpenSpace
from annotator.hosted.space import Space
from annotator.hosted.spaces import HostedSpaces


@dataclass(frozen=True)
class Visitor(Caller):
    """A caller with a space."""

    space: Space[OpenSpace]


class VisitorAuthenticator:
    """Authenticates visitors by their space; each is the admin of their own project.

    Args:
        spaces: Finds the space of a session.
    """

    has_login = True

    def __init__(self, spaces: HostedSpaces[OpenSpace]) -> None:
        self._spaces = spaces

    def by_session(self, session_id: str) -> Caller | None:
        """Return the visitor of a browser session; None if it has no space."""
        space = self._spaces.find(session_id)
        return None if space is None else Visitor(LOCAL_USER, Role.ADMIN, space)

    def by_bearer(self, secret: str) -> Caller | None:
        """Return None: the demo has no access tokens."""
        return None


class Visit:
    """A visitor's space during one call; opened when it is first needed."""

    def __init__(self, spaces: HostedSpaces[OpenSpace], space: Space[OpenSpace]) -> None:
        self.spaces = spaces
        self.space = space
        self._uses = ExitStack()
        self._lock = threading.Lock()
        self._opened: OpenSpace | None = None

    def opened(self) -> OpenSpace:
        """Return the visitor's project.

        Raises:
            DemoError: The space is over, or too many are in use.
        """
        with self._lock:
            if self._opened is None:
                self._opened = self._uses.enter_context(self.spaces.use(self.space))
            return self._opened

    def end(self) -> None:
        """Release the space."""
        self._uses.close()


VISIT: ContextVar[Visit] = ContextVar("visit")
"""Set for each call of a visitor; visible in the threads that serve the call."""
