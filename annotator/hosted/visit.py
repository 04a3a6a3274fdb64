"""One visitor's call on the hosted demo: who calls, and the space that is open for the length of the call.

Knows nothing of how spaces come and go, nor of what is asked.
"""

import threading
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass

from annotator.auth.roles import LOCAL_USER, Caller, Role
from annotator.hosted.open_space import OpenSpace
from annotator.hosted.spaces import HostedSpaces, Space


@dataclass(frozen=True)
class Visitor(Caller):
    """Somebody with a space."""

    space: Space[OpenSpace]


class VisitorAuthenticator:
    """Lets in whoever has a space; everybody may do everything in their own.

    Args:
        spaces: Knows whose session is whose.
    """

    has_login = True

    def __init__(self, spaces: HostedSpaces[OpenSpace]) -> None:
        self._spaces = spaces

    def by_session(self, session_id: str) -> Caller | None:
        """Return who has this browser session; None for nobody."""
        space = self._spaces.find(session_id)
        return None if space is None else Visitor(LOCAL_USER, Role.ADMIN, space)

    def by_bearer(self, secret: str) -> Caller | None:
        """Return None: there are no tokens here."""
        return None


class Visit:
    """A visitor's space for the length of one call; opened when it is first needed."""

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
        """Let the space be closed again."""
        self._uses.close()


VISIT: ContextVar[Visit] = ContextVar("visit")
"""Set for each call of a visitor; threads that serve the call see it, too."""
