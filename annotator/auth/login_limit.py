"""Limits the rate of failed logins: increasing waits for a name at an address, for an address and for a name."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from annotator.auth.addresses import network_of
from annotator.errors import LoginError

FREE_FAILURES = 5
"""Wrong passwords for one name from one address that cause no wait."""
LONGEST_WAIT = 900.0
"""Seconds."""
SHARED_FREE_FAILURES = 50
"""The same for an address with any names, and for a name with any addresses: both are shared with other people."""
SHARED_LONGEST_WAIT = 60.0
"""Seconds; short, since people who share the address, or whose name is guessed, wait as well."""
FORGET_SECONDS = 86_400.0
"""Failures are deleted this long after the last of them."""
_MAX_KEYS = 10_000


@dataclass(frozen=True)
class _Failures:
    """Wrong passwords, and attempts not decided yet, of a key of the limit."""

    count: int
    last: float
    """When, by the clock of the limit."""
    is_shared: bool

    def allowed_at(self) -> float:
        """Return when the next attempt is allowed."""
        free, longest = (SHARED_FREE_FAILURES, SHARED_LONGEST_WAIT) if self.is_shared else (FREE_FAILURES, LONGEST_WAIT)
        if self.count < free:
            return self.last
        return self.last + min(2.0 ** min(self.count - free, 30), longest)


class LoginLimit:
    """Limits password guessing: after some failures, each further one doubles the wait.

    The limit is strict for one name from one address, and mild for an address or a name alone, since people who share
    the address, or whose names are guessed, must still be able to log in.

    Args:
        clock: Monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[tuple[str, ...], _Failures] = OrderedDict()
        """Least recently used first."""

    def check(self, name: str, address: str, device: str = "") -> None:
        """Allow an attempt, and count it as a failure until `succeeded` is called.

        It is counted before the password is checked: otherwise many attempts at once would all be allowed.

        Args:
            name: The user name given.
            address: The caller's network address.
            device: Where this user has logged in before: counted by itself, so that nobody else's failures at the same
                address, or with the same name, keep the user out.

        Raises:
            LoginError: The attempt is too early; then it is not counted.
        """
        keys = _limit_keys(name, address, device)
        now = self._clock()
        with self._lock:
            for known in [self._failures.get(key) for key in keys]:
                if known is not None and now < known.allowed_at():
                    raise LoginError(f"Too many wrong passwords. Try again in {math.ceil(known.allowed_at() - now)} s.")
            for index, key in enumerate(keys):
                was = self._failures.pop(key, None)
                count = 0 if was is None or now - was.last > FORGET_SECONDS else was.count
                self._failures[key] = _Failures(count + 1, now, is_shared=index > 0)
            while len(self._failures) > _MAX_KEYS:
                self._failures.popitem(last=False)

    def failed(self, name: str, address: str, device: str = "") -> None:
        """Start the wait after an attempt now: checking the password took some time."""
        now = self._clock()
        with self._lock:
            for key in _limit_keys(name, address, device):
                if key in self._failures:
                    self._failures[key] = replace(self._failures[key], last=now)

    def succeeded(self, name: str, address: str, device: str = "") -> None:
        """Delete the failures of the name at the address; of the shared keys, subtract this attempt only."""
        own, *shared = _limit_keys(name, address, device)
        with self._lock:
            self._failures.pop(own, None)
            for key in shared:
                was = self._failures.get(key)
                if was is not None and was.count > 1:
                    self._failures[key] = replace(was, count=was.count - 1)
                elif was is not None:
                    del self._failures[key]


def _limit_keys(name: str, address: str, device: str) -> tuple[tuple[str, ...], ...]:
    name, network = name[:64].casefold(), network_of(address)
    if device:
        return (("device", name, device),)
    return ("both", name, network), ("address", network), ("name", name)
