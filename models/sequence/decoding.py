"""Decoding: from a prefix to further tags, by greedy or beam search, or by lookahead over all continuations.

Works on any recurrent tagger through `Steps`: numpy in, numpy out, so that a server needs no torch. Tag ids run from
0 to V - 1. The id V is START as an input and END as an output, so that START is never emitted.
Masked: the tags of the prefix and those emitted (without the mask, teacher-forced models repeat tags), dropped tags,
and, unless the length is free, END until k tags are emitted.
Shapes: features (B, D) -> log-probabilities (R, V + 1) float32 for R rows, a row being one path of one image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
State = dict[str, Array]
"""The recurrent state of a tagger; the first axis of every array is the row."""


class Steps(Protocol):
    """A recurrent tagger, one step at a time."""

    num_tags: int

    def start(self, features: Array, concepts: Array | None) -> State:
        """Return the state before the first step, of (B, D) features and, if the tagger has them, (B, V) concepts."""
        ...

    def step(self, state: State, previous: Ids) -> tuple[Array, State]:
        """Feed the previous tag, (R,), and return (R, V + 1) log-probabilities and the next state.

        For a tagger without END its log-probability is -inf.
        """
        ...


@dataclass(frozen=True)
class Path:
    """One decoded list."""

    tags: list[int]
    log_probs: list[float]
    """Of each tag, given all tags before it."""
    ended: bool
    """Whether the tagger emitted END."""


def take(state: State, rows: Ids) -> State:
    """Return some rows of a state."""
    return {name: values[rows] for name, values in state.items()}


def feed(steps: Steps, state: State, prefixes: Sequence[Sequence[int]]) -> tuple[Array, State]:
    """Feed START and each row's prefix.

    Args:
        steps: The tagger.
        state: As `Steps.start` returned it, one row a prefix.
        prefixes: R lists of tag ids of any length.

    Returns:
        (R, V + 1) log-probabilities of the next tag, and the state after the prefixes.
    """
    inputs = [[steps.num_tags, *prefix] for prefix in prefixes]
    lengths = np.array([len(ids) for ids in inputs])
    log_probs = np.empty((len(inputs), steps.num_tags + 1), np.float32)
    for step in range(int(lengths.max(initial=0))):
        rows = np.flatnonzero(lengths > step)
        previous = np.array([inputs[row][step] for row in rows])
        if len(rows) == len(inputs):
            log_probs, state = steps.step(state, previous)
        else:
            log_probs[rows], moved = steps.step(take(state, rows), previous)
            state = {name: values.copy() for name, values in state.items()}
            for name, values in moved.items():
                state[name][rows] = values
    return log_probs, state


def mask_tags(num_tags: int, prefixes: Sequence[Sequence[int]], dropped: Sequence[Sequence[int]]) -> Mask:
    """Return (B, V): the tags that are not emitted, those of the prefix and the dropped ones."""
    masked = np.zeros((len(prefixes), num_tags), bool)
    for row, (prefix, refused) in enumerate(zip(prefixes, dropped, strict=True)):
        masked[row, [*prefix, *refused]] = True
    return masked


def search(
    steps: Steps,
    state: State,
    prefixes: Sequence[Sequence[int]],
    masked: Mask,
    *,
    k: int,
    free_length: bool = False,
    beam_width: int = 1,
) -> list[Path]:
    """Return each image's likeliest continuation; with a beam of one this is greedy search.

    Args:
        steps: The tagger.
        state: As `Steps.start` returned it, one row an image.
        prefixes: B lists of tag ids.
        masked: (B, V), from `mask_tags`.
        k: Most tags to emit; exactly k unless the length is free or no tag is left.
        free_length: END may be emitted at any step and ends the list.
        beam_width: Number of paths of each image.

    Returns:
        The best path of each image. Paths are compared by the sum of their log-probabilities.
    """
    num_images, width = len(prefixes), beam_width
    if num_images == 0 or k <= 0:
        return [Path([], [], False) for _ in prefixes]
    log_probs, state = feed(steps, state, prefixes)
    rows = np.repeat(np.arange(num_images), width)
    state, log_probs, taken = take(state, rows), log_probs[rows], masked[rows]
    totals = np.full(num_images * width, -np.inf)
    totals[::width] = 0.0  # the beams of an image start equal, so only the first may be extended
    ended = np.zeros(num_images * width, bool)
    emitted = np.full((num_images * width, k), -1)
    gains = np.zeros((num_images * width, k), np.float32)
    end = steps.num_tags
    for position in range(k):
        allowed = np.where(np.pad(taken, ((0, 0), (0, 1))), -np.inf, log_probs)  # (R, V + 1)
        if not free_length:
            allowed[:, end] = -np.inf
        exhausted = np.asarray(~np.isfinite(allowed).any(axis=1))
        allowed[np.flatnonzero(ended | exhausted)] = -np.inf
        allowed[np.flatnonzero(ended | exhausted), end] = 0.0  # a finished path is continued by END alone
        joint = (totals.reshape(-1, 1) + allowed).reshape(num_images, -1)
        best = np.argsort(-joint, axis=1, kind="stable")[:, :width]  # (B, W) of W (V + 1)
        parents = (best // (end + 1) + np.arange(num_images)[:, None] * width).ravel()
        tags = (best % (end + 1)).ravel()
        totals = np.take_along_axis(joint, best, axis=1).ravel()
        finished: Mask = ended[parents] | exhausted[parents]
        emitted, gains, taken = emitted[parents], gains[parents], taken[parents]
        now = ~finished & (tags != end)
        emitted[now, position] = tags[now]
        gains[now, position] = allowed[parents, tags][now]
        taken[now, tags[now]] = True
        ended = np.asarray(finished | (tags == end))
        if ended.all() or position == k - 1:
            break
        log_probs, state = steps.step(take(state, parents), np.where(tags == end, 0, tags))
    return [_read_path(emitted[row], gains[row], bool(ended[row])) for row in range(0, num_images * width, width)]


def _read_path(emitted: Ids, gains: Array, ended: bool) -> Path:
    num = int((emitted >= 0).sum())
    return Path(emitted[:num].tolist(), gains[:num].tolist(), ended)


def look_ahead(
    steps: Steps,
    log_probs: Array,
    state: State,
    masked: Mask,
    *,
    depth: int,
    width: int,
) -> Array:
    """Return the probability of each tag to be the first, second, ... after the prefix, over all continuations.

    P_1 is the next step's distribution over unmasked tags and END. P_j sums, over the `width` likeliest openings of
    j - 1 tags, (opening's probability) x (next step's distribution after it), and is scaled up to the probability of
    all openings, as if the others had the same mean distribution. A list that has ended adds nothing.

    Args:
        steps: The tagger.
        log_probs: (B, V + 1), from `feed`.
        state: From `feed`.
        masked: (B, V), from `mask_tags`.
        depth: J, the number of places.
        width: Openings that are continued for each image and place.

    Returns:
        (B, J, V) float32; over tags, the probabilities of a place sum to at most 1.
    """
    num_images, num_tags = masked.shape
    places = np.zeros((num_images, depth, num_tags), np.float32)
    joint = _normalise(log_probs, masked)[:, None, :num_tags]  # (B, W, V): of each opening and the next tag
    taken = masked[:, None, :]
    places[:, 0] = joint[:, 0]
    for place in range(1, depth):
        flat = joint.reshape(num_images, -1)
        best = np.argpartition(-flat, min(width, flat.shape[1]) - 1, axis=1)[:, :width]  # (B, W), W <= width
        openings = np.take_along_axis(flat, best, axis=1)  # (B, W)
        num_rows = joint.shape[1]
        parents = best // num_tags + np.arange(num_images)[:, None] * num_rows
        tags = best % num_tags
        log_probs, state = steps.step(take(state, parents.ravel()), tags.ravel())
        taken = taken.reshape(-1, num_tags)[parents].copy()  # (B, W, V)
        np.put_along_axis(taken, tags[:, :, None], True, axis=2)
        following = _normalise(log_probs, taken.reshape(-1, num_tags))[:, :num_tags]
        joint = openings[:, :, None] * following.reshape(taken.shape)
        followed = openings.sum(axis=1)
        scale = np.divide(places[:, place - 1].sum(axis=1), followed, out=np.zeros_like(followed), where=followed > 0)
        places[:, place] = joint.sum(axis=1) * scale[:, None]
    return places


def _normalise(log_probs: Array, masked: Mask) -> Array:
    """Return (R, V + 1) probabilities of unmasked tags and END; zeros for a row without any."""
    values = log_probs.copy()
    values[:, :-1][masked] = -np.inf
    top = values.max(axis=1, keepdims=True)
    powers: Array = np.exp(values - np.where(np.isfinite(top), top, 0.0))
    total = powers.sum(axis=1, keepdims=True)
    result: Array = np.divide(powers, total, out=np.zeros_like(powers), where=total > 0)
    return result
