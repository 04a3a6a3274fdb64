"""Corrections as a tagger learns from them: what was shown, what the person made of it, who, when, on whose proposal.

Also which of them nobody trains on. Knows nothing of databases, optimisers or pages.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from annotator.datasets.tags import tag_key
from annotator.models.tagger import Features

NEAR_DUPLICATE = 0.85
"""Cosine of features from which a photo is taken to show the same: 95% of two shots of a scene between which the camera
moved by a twentieth reach it, and of 11,000 unrelated photos 0.4% have another one that does. EXPERIMENTS.md."""

Pair = tuple[str, str]
"""(the tag that the person put before, the tag that they put behind)."""


@dataclass(frozen=True)
class Correction:
    """The standing correction of one photo."""

    image_id: int
    content_hash: str
    """Of the photo's file: the same photo has it in every project."""
    event_id: int
    """Its place in the log; a newer correction has a larger one."""
    tags: tuple[str, ...]
    """The final list, most important first."""
    dropped: tuple[str, ...] = ()
    """Proposed, and refused by the person."""
    shown: tuple[str, ...] = ()
    """The list first proposed, best first."""
    tagger: str = ""
    """Which model proposed it."""
    user: str = ""
    saved_at: str = ""
    """ISO 8601, UTC."""
    features: Features = field(default_factory=lambda: np.zeros(0, np.float32), repr=False, compare=False)
    """(D,) float32."""

    @property
    def refused(self) -> tuple[str, ...]:
        """The dropped tags that are not in the final list: who drops a tag and adds it again wants it."""
        kept = {tag_key(tag) for tag in self.tags}
        return tuple(tag for tag in self.dropped if tag_key(tag) not in kept)

    @property
    def passed_over(self) -> tuple[str, ...]:
        """The tags that were shown and neither kept nor dropped."""
        settled = {tag_key(tag) for tag in (*self.tags, *self.dropped)}
        return tuple(tag for tag in self.shown if tag_key(tag) not in settled)

    @property
    def swapped(self) -> tuple[Pair, ...]:
        """The pairs of kept tags that stand in the other order than they were shown in."""
        rank = {tag_key(tag): at for at, tag in enumerate(self.shown)}
        return tuple(
            (before, behind)
            for before, behind in combinations(self.tags, 2)
            if rank.get(tag_key(before), -1) > rank.get(tag_key(behind), len(rank))
        )


def is_gold(content_hash: str, share: float) -> bool:
    """Tell whether a photo belongs to the share that no model is ever trained on.

    By a hash of its content: the same photo always falls on the same side, and a larger share contains a smaller one.
    """
    digest = hashlib.sha256(f"gold {content_hash}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


@dataclass(frozen=True)
class Division:
    """Corrections, divided for one fine-tuning."""

    fresh: list[Correction]
    """To learn from: no model before has seen them as they now stand."""
    replay: list[Correction]
    """What the live model has learnt from and should not forget."""
    gold: list[Correction]
    """Never trained on."""
    newest: list[Correction]
    """Held back this time, to be learnt from next time."""

    @property
    def held_back(self) -> list[Correction]:
        """What neither the live model nor the candidate has been trained on."""
        return [*self.gold, *self.newest]


def divide(
    corrections: Sequence[Correction], trained: Mapping[str, int], *, gold_share: float, newest_share: float
) -> Division:
    """Divide corrections into what is learnt, replayed and held back.

    A photo does not judge if a near-duplicate of it is learnt from; then it is learnt from as well, unless it is gold.

    Args:
        corrections: One a photo.
        trained: Content hash -> event id of everything that the live model and its ancestors learnt from.
        gold_share: Of all photos, in [0, 1).
        newest_share: Of the fresh ones, in [0, 1); the last ones of the log are held back.
    """
    ordered = sorted(corrections, key=lambda item: item.event_id)
    is_apart = {item.content_hash: is_gold(item.content_hash, gold_share) for item in ordered}
    gold = [item for item in ordered if is_apart[item.content_hash] and item.content_hash not in trained]
    taught = [item for item in ordered if not is_apart[item.content_hash]]
    replay = [item for item in taught if trained.get(item.content_hash) == item.event_id]
    fresh = [item for item in taught if trained.get(item.content_hash) != item.event_id]
    # A photo that was corrected again is new to learn from, but it has been seen: it cannot judge.
    unseen = [item for item in fresh if item.content_hash not in trained]
    num_newest = int(len(unseen) * newest_share)
    newest = unseen[len(unseen) - num_newest :]
    held_back = {item.content_hash for item in newest}
    learnt = [item for item in fresh if item.content_hash not in held_back]
    unlike, alike = _apart(newest, [*learnt, *replay])
    while alike:  # what is now learnt from may look like others
        learnt += alike
        unlike, alike = _apart(unlike, alike)
    return Division(learnt, replay, _apart(gold, [*learnt, *replay])[0], unlike)


def _apart(judges: list[Correction], learnt: Sequence[Correction]) -> tuple[list[Correction], list[Correction]]:
    """Return (judges unlike all that is learnt from, the others): a burst tagged together falls on both sides."""
    if not judges or not learnt:
        return judges, []
    sides = [np.stack([item.features for item in side]) for side in (judges, learnt)]
    ours, theirs = (side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9) for side in sides)
    is_alike = [bool((theirs @ one >= NEAR_DUPLICATE).any()) for one in ours]
    unlike = [item for item, is_one in zip(judges, is_alike, strict=True) if not is_one]
    return unlike, [item for item, is_one in zip(judges, is_alike, strict=True) if is_one]
