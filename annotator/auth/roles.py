"""Who is calling, and what each role may do.

Knows nothing of passwords, cookies or HTTP: auth/accounts.py has the accounts, web/request_guard.py finds the caller of
a request.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class Role(IntEnum):
    """Each role may also do everything that the lower ones may."""

    VIEWER = 1
    """See photos and tags, export them."""
    ANNOTATOR = 2
    """Tag photos."""
    REVIEWER = 3
    """Accept other people's tags, or send them back."""
    ADMIN = 4
    """Change the project: taggers, keys, users."""

    @property
    def label(self) -> str:
        """The role as named on the command line and the page."""
        return self.name.lower()


ROLES = {role.label: role for role in Role}
LOCAL_USER = "local"
"""The user of a project without accounts."""


@dataclass(frozen=True)
class Caller:
    """Who is allowed to call, for one request."""

    user: str
    role: Role


class Authenticator(Protocol):
    """Finds the caller of a request."""

    @property
    def has_login(self) -> bool:
        """Whether people have to log in."""
        ...

    def by_session(self, session_id: str) -> Caller | None:
        """Return the user of a browser session; None for an unknown session."""
        ...

    def by_bearer(self, secret: str) -> Caller | None:
        """Return the user of a secret that a program sent; None for an unknown one."""
        ...


CALLER: ContextVar[Caller] = ContextVar("caller")
"""Set by web/request_guard.py for each request that it lets through; also visible in the threads that serve it."""
