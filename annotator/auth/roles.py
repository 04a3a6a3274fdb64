"""Who is calling, and what each role may do.

Knows nothing of passwords, cookies or HTTP: auth/accounts.py keeps those who may log in, web/request_guard.py finds out who calls.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class Role(IntEnum):
    """What somebody may do; each role may do all that the one before may."""

    VIEWER = 1
    """Look at photos and tags, export them."""
    ANNOTATOR = 2
    """Tag photos."""
    REVIEWER = 3
    """Accept other people's tags, or send them back."""
    ADMIN = 4
    """Change the project: taggers, keys, users."""

    @property
    def label(self) -> str:
        """The role as the command line and the page name it."""
        return self.name.lower()


ROLES = {role.label: role for role in Role}
LOCAL_USER = "local"
"""Who works on a project without accounts."""


@dataclass(frozen=True)
class Caller:
    """Somebody who may call, for the length of one request."""

    user: str
    role: Role


class Authenticator(Protocol):
    """Tells who is behind a request."""

    @property
    def has_login(self) -> bool:
        """Whether people log in here."""
        ...

    def by_session(self, session_id: str) -> Caller | None:
        """Return who has this browser session; None for nobody."""
        ...

    def by_bearer(self, secret: str) -> Caller | None:
        """Return whose secret a program sent; None for nobody's."""
        ...


CALLER: ContextVar[Caller] = ContextVar("caller")
"""Set by the guard for each request that it lets through to an app; threads that serve the request see it, too."""
