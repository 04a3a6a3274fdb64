"""Sends pictures: from threads of their own, with a bound on those that wait and on the bytes that are being sent.

A picture may take seconds to make and a minute to be taken by a slow caller. Neither may hold a thread that a save or
a proposal needs. Knows nothing of photos.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

NUM_THREADS = 4
MAX_WAITING = 200
"""Pictures that may wait for a thread; a page asks for some dozens."""
MAX_BYTES_SENT = 400_000_000
"""Of all pictures that are being sent."""
CHUNK = 1 << 18

Made = TypeVar("Made")


class TooManyPicturesError(Exception):
    """So many pictures wait, or are being sent, that no further one is made."""


class PicturePool(Generic[Made]):
    """Makes pictures in a few threads.

    Args:
        num_threads: How many.
        max_waiting: Calls that may wait for a thread.
    """

    def __init__(self, num_threads: int = NUM_THREADS, max_waiting: int = MAX_WAITING) -> None:
        self._executor = ThreadPoolExecutor(num_threads, thread_name_prefix="pictures")
        self._max = num_threads + max_waiting
        self.num_now = 0  # changed in the event loop only
        """Calls that are in a thread or wait for one."""

    async def run(self, make: Callable[[], Made]) -> Made:
        """Return what a function returns that is called in one of the threads, in this call's context.

        Raises:
            TooManyPicturesError: Too many calls wait.
        """
        if self.num_now >= self._max:
            raise TooManyPicturesError
        self.num_now += 1
        future = self._executor.submit(copy_context().run, make)
        try:
            return await asyncio.wrap_future(future)
        finally:
            self.num_now -= 1


class BytesSent:
    """Counts the bytes of the pictures that are being sent.

    Args:
        max_bytes: Most of them; a larger picture is sent alone.
    """

    def __init__(self, max_bytes: int = MAX_BYTES_SENT) -> None:
        self._max_bytes = max_bytes
        self._now: dict[int, list[int]] = {}
        """Identity of the bytes -> [number of calls that get them, length]; the same bytes are in memory once."""

    @property
    def num_bytes(self) -> int:
        """Bytes of the pictures that are being sent."""
        return sum(length for _, length in list(self._now.values()))

    def take(self, data: bytes) -> bool:
        """Count a picture; return whether it may be sent."""
        known = self._now.get(id(data))
        if known is not None:
            known[0] += 1
            return True
        if self._now and self.num_bytes + len(data) > self._max_bytes:
            return False
        self._now[id(data)] = [1, len(data)]
        return True

    def give_back(self, data: bytes) -> None:
        """Count a picture no more."""
        known = self._now[id(data)]
        known[0] -= 1
        if not known[0]:
            del self._now[id(data)]


class PicturePools:
    """What a server makes and sends pictures with.

    Thumbnails have threads of their own: they must not wait behind photos that take seconds.
    """

    def __init__(self) -> None:
        self.thumbnails = PicturePool[Any]()
        self.photos = PicturePool[Any]()
        self.sent = BytesSent()


class PictureResponse(Response):
    """Sends a picture piece by piece, each after the one before was taken.

    Args:
        data: The picture.
        media_type: Of the picture.
        headers: Further headers.
        sent: Counts it while it is sent.
    """

    def __init__(self, data: bytes, media_type: str, headers: dict[str, str], sent: BytesSent) -> None:
        super().__init__(b"", media_type=media_type, headers={**headers, "content-length": str(len(data))})
        self._data, self._sent = data, sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        if not self._sent.take(self._data):
            await too_many()(scope, receive, send)
            return
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            view = memoryview(self._data)
            for start in range(0, max(len(view), 1), CHUNK):
                piece = bytes(view[start : start + CHUNK])
                is_last = start + CHUNK >= len(view)
                await send({"type": "http.response.body", "body": piece, "more_body": not is_last})
        finally:
            self._sent.give_back(self._data)


def too_many() -> JSONResponse:
    """Return the refusal of a picture while there are too many."""
    error: dict[str, Any] = {"kind": "refused", "message": "Too many pictures are asked for. Try again in a moment."}
    return JSONResponse({"error": error}, 503, headers={"retry-after": "2", "cache-control": "no-store"})
