"""What is known of the request that is being answered: its id, the operation, how it ended.

Knows nothing of HTTP, metrics or logs; all of them read it.
"""

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass, field

WELL_FORMED_ID = re.compile(r"[A-Za-z0-9_.:-]{8,128}", re.ASCII)
"""Ids of requests that are taken from a trusted proxy."""


def new_request_id() -> str:
    """Return an id that is short enough to be read out."""
    return secrets.token_hex(6)


@dataclass
class RequestRecord:
    """One request while it is answered, and afterwards."""

    operation: str
    """The operation, or the kind of page or file that is asked for; one of a fixed set of names."""
    method: str
    request_id: str = field(default_factory=new_request_id)
    trace_parent: str = ""
    """The header `traceparent` of a trusted proxy."""
    status: int = 499
    """HTTP status of the answer; 499 (nginx's number) where the caller went away before there was one."""
    error_status: int = 0
    """Status of the error that an answer of status 200 holds, as the page gets it; 0: none."""
    seconds: float = 0.0
    """From the request's headers to the end of the answer."""

    @property
    def status_class(self) -> str:
        """The status by its first digit, such as 2xx."""
        return f"{self.status // 100}xx"


REQUEST: ContextVar[RequestRecord] = ContextVar("REQUEST")
"""The request that is being answered in this context, also in the thread that answers it."""
