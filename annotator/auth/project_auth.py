"""Who may call this server: whoever is at this machine as long as there are no accounts, then whoever logged in.

Knows nothing of HTTP.
"""

import hmac
import secrets

from annotator.auth.accounts import Accounts
from annotator.auth.roles import CALLER, LOCAL_USER, Caller, Role


class ProjectAuthenticator:
    """Tells who is behind a request to one project's server; an `Authenticator` (auth/roles.py).

    Args:
        accounts: The project's.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._always_asks = False
        self.local_secret = secrets.token_urlsafe(32)
        """Proves that a program may read the project folder's files; see cli/server_client.py."""

    @property
    def has_login(self) -> bool:
        """Whether people log in here: as soon as there is an account, disabled or not, or once that was fixed."""
        return self._always_asks or self._accounts.is_needed()

    def always_ask(self) -> None:
        """Have everybody log in from now on, whatever becomes of the accounts: other machines reach this server."""
        self._always_asks = True

    def may_annotate(self, user: str) -> bool:
        """Tell whether somebody may change tags."""
        return self._has_role(user, Role.ANNOTATOR)

    def may_review(self, user: str) -> bool:
        """Tell whether somebody may accept other people's tags."""
        return self._has_role(user, Role.REVIEWER)

    def shows_folders(self, user: str) -> bool:
        """Tell whether somebody may know where photos lie on this machine: who is at it."""
        return user == LOCAL_USER

    def _has_role(self, user: str, least: Role) -> bool:
        if user == LOCAL_USER:
            return True
        caller = CALLER.get(None)
        if caller is not None and caller.user == user:
            return caller.role >= least  # a token may do less than its user
        role = self._accounts.role(user)
        return role is not None and role >= least

    def by_session(self, session_id: str) -> Caller | None:
        """Return who has a browser session."""
        if not self.has_login:
            return Caller(LOCAL_USER, Role.ADMIN)
        return self._accounts.by_session(session_id)

    def by_bearer(self, secret: str) -> Caller | None:
        """Return whose secret a program sent."""
        if hmac.compare_digest(secret.encode(), self.local_secret.encode()):
            return Caller(LOCAL_USER, Role.ADMIN)
        return self._accounts.by_bearer(secret)
