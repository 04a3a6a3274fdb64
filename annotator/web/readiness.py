"""Whether a server takes requests, and what is missing until it does.

Liveness is another question: a process that answers is alive, and nothing here is mended by starting it again.
"""

from collections.abc import Callable

HEALTH_PATH = "/api/v1/health"
READY_PATH = "/api/v1/ready"
OPENING = "the project is being opened"
DRAINING = "the server is being ended"


class Readiness:
    """The state of one server.

    Args:
        problem: Returns why a server that is open is of no use at this moment; empty if it is of use.
    """

    def __init__(self, problem: Callable[[], str] = lambda: "") -> None:
        self._problem = problem
        self.is_draining = False
        """Whether the server only finishes the requests that it has."""

    def missing(self) -> list[str]:
        """Return what is missing until the server takes requests; empty if it takes them."""
        found = DRAINING if self.is_draining else self._problem()
        return [found] if found else []
