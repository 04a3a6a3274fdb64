"""Edit scripts between ranked tag lists: how a correction changed a list.

A script is a list of steps, applied in order: ``("delete", tag, at)``, ``("move", tag, from, to)``,
``("insert", tag, at)``. Positions are 0-based, in the list at that step. Knows nothing of storage.
"""

from bisect import bisect_left
from collections.abc import Sequence

Step = tuple[str, str, int] | tuple[str, str, int, int]


def diff(before: Sequence[str], after: Sequence[str]) -> list[Step]:
    """Return the shortest script from one list to the other; ``apply(diff(a, b), a) == b``.

    Args:
        before: Tags, without repeats.
        after: Tags, without repeats.

    Raises:
        ValueError: A list holds a tag twice.
    """
    for tags in (before, after):
        if len(set(tags)) != len(tags):
            raise ValueError(f"a ranked list cannot hold a tag twice: {list(tags)!r}")
    script: list[Step] = []
    current = list(before)
    wanted = {tag: rank for rank, tag in enumerate(after)}
    for at in range(len(current) - 1, -1, -1):
        if current[at] not in wanted:
            script.append(("delete", current.pop(at), at))
    # Tags on a longest increasing run of target ranks do not move; each other tag moves once.
    fixed = {current[at] for at in _longest_increasing([wanted[tag] for tag in current])}
    present = set(current)
    for rank, tag in enumerate(after):
        if tag in fixed:
            continue
        to = current.index(after[rank - 1]) + 1 if rank else 0
        if tag in present:
            start = current.index(tag)
            current.pop(start)
            to -= start < to
            script.append(("move", tag, start, to))
        else:
            script.append(("insert", tag, to))
        current.insert(to, tag)
        fixed.add(tag)
    return script


def apply(script: Sequence[Step], before: Sequence[str]) -> list[str]:
    """Return the list after every step.

    Raises:
        ValueError: A step does not fit the list.
    """
    current = list(before)
    for kind, tag, at, *rest in script:
        if kind in {"delete", "move"}:
            if not 0 <= at < len(current) or current[at] != tag:
                raise ValueError(f"the step {kind} {tag!r} at {at} does not fit {current!r}")
            current.pop(at)
        if kind == "insert":
            current.insert(at, tag)
        elif kind == "move":
            current.insert(rest[0], tag)
        elif kind != "delete":
            raise ValueError(f"unknown step {kind!r}")
    return current


def _longest_increasing(ranks: Sequence[int]) -> list[int]:
    """Positions of one longest increasing subsequence (patience sorting, O(n log n))."""
    tails: list[int] = []
    tail_at: list[int] = []
    previous: list[int] = []
    for at, rank in enumerate(ranks):
        pile = bisect_left(tails, rank)
        previous.append(tail_at[pile - 1] if pile else -1)
        if pile == len(tails):
            tails.append(rank)
            tail_at.append(at)
        else:
            tails[pile] = rank
            tail_at[pile] = at
    run: list[int] = []
    at = tail_at[-1] if tail_at else -1
    while at >= 0:
        run.append(at)
        at = previous[at]
    return run[::-1]
