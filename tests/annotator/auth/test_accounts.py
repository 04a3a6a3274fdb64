"""Accounts: roles, passwords, sessions, tokens, and how they are stored."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError

from annotator.auth import accounts as accounts_module
from annotator.auth.accounts import Accounts
from annotator.auth.login_limit import FORGET_SECONDS, FREE_FAILURES, SHARED_FREE_FAILURES, LoginLimit
from annotator.auth.roles import Role
from annotator.errors import AccountError, LoginError
from annotator.storage.database import Store
from annotator.storage.queries import utc_now

PASSWORD = "correct horse battery"
FAST = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
MakeAccounts = Callable[..., Accounts]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    return make_store()


@pytest.fixture
def accounts(store: Store) -> Accounts:
    accounts = Accounts(store, FAST, LoginLimit(Clock()))
    accounts.add("root", "admin", PASSWORD)
    accounts.add("anna", "annotator", PASSWORD)
    return accounts


def log_in(accounts: Accounts, name: str = "anna", password: str = PASSWORD) -> str:
    return accounts.log_in(name, password, "10.0.0.1")


def test_a_right_password_opens_a_session_of_that_person(accounts: Accounts) -> None:
    session_id = log_in(accounts)
    caller = accounts.by_session(session_id)
    assert caller is not None
    assert (caller.user, caller.role) == ("anna", Role.ANNOTATOR)
    assert log_in(accounts) != session_id
    assert accounts.by_session("made up") is None


@pytest.mark.parametrize(
    ("name", "password"), [("anna", "wrong password"), ("nobody", PASSWORD), ("anna", ""), ("Anna", PASSWORD)]
)
def test_a_wrong_name_or_password_is_refused_in_the_same_words(accounts: Accounts, name: str, password: str) -> None:
    with pytest.raises(LoginError, match=r"^The name or the password is wrong\.$"):
        log_in(accounts, name, password)


def test_everything_survives_opening_the_project_again(accounts: Accounts, store: Store) -> None:
    session_id, token = log_in(accounts), accounts.add_token("anna", "viewer", 1)
    again = Accounts(store, FAST)
    assert [user.name for user in again.users()] == ["anna", "root"]
    assert again.by_session(session_id) == accounts.by_session(session_id) is not None
    assert again.by_bearer(token) == accounts.by_bearer(token) is not None


def test_the_database_holds_no_secret_that_opens_anything(accounts: Accounts, store: Store) -> None:
    secrets = [PASSWORD, log_in(accounts), accounts.add_token("anna", "viewer", 1)]
    kept = str([store.rows(f"SELECT * FROM {table}") for table in ("users", "sessions", "api_tokens")])
    assert "argon2id" in kept
    assert not [secret for secret in secrets if secret in kept]


def test_sessions_end_by_logging_out_by_an_admin_and_with_the_account(accounts: Accounts, store: Store) -> None:
    first, second = log_in(accounts), log_in(accounts)
    accounts.log_out(first)
    assert accounts.by_session(first) is None
    assert accounts.by_session(second) is not None
    assert accounts.end_sessions("anna") == 1
    assert accounts.by_session(second) is None
    third, token = log_in(accounts), accounts.add_token("anna", "annotator", 1)
    accounts.set_disabled("anna", True)
    assert accounts.by_session(third) is None
    assert accounts.by_bearer(token) is None
    with pytest.raises(LoginError):
        log_in(accounts)
    assert Accounts(store, FAST).by_session(third) is None


def test_a_new_password_ends_the_sessions_of_the_old_one(accounts: Accounts) -> None:
    session_id = log_in(accounts)
    accounts.set_password("anna", "another long password")
    assert accounts.by_session(session_id) is None
    with pytest.raises(LoginError):
        log_in(accounts)
    assert log_in(accounts, password="another long password")


@pytest.mark.parametrize(
    "change",
    [
        lambda accounts: accounts.set_password("anna", "another long password"),
        lambda accounts: accounts.set_disabled("anna", True),
    ],
)
def test_a_login_that_began_before_a_change_of_its_account_is_refused(
    accounts: Accounts, store: Store, monkeypatch: pytest.MonkeyPatch, change: Callable[[Accounts], object]
) -> None:
    verify = accounts._verify

    def verify_then_change(password_hash: str, password: str) -> bool:
        is_right = verify(password_hash, password)
        change(accounts)
        return is_right

    monkeypatch.setattr(accounts, "_verify", verify_then_change)
    with pytest.raises(LoginError, match="is wrong"):
        log_in(accounts)
    assert store.rows("SELECT * FROM sessions") == []
    assert accounts.end_sessions("anna") == 0


@pytest.mark.parametrize("end", ["log_out", "end_sessions", "set_password", "set_disabled", "by_session"])
def test_a_session_that_ends_is_not_renewed_meanwhile(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """A renewal that has read the session waits for the lock, which is held until the session is deleted."""
    session_id = log_in(accounts)
    was_locked = []

    class WatchedSessions(dict[str, Any]):
        def __delitem__(self, key: str) -> None:
            was_locked.append(accounts._lock.locked())
            super().__delitem__(key)

        def pop(self, key: str, *default: Any) -> Any:
            was_locked.append(accounts._lock.locked())
            return super().pop(key, *default)

    monkeypatch.setattr(accounts, "_sessions", WatchedSessions(accounts._sessions))
    later = utc_now() + timedelta(hours=13)
    with monkeypatch.context() as patch:
        if end == "by_session":
            patch.setattr(accounts_module, "utc_now", lambda: later)
        ways: dict[str, Callable[[], object]] = {
            "log_out": lambda: accounts.log_out(session_id),
            "end_sessions": lambda: accounts.end_sessions("anna"),
            "set_password": lambda: accounts.set_password("anna", "another long password"),
            "set_disabled": lambda: accounts.set_disabled("anna", True),
            "by_session": lambda: accounts.by_session(session_id),
        }
        ways[end]()
    assert was_locked == [True]
    assert accounts.by_session(session_id) is None


@pytest.mark.parametrize(("after", "is_over"), [(timedelta(hours=11), False), (timedelta(hours=13), True)])
def test_a_session_ends_when_it_is_not_used(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, after: timedelta, is_over: bool
) -> None:
    session_id = log_in(accounts)
    later = utc_now() + after
    monkeypatch.setattr(accounts_module, "utc_now", lambda: later)
    assert (accounts.by_session(session_id) is None) == is_over


def test_use_keeps_a_session_but_not_for_ever(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    session_id, start = log_in(accounts), utc_now()
    for hours in range(10, 24 * 30, 10):
        monkeypatch.setattr(accounts_module, "utc_now", lambda hours=hours: start + timedelta(hours=hours))
        assert accounts.by_session(session_id) is not None
    monkeypatch.setattr(accounts_module, "utc_now", lambda: start + timedelta(days=30, hours=1))
    assert accounts.by_session(session_id) is None


def test_a_token_may_do_no_more_than_its_scope_nor_its_user(accounts: Accounts) -> None:
    narrow, wide = accounts.add_token("root", "viewer", 1), accounts.add_token("anna", "admin", 1)
    first, second = accounts.by_bearer(narrow), accounts.by_bearer(wide)
    assert first is not None
    assert second is not None
    assert (first.role, second.role) == (Role.VIEWER, Role.ANNOTATOR)
    assert accounts.revoke_tokens("root") == 1
    assert accounts.by_bearer(narrow) is None
    assert accounts.by_bearer(wide) is not None


def test_a_token_ends(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    token = accounts.add_token("anna", "viewer", 2)
    later = utc_now() + timedelta(days=2)
    monkeypatch.setattr(accounts_module, "utc_now", lambda: later)
    assert accounts.by_bearer(token) is None


def test_the_last_admin_stays(accounts: Accounts) -> None:
    for change in (lambda: accounts.set_role("root", "viewer"), lambda: accounts.set_disabled("root", True)):
        with pytest.raises(AccountError, match="only admin"):
            change()
    accounts.set_role("anna", "admin")
    assert accounts.set_role("root", "viewer").role == Role.VIEWER


def test_the_only_account_is_the_last_admin_too(store: Store) -> None:
    accounts = Accounts(store, FAST)
    assert not accounts.is_needed()
    accounts.add("root", "admin", PASSWORD)
    for change in (lambda: accounts.set_role("root", "viewer"), lambda: accounts.set_disabled("root", True)):
        with pytest.raises(AccountError, match="only admin"):
            change()
    assert [(user.role, user.is_disabled) for user in Accounts(store, FAST).users()] == [(Role.ADMIN, False)]


def test_a_disabled_admin_is_no_admin_to_fall_back_on(accounts: Accounts) -> None:
    accounts.set_role("anna", "admin")
    accounts.set_disabled("anna", True)
    with pytest.raises(AccountError, match="only admin"):
        accounts.set_disabled("root", True)


def test_a_login_is_needed_as_soon_as_there_is_an_account_even_a_disabled_one(store: Store) -> None:
    accounts = Accounts(store, FAST)
    assert (accounts.is_needed(), accounts.is_usable()) == (False, False)
    accounts.add("vera", "viewer", PASSWORD)
    assert (accounts.is_needed(), accounts.is_usable()) == (True, True)
    accounts.set_disabled("vera", True)
    for opened in (accounts, Accounts(store, FAST)):
        assert (opened.is_needed(), opened.is_usable()) == (True, False)


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "<b>", "x" * 65, "-rf", "../x", "local", "a\nb", "a'; DROP TABLE users"]
)
def test_a_name_that_is_none_is_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(AccountError, match="cannot be a user name"):
        accounts.add(name, "viewer", PASSWORD)


def test_names_differ_by_more_than_case_and_may_be_of_any_script(accounts: Accounts) -> None:
    with pytest.raises(AccountError, match="already a user"):
        accounts.add("ANNA", "viewer", PASSWORD)
    assert accounts.add("Łukasz", "viewer", PASSWORD).name == "Łukasz"


@pytest.mark.parametrize("password", ["", "short", "x" * 1001])
def test_a_password_too_short_or_long_is_refused(accounts: Accounts, password: str) -> None:
    with pytest.raises(AccountError, match="10 to 1,000 characters"):
        accounts.add("ben", "viewer", password)
    with pytest.raises(AccountError, match="10 to 1,000 characters"):
        accounts.set_password("anna", password)


def test_unknown_users_and_roles_are_refused(accounts: Accounts) -> None:
    for change in (
        lambda: accounts.set_role("nobody", "viewer"),
        lambda: accounts.set_password("nobody", PASSWORD),
        lambda: accounts.add_token("nobody", "viewer", 1),
        lambda: accounts.revoke_tokens("nobody"),
        lambda: accounts.set_role("anna", "emperor"),
        lambda: accounts.add_token("anna", "viewer", 0),
    ):
        with pytest.raises(AccountError):
            change()


def waits_before(limit: LoginLimit, clock: Clock, tries: Iterable[tuple[str, str]]) -> list[int]:
    """Make attempts as soon as they are allowed; return the seconds that each had to wait."""
    waits = []
    for name, address in tries:
        wait = 0
        while True:
            try:
                limit.check(name, address)
                break
            except LoginError:
                clock.now += 1
                wait += 1
        waits.append(wait)
    return waits


def test_guessing_at_a_name_from_an_address_is_slowed_down() -> None:
    clock = Clock()
    limit = LoginLimit(clock)
    for _ in range(FREE_FAILURES):
        limit.check("anna", "10.0.0.1")
    for name in ("anna", "ANNA"):
        with pytest.raises(LoginError, match="Try again in 1 s"):
            limit.check(name, "10.0.0.1")
    limit.check("ben", "10.0.0.1")
    limit.check("anna", "10.0.0.2")
    waits = waits_before(limit, clock, [("anna", "10.0.0.1")] * 12)
    assert waits[:4] == [1, 2, 4, 8]
    assert max(waits) == 900


@pytest.mark.parametrize(
    "other",
    [
        lambda number: (f"name {number}", "10.0.0.1"),
        lambda number: ("anna", f"10.0.{number // 200}.{number % 200}"),
        lambda number: (f"name {number}", f"2001:db8:0:7::{number:x}"),
    ],
)
def test_many_names_from_an_address_and_many_addresses_for_a_name_are_slowed_down_mildly(
    other: Callable[[int], tuple[str, str]],
) -> None:
    clock = Clock()
    limit = LoginLimit(clock)
    for number in range(SHARED_FREE_FAILURES):
        limit.check(*other(number))
    waits = waits_before(limit, clock, map(other, range(SHARED_FREE_FAILURES, SHARED_FREE_FAILURES + 12)))
    assert waits[:4] == [1, 2, 4, 8]
    assert max(waits) == 60


def test_a_right_password_excuses_that_name_from_that_address_and_nothing_else() -> None:
    limit = LoginLimit(Clock())
    for number in range(SHARED_FREE_FAILURES - 1):
        limit.check(f"name {number}", "10.0.0.1")
    for _ in range(FREE_FAILURES - 1):
        limit.check("anna", "10.0.0.2")
    for _ in range(20):  # a right one costs nothing
        for address in ("10.0.0.1", "10.0.0.2"):
            limit.check("anna", address)
            limit.succeeded("anna", address)
    limit.check("name 0", "10.0.0.1")
    with pytest.raises(LoginError):
        limit.check("ben", "10.0.0.1")


def test_failures_are_forgotten_after_a_day() -> None:
    clock = Clock()
    limit = LoginLimit(clock)
    for _ in range(FREE_FAILURES):
        limit.check("anna", "10.0.0.1")
    clock.now += FORGET_SECONDS + 1
    for _ in range(FREE_FAILURES):
        limit.check("anna", "10.0.0.1")
    with pytest.raises(LoginError):
        limit.check("anna", "10.0.0.1")


def test_concurrent_attempts_are_counted_before_any_password_is_checked(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier, 40 concurrent attempts were all checked, since each was counted only after it had failed."""
    barrier, evaluated = threading.Barrier(40), []

    def verify(password_hash: str, password: str) -> bool:
        evaluated.append(password)
        everybody_asked.wait(60)
        return False

    def guess(number: int) -> str:
        barrier.wait(60)
        try:
            log_in(accounts, password=f"wrong {number}")
        except LoginError as error:
            return str(error)
        finally:
            asked.append(number)
            if len(asked) >= 40 - FREE_FAILURES:
                everybody_asked.set()
        return "in"

    asked: list[int] = []
    everybody_asked = threading.Event()
    monkeypatch.setattr(accounts, "_verify", verify)
    with ThreadPoolExecutor(40) as pool:
        told = list(pool.map(guess, range(40)))
    assert len(evaluated) == FREE_FAILURES
    assert sum("Too many" in text for text in told) == 40 - FREE_FAILURES


