"""The people of a project: roles, passwords, sessions and API tokens.

Passwords are stored as argon2 hashes; session ids and tokens as SHA-256 (they are random, so that is enough) and shown
once. Failed logins are rate-limited (auth/login_limit.py). Knows nothing of HTTP.
"""

import base64
import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from argon2.low_level import ARGON2_VERSION

from annotator.auth.login_limit import LoginLimit
from annotator.auth.roles import ROLES, Caller, Role
from annotator.auth.user_names import check_name
from annotator.errors import AccountError, LoginError
from annotator.storage.database import Store
from annotator.storage.queries import utc_now

MIN_PASSWORD_LENGTH = 10
MAX_PASSWORD_LENGTH = 1_000
SESSION_HOURS = 12
"""A session ends this long after its last use."""
SESSION_DAYS = 30
"""... and in any case this long after the login."""
TOKEN_PREFIX = "annotator_"

_RENEW_AFTER = timedelta(minutes=5)


@dataclass(frozen=True)
class User:
    """Somebody with an account."""

    name: str
    role: Role
    is_disabled: bool
    created_at: datetime


@dataclass(frozen=True)
class _Session:
    user: str
    created_at: datetime
    used_at: datetime


class Accounts:
    """The accounts of one project.

    Args:
        store: The open database.
        hasher: Makes and checks password hashes.
        limit: Limits the rate of failed logins.
    """

    def __init__(self, store: Store, hasher: PasswordHasher | None = None, limit: "LoginLimit | None" = None) -> None:
        self._store = store
        self._hasher = hasher or PasswordHasher()
        self._limit = limit or LoginLimit()
        self._lock = threading.Lock()
        self._hashing = threading.Semaphore(2)
        """One hash takes 64 MB and tens of milliseconds: many at once could exhaust the machine."""
        self._nobody = _hash_of_nothing(self._hasher)
        self._load()

    def _load(self) -> None:
        self._users = {
            str(name): (User(str(name), Role(role), bool(disabled), created), str(password_hash))
            for name, role, disabled, created, password_hash in self._store.rows(
                "SELECT user_name, role, is_disabled, created_at, password_hash FROM users"
            )
        }
        self._sessions = {
            str(digest): _Session(str(user), created, used)
            for digest, user, created, used in self._store.rows(
                "SELECT session_hash, user_name, created_at, used_at FROM sessions"
            )
        }
        self._tokens = {
            str(digest): (str(user), Role(role), expires)
            for digest, user, role, expires in self._store.rows(
                "SELECT token_hash, user_name, role, expires_at FROM api_tokens"
            )
        }

    # Users

    def users(self) -> list[User]:
        """Return every account, by name."""
        return sorted((user for user, _ in self._users.values()), key=lambda user: user.name)

    def role(self, name: str) -> Role | None:
        """Return the role of a user; None for an unknown or disabled one."""
        caller = self._caller(name)
        return None if caller is None else caller.role

    def is_needed(self) -> bool:
        """Tell whether people have to log in: if there is an account, even a disabled one."""
        return bool(self._users)

    def is_usable(self) -> bool:
        """Tell whether any account can log in."""
        return any(not user.is_disabled for user, _ in self._users.values())

    def add(self, name: str, role: str, password: str) -> User:
        """Make an account.

        Raises:
            AccountError: The name is taken or not one, there is no such role, or the password is too short or long.
        """
        check_name(name, self._users)
        self._check_password(password)
        user = User(name, _role(role), False, utc_now())
        password_hash = self._hash(password)
        with self._lock:
            check_name(name, self._users)
            with self._store.transaction() as cursor:
                cursor.execute(
                    "INSERT INTO users VALUES (?, ?, ?, ?, ?)",
                    [name, password_hash, int(user.role), False, user.created_at],
                )
            self._users[name] = (user, password_hash)
        return user

    def set_password(self, name: str, password: str) -> User:
        """Change a password; all sessions of the user end.

        Raises:
            AccountError: There is no such user, or the password is too short or long.
        """
        self._check_password(password)
        password_hash = self._hash(password)
        with self._lock:
            user, _ = self._user(name)
            self._update(name, "password_hash", password_hash)
            # The lock is held until the sessions have ended: a login begun with the old password then sees the new one.
            self._users[name] = (user, password_hash)
            self._end(self._sessions_of(name))
        return user

    def set_role(self, name: str, role: str) -> User:
        """Change the role of a user, from their next request on.

        Raises:
            AccountError: There is no such user or role, or it would leave the project without an admin.
        """
        return self._change(name, role=_role(role))

    def set_disabled(self, name: str, is_disabled: bool) -> User:
        """Disable an account with its sessions and tokens, or enable it again.

        Raises:
            AccountError: There is no such user, or it would leave the project without an admin.
        """
        return self._change(name, is_disabled=is_disabled)

    def _change(self, name: str, role: Role | None = None, is_disabled: bool | None = None) -> User:
        with self._lock:
            old, password_hash = self._user(name)
            new = User(
                name,
                old.role if role is None else role,
                old.is_disabled if is_disabled is None else is_disabled,
                old.created_at,
            )
            others = (user for user, _ in self._users.values() if user.name != name)
            if _manages(old) and not _manages(new) and not any(map(_manages, others)):
                raise AccountError(f"{name} is the only admin; give somebody else that role first.")
            if new.role != old.role:
                self._update(name, "role", int(new.role))
            if new.is_disabled != old.is_disabled:
                self._update(name, "is_disabled", new.is_disabled)
            self._users[name] = (new, password_hash)
            if new.is_disabled:
                self._end(self._sessions_of(name))
        return new

    def _update(self, name: str, column: str, value: object) -> None:
        with self._store.transaction() as cursor:
            cursor.execute(f"UPDATE users SET {column} = ? WHERE user_name = ?", [value, name])

    def _user(self, name: str) -> tuple[User, str]:
        if name not in self._users:
            raise AccountError(f"There is no user {name[:80]!r}.")
        return self._users[name]

    def _check_password(self, password: str) -> None:
        if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
            raise AccountError(
                f"A password needs {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH:,} characters; this one has "
                f"{len(password):,}."
            )

    def _hash(self, password: str) -> str:
        with self._hashing:
            return self._hasher.hash(password)

    # Sessions

    def log_in(self, name: str, password: str, address: str, device_token: str = "") -> str:
        """Check a password and return the id of a new session.

        Args:
            name: The user name given.
            password: The password given.
            address: The client's network address.
            device_token: From `device_token`, of a browser in which this user has logged in before.

        Raises:
            LoginError: Name or password is wrong, or there were too many failed logins.
        """
        device = self._device(name, device_token)
        self._limit.check(name, address, device)
        user, password_hash = self._users.get(name, (None, self._nobody))
        is_right = self._verify(password_hash, password[: MAX_PASSWORD_LENGTH + 1])
        if user is None or user.is_disabled or not is_right:
            self._limit.failed(name, address, device)
            raise LoginError("The name or the password is wrong.")
        self._limit.succeeded(name, address, device)
        return self._begin(name, password_hash)

    def device_token(self, name: str) -> str:
        """Return a token by which a browser is known in which a user has just logged in.

        It opens nothing: failures of others do not slow down the logins of a browser that has it. It is over when the
        password is changed.

        Raises:
            AccountError: There is no such user.
        """
        nonce = secrets.token_hex(16)
        return f"{nonce}.{self._device_mac(nonce, self._user(name)[1])}"

    def _device(self, name: str, token: str) -> str:
        """Return the name of a known browser, or an empty text."""
        nonce, _, mac = token.partition(".")
        _, password_hash = self._users.get(name, (None, ""))
        if not password_hash or not hmac.compare_digest(mac.encode(), self._device_mac(nonce, password_hash).encode()):
            return ""
        return nonce

    @staticmethod
    def _device_mac(nonce: str, password_hash: str) -> str:
        # The key is the hash of the password with its random salt, which is in the database only.
        return hmac.new(password_hash.encode(), b"device:" + nonce.encode(), hashlib.sha256).hexdigest()

    def _begin(self, name: str, password_hash: str) -> str:
        """Return the id of a new session, unless the account changed after its password was checked."""
        session_id = secrets.token_urlsafe(32)
        now = utc_now()
        with self._lock:
            user, hash_now = self._user(name)
            if user.is_disabled or hash_now != password_hash:
                raise LoginError("The name or the password is wrong.")
            with self._store.transaction() as cursor:
                cursor.execute("DELETE FROM sessions WHERE used_at < ?", [now - timedelta(hours=SESSION_HOURS)])
                cursor.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", [_digest(session_id), name, now, now])
            self._sessions[_digest(session_id)] = _Session(name, now, now)
        return session_id

    def _verify(self, password_hash: str, password: str) -> bool:
        with self._hashing:
            try:
                return self._hasher.verify(password_hash, password)
            except (Argon2Error, InvalidHashError):
                return False

    def log_out(self, session_id: str) -> None:
        """End a session; an unknown one is ignored."""
        with self._lock:
            self._end([_digest(session_id)])

    def end_sessions(self, name: str) -> int:
        """End all sessions of a user and return how many there were."""
        with self._lock:
            return self._end(self._sessions_of(name))

    def _sessions_of(self, name: str) -> list[str]:
        return [digest for digest, session in self._sessions.items() if session.user == name]

    def _end(self, digests: list[str]) -> int:
        """End sessions; the caller holds the lock, so that none of them is renewed meanwhile."""
        known = [digest for digest in digests if digest in self._sessions]
        if known:
            with self._store.transaction() as cursor:
                cursor.execute("DELETE FROM sessions WHERE session_hash IN (SELECT unnest(?::VARCHAR[]))", [known])
            for digest in known:
                del self._sessions[digest]
        return len(known)

    def by_session(self, session_id: str) -> Caller | None:
        """Return the user of a session that has not ended."""
        digest = _digest(session_id)
        session = self._sessions.get(digest)
        if session is None:
            return None
        now = utc_now()
        # If the clock was set back, the session's times are in the future: it is kept, and ends later.
        if now - session.used_at > timedelta(hours=SESSION_HOURS) or now - session.created_at > timedelta(
            days=SESSION_DAYS
        ):
            with self._lock:
                self._end([digest])
            return None
        if now - session.used_at > _RENEW_AFTER:
            self._renew(digest, session, now)
        return self._caller(session.user)

    def _renew(self, digest: str, session: _Session, now: datetime) -> None:
        with self._lock:
            if digest not in self._sessions:
                return
            with self._store.transaction() as cursor:
                cursor.execute("UPDATE sessions SET used_at = ? WHERE session_hash = ?", [now, digest])
            self._sessions[digest] = _Session(session.user, session.created_at, now)

    # API tokens

    def add_token(self, name: str, role: str, days: int) -> str:
        """Make a token for a program that acts for a user; it is shown once.

        Args:
            name: The user.
            role: Its highest role; never more than that of its user.
            days: How long it is valid.

        Raises:
            AccountError: There is no such user or role.
        """
        scope = _role(role)
        if not 1 <= days <= 3650:
            raise AccountError(f"A token is good for 1 to 3,650 days, not {days:,}.")
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        now = utc_now()
        with self._lock:
            self._user(name)
            with self._store.transaction() as cursor:
                cursor.execute(
                    "INSERT INTO api_tokens VALUES (?, ?, ?, ?, ?)",
                    [_digest(token), name, int(scope), now, now + timedelta(days=days)],
                )
            self._tokens[_digest(token)] = (name, scope, now + timedelta(days=days))
        return token

    def revoke_tokens(self, name: str) -> int:
        """End all tokens of a user and return how many there were.

        Raises:
            AccountError: There is no such user.
        """
        with self._lock:
            self._user(name)
            digests = [digest for digest, (user, _, _) in self._tokens.items() if user == name]
            with self._store.transaction() as cursor:
                cursor.execute("DELETE FROM api_tokens WHERE user_name = ?", [name])
            for digest in digests:
                del self._tokens[digest]
        return len(digests)

    def by_bearer(self, secret: str) -> Caller | None:
        """Return the user of a token, with the token's role; None for an expired or unknown token."""
        found = self._tokens.get(_digest(secret))
        if found is None or found[2] <= utc_now():
            return None
        caller = self._caller(found[0])
        return caller and Caller(caller.user, min(caller.role, found[1]))

    def _caller(self, name: str) -> Caller | None:
        user, _ = self._users.get(name, (None, ""))
        return None if user is None or user.is_disabled else Caller(user.name, user.role)


def _hash_of_nothing(hasher: PasswordHasher) -> str:
    """Return a hash that no password has and that takes as long to check as any; it takes no time to make."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(length)).decode().rstrip("=")
        for length in (hasher.salt_len, hasher.hash_len)
    )
    kind, costs = hasher.type.name.lower(), f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2{kind}$v={ARGON2_VERSION}${costs}${salt}${digest}"


def _manages(user: User) -> bool:
    return user.role == Role.ADMIN and not user.is_disabled


def _role(label: str) -> Role:
    if label not in ROLES:
        raise AccountError(f"There is no role {label[:80]!r}. Roles: {', '.join(ROLES)}.")
    return ROLES[label]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def user_row(user: User) -> dict[str, Any]:
    """Return a user as JSON values, without anything secret."""
    return {
        "name": user.name,
        "role": user.role.label,
        "disabled": user.is_disabled,
        "created_at": user.created_at.isoformat(timespec="seconds") + "Z",
    }
