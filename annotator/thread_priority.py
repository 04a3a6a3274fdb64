"""Work beside a server that must not slow it down."""

import os
import threading

NICENESS = 10


def lower_priority() -> None:
    """Lower the priority of this thread: on Linux each thread has its own niceness, and its children inherit it."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
