"""Who may call a project's server: without accounts anybody on this machine, with accounts whoever has logged in.

Knows nothing of HTTP.
"""

import hmac
import secrets

from annotator.auth.accounts import Accounts
from annotator.auth.roles import CALLER, LOCAL_USER, Caller, Role
from annotator.server_proof import proof_of


class ProjectAuthenticator:
    """Finds the caller of a request to one project's server; an `Authenticator` (auth/roles.py).

    Args:
        accounts: The project's.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._requires_login = False
        self.local_secret = secrets.token_urlsafe(32)
        """Known only to programs that can read the project folder's files; see cli/server_client.py."""

    def prove(self, challenge: str) -> str:
        """Return the proof that this server knows the secret of its project's folder; see server_proof.py."""
        return proof_of(self.local_secret, challenge)

    @property
    def has_login(self) -> bool:
        """Whether people have to log in: if there is an account, disabled or not, or after `require_login`."""
        return self._requires_login or self._accounts.is_needed()

    def require_login(self) -> None:
        """Require a login from now on, even without accounts: other machines can reach this server."""
        self._requires_login = True

    def may_annotate(self, user: str) -> bool:
        """Tell whether a user may change tags."""
        return self._has_role(user, Role.ANNOTATOR)

    def may_review(self, user: str) -> bool:
        """Tell whether a user may accept other people's tags."""
        return self._has_role(user, Role.REVIEWER)

    def may_administer(self, user: str) -> bool:
        """Tell whether a user may change the project."""
        return self._has_role(user, Role.ADMIN)

    def shows_folders(self, user: str) -> bool:
        """Tell whether a user may see folders of this machine: only the local user."""
        return user == LOCAL_USER

    def _has_role(self, user: str, least: Role) -> bool:
        if user == LOCAL_USER:
            return True
        caller = CALLER.get(None)
        if caller is not None and caller.user == user:
            return caller.role >= least  # a token may have a lower role than its user
        role = self._accounts.role(user)
        return role is not None and role >= least

    def by_session(self, session_id: str) -> Caller | None:
        """Return the user of a browser session."""
        if not self.has_login:
            return Caller(LOCAL_USER, Role.ADMIN)
        return self._accounts.by_session(session_id)

    def by_bearer(self, secret: str) -> Caller | None:
        """Return the user of a secret that a program sent."""
        if hmac.compare_digest(secret.encode(), self.local_secret.encode()):
            return Caller(LOCAL_USER, Role.ADMIN)
        return self._accounts.by_bearer(secret)
