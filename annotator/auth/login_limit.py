"""How often a login may fail: growing waits for a name at an address, and for an address."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from annotator.auth.addresses import network_of
from annotator.errors import LoginError

FREE_FAILURES = 5
"""Wrong passwords for one name from one address before these have to wait."""


LONGEST_WAIT = 900.0
"""Seconds."""


SHARED_FREE_FAILURES = 50
"""The same for an address, whatever the names, and for a name, whatever the addresses: both are shared with others."""


SHARED_LONGEST_WAIT = 60.0
"""Seconds; short, since whoever shares an address or is named by a guesser waits as well."""


FORGET_SECONDS = 86_400.0
"""Failures are forgotten so long after the last of them."""


_FORGET_AFTER = 10_000


@dataclass(frozen=True)
class _Failures:
    """Wrong passwords, and tries whose outcome is open, of a key of the limit."""

    count: int
    last: float
    """When, by the clock of the limit."""
    is_shared: bool

    def allowed_at(self) -> float:
        """Return when the next try may come."""
        free, longest = (SHARED_FREE_FAILURES, SHARED_LONGEST_WAIT) if self.is_shared else (FREE_FAILURES, LONGEST_WAIT)
        if self.count < free:
            return self.last
        return self.last + min(2.0 ** min(self.count - free, 30), longest)


class LoginLimit:
    """Slows down who guesses passwords: after some failures each further one doubles the wait.

    Strictly for one name from one address; mildly for an address and for a name by themselves, since neighbours behind
    the same address, and people whose names others guess at, must still get in.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[tuple[str, ...], _Failures] = OrderedDict()
        """Longest unused first."""

    def check(self, name: str, address: str) -> None:
        """Let a try through, and count it as a failure until `succeeded` takes that back.

        Counted before the password is looked at: else many tries at once would all be let through.

        Raises:
            LoginError: It comes too early; then it is not counted.
        """
        keys = _limit_keys(name, address)
        now = self._clock()
        with self._lock:
            for known in [self._failures.get(key) for key in keys]:
                if known is not None and now < known.allowed_at():
                    raise LoginError(f"Too many wrong passwords. Try again in {math.ceil(known.allowed_at() - now)} s.")
            for place, key in enumerate(keys):
                was = self._failures.pop(key, None)
                count = 0 if was is None or now - was.last > FORGET_SECONDS else was.count
                self._failures[key] = _Failures(count + 1, now, is_shared=place > 0)
            while len(self._failures) > _FORGET_AFTER:
                self._failures.popitem(last=False)

    def failed(self, name: str, address: str) -> None:
        """Let the wait after a try begin now: looking at the password took a while."""
        now = self._clock()
        with self._lock:
            for key in _limit_keys(name, address):
                if key in self._failures:
                    self._failures[key] = replace(self._failures[key], last=now)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name from an address; elsewhere take back this one try, since others may be bad."""
        own, *shared = _limit_keys(name, address)
        with self._lock:
            self._failures.pop(own, None)
            for key in shared:
                was = self._failures.get(key)
                if was is not None and was.count > 1:
                    self._failures[key] = replace(was, count=was.count - 1)
                elif was is not None:
                    del self._failures[key]


def _limit_keys(name: str, address: str) -> tuple[tuple[str, ...], ...]:
    name, network = name[:64].casefold(), network_of(address)
    return ("both", name, network), ("address", network), ("name", name)