def test_the_wait_begins_after_a_wrong_password_was_checked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    accounts = Accounts(store, FAST, LoginLimit(clock))

    def slow(password_hash: str, password: str) -> bool:
        clock.now += 5
        return False

    monkeypatch.setattr(accounts, "_verify", slow)
    for _ in range(FREE_FAILURES):
        with pytest.raises(LoginError, match="is wrong"):
            log_in(accounts)
    with pytest.raises(LoginError, match="Try again in 1 s"):
        log_in(accounts)


def test_one_address_guessing_at_many_names_is_slowed_down(accounts: Accounts) -> None:
    told = []
    for number in range(SHARED_FREE_FAILURES + 1):
        with pytest.raises(LoginError) as caught:
            log_in(accounts, f"name {number}", "a wrong password")
        told.append(str(caught.value))
    assert ["Too many" in text for text in told] == [False] * SHARED_FREE_FAILURES + [True]
    with pytest.raises(LoginError, match="Too many"):
        log_in(accounts)
    assert accounts.log_in("anna", PASSWORD, "10.0.0.2")


def test_whoever_shares_an_address_with_a_guesser_gets_in(accounts: Accounts) -> None:
    for _ in range(FREE_FAILURES + 3):
        with pytest.raises(LoginError):
            log_in(accounts, "root", "a wrong password")
    assert log_in(accounts, "anna")


