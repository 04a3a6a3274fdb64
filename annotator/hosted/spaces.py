"""The spaces of the hosted demo: one folder for each visitor, deleted when its time is over.

When all spaces are taken, visitors wait in a queue. A limited number of spaces is in memory; the others are closed, and
opened again for the next call. Knows nothing of HTTP, nor of a space's content but that it can be opened and closed.
"""

import logging
import math
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from annotator.errors import DemoError
from annotator.hosted.limits import HostedLimits, RateLimiter
from annotator.hosted.space import SPACE_FILE, O, Space, delete_folder, digest_of, read_space
from annotator.hosted.space_root import SpaceRoot
from annotator.storage.temporary_folders import held_folder

logger = logging.getLogger(__name__)

HEALTH_SECONDS = 5.0
ROOM_PREFIX = ".room-"
CHECKED_BYTES = 1_000_000
"""Bytes that must fit on the disk: as much as a new space takes."""

OPEN_SECONDS = 20.0
"""Longest wait of a call while all places in memory are in use."""


@dataclass(frozen=True)
class Admission:
    """The answer to a request for a space: a session, or a position in the queue."""

    session_id: str = ""
    """New and secret; empty while the visitor waits."""
    position: int = 0
    """In the queue, from 1."""
    seconds_at_most: float = 0.0
    """Longest wait, if nobody leaves early."""


@dataclass
class _Ticket:
    address: str
    seen_at: float