def test_stored_passwords_have_hashes_that_are_slow_to_guess(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests have cheap hashes (tests/conftest.py); these are at least those of RFC 9106 for little memory."""
    monkeypatch.setattr(accounts_module, "PasswordHasher", PasswordHasher)
    Accounts(store).add("root", "admin", PASSWORD)
    ((password_hash,),) = store.rows("SELECT password_hash FROM users")
    found = extract_parameters(password_hash)
    assert found.type.name == "ID"
    assert found.time_cost >= 3
    assert found.memory_cost >= 65_536  # KiB


def test_an_unknown_name_costs_as_much_as_a_known_one(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password is always checked against a real hash: otherwise the time would reveal who has an account."""
    checked: list[str] = []
    monkeypatch.setattr(accounts, "_hasher", Watched(checked))
    for name in ("anna", "nobody"):
        with pytest.raises(LoginError):
            log_in(accounts, name, "a wrong password")
    known, unknown = map(extract_parameters, checked)
    assert unknown == known
    assert len(set(checked)) == 2
    with pytest.raises(VerifyMismatchError):  # not an error of its form, which is found at once
        FAST.verify(checked[1], "a wrong password")


class Watched:
    """A hasher that records what it checks."""

    def __init__(self, checked: list[str]) -> None:
        self._checked = checked

    def verify(self, password_hash: str, password: str) -> bool:
        self._checked.append(password_hash)
        return FAST.verify(password_hash, password)


def test_a_wait_is_kept_even_for_the_right_password(accounts: Accounts) -> None:
    for _ in range(FREE_FAILURES):
        with pytest.raises(LoginError, match="is wrong"):
            log_in(accounts, password="a wrong password")
    with pytest.raises(LoginError, match="Too many"):
        log_in(accounts)


def test_a_full_disk_makes_no_half_account(
    accounts: Accounts, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from contextlib import contextmanager

    from annotator.errors import StoreError

    @contextmanager
    def full():  # type: ignore[no-untyped-def]
        raise StoreError("Not saved: the disk is full.")
        yield

    monkeypatch.setattr(store, "transaction", full)
    with pytest.raises(StoreError):
        accounts.add("ben", "viewer", PASSWORD)
    with pytest.raises(StoreError):
        accounts.set_role("anna", "admin")
    monkeypatch.undo()
    assert [(user.name, user.role.label) for user in accounts.users()] == [("anna", "annotator"), ("root", "admin")]
    accounts.add("ben", "viewer", PASSWORD)


def test_failures_at_the_same_address_do_not_keep_out_a_known_browser(store: Store) -> None:
    """Whoever polls from somebody's address, or with somebody's name, would lock them out for as long as they like."""
    clock = Clock()
    accounts = Accounts(store, FAST, LoginLimit(clock))
    accounts.add("anna", "admin", PASSWORD)
    accounts.log_in("anna", PASSWORD, "10.0.0.1")
    known = accounts.device_token("anna")
    for _ in range(SHARED_FREE_FAILURES + 20):
        with pytest.raises(LoginError):
            accounts.log_in("anna", "a wrong password", "10.0.0.1")
    with pytest.raises(LoginError, match="Too many wrong passwords"):
        accounts.log_in("anna", PASSWORD, "10.0.0.1")
    for forged in ("", "x", known[:-1], known.replace(".", ".0"), "\xff.\xff", f"{'0' * 32}.{known.split('.')[1]}"):
        with pytest.raises(LoginError, match="Too many wrong passwords"):
            accounts.log_in("anna", PASSWORD, "10.0.0.1", forged)
    assert accounts.log_in("anna", PASSWORD, "10.0.0.1", known)


def test_a_known_browser_is_limited_by_itself_and_known_for_its_user_and_password_only(store: Store) -> None:
    accounts = Accounts(store, FAST, LoginLimit(Clock()))
    for name in ("anna", "ben"):
        accounts.add(name, "admin", PASSWORD)
    known = accounts.device_token("anna")
    for _ in range(FREE_FAILURES):
        with pytest.raises(LoginError, match="is wrong"):
            accounts.log_in("anna", "a wrong password", "10.0.0.1", known)
    with pytest.raises(LoginError, match="Too many wrong passwords"):
        accounts.log_in("anna", PASSWORD, "10.0.0.1", known)
    assert accounts._device("anna", known)
    assert not accounts._device("ben", known)
    assert not accounts._device("nobody", known)
    accounts.set_password("anna", f"{PASSWORD}!")
    assert not accounts._device("anna", known)