class HostedSpaces(Generic[O]):
    """All spaces of one server.

    Args:
        root: Folder of the spaces, created if missing. It must be empty or have been used for spaces before, since its
            content is deleted when its time is over.
        limits: Number, sizes and lifetimes of spaces.
        open_space: Opens the project in a space's folder; may take seconds.
        on_end: Called before an ended space is closed, to stop all work with it.
        clock: Seconds since 1970.

    Raises:
        ConfigError: The folder holds something else, is in use by another server, or cannot be written.
    """

    def __init__(
        self,
        root: Path,
        limits: HostedLimits,
        open_space: Callable[[Space[O]], O],
        on_end: Callable[[Space[O]], None] = lambda space: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = SpaceRoot(root)
        self.root = self._root.path
        self.limits = limits
        self._open = open_space
        self._on_end = on_end
        self._clock = clock
        self._changed = threading.Condition()
        self._spaces: dict[str, Space[O]] = {}
        self._by_digest: dict[str, Space[O]] = {}
        self._waiting: dict[str, _Ticket] = {}
        self._health = (-math.inf, "")
        """When room was looked for, and what was found."""
        self._entries = RateLimiter(limits.entries_an_hour / 3600, limits.entries_an_hour, clock)
        self._read_stored()

    def problem(self) -> str:
        """Return why no space can be made at this moment; empty if one can. It is found out every few seconds."""
        now = time.monotonic()
        if not 0 <= now - self._health[0] < HEALTH_SECONDS:
            self._health = (now, self._find_problem())
        return self._health[1]

    def _find_problem(self) -> str:
        try:
            with held_folder(self.root, ROOM_PREFIX) as folder:
                (folder / "room").write_bytes(b"x" * CHECKED_BYTES)
        except OSError as error:
            logger.warning("No space could be made: %s", error)
            return "no space can be made"
        return ""

    # Entering and leaving

    def enter(self, browser_id: str, address: str) -> Admission:
        """Give a visitor a new space, or a position in the queue.

        Args:
            browser_id: Identifies a browser in the queue; it gives access to nothing.
            address: The visitor's network address.

        Raises:
            DemoError: Too many come from this address, or the queue is full.
        """
        address = self._root.hashed(address)
        with self._changed:
            now = self._clock()
            self._forget_who_left(now)
            if browser_id not in self._waiting:
                self._check_address(address)
            waiting = list(self._waiting)
            before = waiting.index(browser_id) if browser_id in self._waiting else len(waiting)
            if before < self.limits.num_visitors - len(self._spaces):
                wait = self._entries.take(address)
                if wait:
                    raise DemoError(
                        f"Your address had {self.limits.entries_an_hour} spaces within an hour. "
                        f"The next is free in {max(1, round(wait / 60))} min."
                    )
                self._waiting.pop(browser_id, None)
                return Admission(session_id=self._create(now, address))
            if browser_id not in self._waiting and len(self._waiting) >= self.limits.num_waiting:
                raise DemoError("So many people wait already that the queue is full. Come back later.")
            self._waiting.setdefault(browser_id, _Ticket(address, now)).seen_at = now
            return Admission(position=before + 1, seconds_at_most=self._longest_wait(before, now))

    def find(self, session_id: str) -> Space[O] | None:
        """Return the space of a session and mark it as seen now; None if there is none any more."""
        with self._changed:
            space = self._by_digest.get(digest_of(session_id)) if session_id else None
            now = self._clock()
            if space is None or now >= self.ends_at(space):
                return None
            space.seen_at = now
            return space

    def leave(self, space: Space[O]) -> None:
        """End a space before its time."""
        self._end([space])

    def ends_at(self, space: Space[O]) -> float:
        """Return when a space ends without a further call, in seconds since 1970."""
        return min(self.latest_end(space), space.seen_at + 60 * self.limits.idle_minutes)

    def latest_end(self, space: Space[O]) -> float:
        """Return when a space ends at the latest, in seconds since 1970."""
        return space.created_at + 60 * self.limits.minutes

    def present(self) -> list[Space[O]]:
        """Return all spaces, including those that are being deleted."""
        with self._changed:
            return list(self._spaces.values())

    @property
    def num_visitors(self) -> int:
        """Number of spaces, including those that are being deleted."""
        return len(self._spaces)

    @property
    def num_open(self) -> int:
        """Number of spaces that are in memory, or being opened or closed."""
        return sum(space.opened is not None or space.is_changing for space in self._spaces.values())

    # Using

    @contextmanager
    def use(self, space: Space[O]) -> Iterator[O]:
        """Open a space if necessary, and keep it open within the context.

        Raises:
            DemoError: It is over, or too many spaces are in use at this moment.
        """
        opened = self._take(space)
        try:
            yield opened
        finally:
            self._give_back(space)

    @contextmanager
    def use_if_open(self, space: Space[O]) -> Iterator[O | None]:
        """Keep a space open within the context if it is open now; does not count as use."""
        with self._changed:
            opened = None if space.is_changing or space.is_over else space.opened
            space.num_users += opened is not None
        try:
            yield opened
        finally:
            if opened is not None:
                self._give_back(space)

    def sweep(self) -> None:
        """End and delete spaces whose time is over, and mark full ones; to be called every few seconds."""
        now = self._clock()
        with self._changed:
            self._forget_who_left(now)
            over = [space for space in self._by_digest.values() if now >= self.ends_at(space)]
        present = self.present()
        self._end(over)
        for space in present:
            space.is_full = not space.is_over and space.num_bytes() > self.limits.max_space_bytes
        for space in present:
            if space.is_over:
                self._delete(space)

    def close(self) -> None:
        """Close all spaces; those whose time is not over are available again after a restart."""
        for space in self.present():
            with self._changed:
                is_mine = self._changed.wait_for(lambda s=space: not s.is_changing, timeout=60)  # type: ignore[misc]
                space.is_changing = True
            if is_mine:
                self._close(space)
            if space.is_over:
                delete_folder(space.folder)
        self._root.close()

    # Inside

    def _take(self, space: Space[O]) -> O:
        deadline = time.monotonic() + OPEN_SECONDS
        while True:
            with self._changed:
                if space.is_over:
                    raise DemoError("This space is over; its photos and tags were deleted.")
                if space.opened is not None and not space.is_changing:
                    space.num_users += 1
                    space.used_at = self._clock()
                    return space.opened
                to_change = None if space.is_changing else self._next_change(space)
                if to_change is None:
                    if not self._changed.wait(deadline - time.monotonic()):
                        raise DemoError("Too many visitors are at work at this moment. Try again in a few seconds.")
                    continue
                to_change.is_changing = True
            if to_change is space:
                self._open_now(space)
            else:
                self._close(to_change)

    def _next_change(self, space: Space[O]) -> Space[O] | None:
        """Return the space itself if it may be opened, else the one to close for it; None while all are in use."""
        if self.num_open < self.limits.num_open:
            return space
        idle = [s for s in self._spaces.values() if s.opened is not None and not s.num_users and not s.is_changing]
        return min(idle, key=lambda s: s.used_at, default=None)

    def _give_back(self, space: Space[O]) -> None:
        with self._changed:
            space.num_users -= 1
            self._changed.notify_all()

    def _open_now(self, space: Space[O]) -> None:
        opened = None
        try:
            opened = self._open(space)
        finally:
            with self._changed:
                space.opened, space.is_changing, space.used_at = opened, False, self._clock()
                self._changed.notify_all()

    def _close(self, space: Space[O]) -> None:
        """Close a space that was marked as changing."""
        try:
            if space.opened is not None:
                space.opened.close()
        finally:
            with self._changed:
                space.opened, space.is_changing = None, False
                self._changed.notify_all()

    def _end(self, spaces: list[Space[O]]) -> None:
        with self._changed:
            ending = [space for space in spaces if not space.is_over]
            for space in ending:
                space.is_over = True
                self._by_digest.pop(space.digest, None)
            self._changed.notify_all()
        for space in ending:
            # A restart deletes a space without this file.
            (space.folder / SPACE_FILE).unlink(missing_ok=True)
            self._on_end(space)

    def _delete(self, space: Space[O]) -> None:
        """Close and delete an ended space, unless it is still in use."""
        with self._changed:
            if space.num_users or space.is_changing:
                return
            space.is_changing = True
        self._close(space)
        delete_folder(space.folder)
        with self._changed:
            self._spaces.pop(space.space_id, None)
            self._changed.notify_all()

    def _create(self, now: float, address: str) -> str:
        session_id = secrets.token_urlsafe(32)
        space_id = f"space-{secrets.token_hex(8)}"
        space: Space[O] = Space(space_id, self.root / space_id, digest_of(session_id), now, now, address)
        try:
            space.write()
        except OSError as error:
            shutil.rmtree(space.folder, ignore_errors=True)
            logger.warning("No space could be made: %s", error)
            raise DemoError("This server has no room left for another space. Come back later.") from error
        self._spaces[space_id] = self._by_digest[space.digest] = space
        return session_id

    def _check_address(self, address: str) -> None:
        taken = [space.address for space in self._by_digest.values()]
        wanted = [ticket.address for ticket in self._waiting.values()]
        if [*taken, *wanted].count(address) >= self.limits.visitors_an_address:
            raise DemoError(
                f"{self.limits.visitors_an_address} spaces from your address are in use or waited for, which is the "
                "most. End one, or come back later."
            )

    def _forget_who_left(self, now: float) -> None:
        for browser_id, ticket in list(self._waiting.items()):
            if now - ticket.seen_at > self.limits.waiting_seconds:
                del self._waiting[browser_id]

    def _longest_wait(self, num_before: int, now: float) -> float:
        """Return the seconds until a place is free if every visitor stays as long as allowed."""
        num_rounds, place = divmod(num_before, self.limits.num_visitors)
        ends = sorted(now if space.is_over else self.latest_end(space) for space in self._spaces.values())
        end = ends[place] if place < len(ends) else now
        return max(0.0, end - now) + num_rounds * 60 * self.limits.minutes

    def _read_stored(self) -> None:
        """Read the spaces of an earlier run whose time is not over, and delete the others."""
        now = self._clock()
        for folder in self._root.folders():
            space = read_space(folder, now)
            if space is None or now >= self.latest_end(space):
                delete_folder(folder)
            else:
                self._spaces[space.space_id] = self._by_digest[space.digest] = space
