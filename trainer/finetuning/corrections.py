"""Corrections as training data: the proposed list, the saved list, the user, the time, the tagger that proposed.

Also their division into training and validation splits. Knows nothing of databases, optimisers or user interfaces.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from annotator.datasets.tags import tag_key
from annotator.models.tagger import Features

NEAR_DUPLICATE = 0.85
"""Least cosine similarity of near-duplicates: 95% of two shots of one scene with the camera moved by a twentieth reach
it, and 0.4% of 11,000 unrelated photos have another one that does; see docs/experiments."""

Pair = tuple[str, str]
"""(the tag that the person put first, the tag that they put after it)."""


@dataclass(frozen=True)
class Correction:
    """The current correction of one photo."""

    image_id: int
    content_hash: str
    """Hash of the photo's file; equal in every project that holds the photo."""
    event_id: int
    """Number of its event in the log; a newer correction has a larger one."""
    tags: tuple[str, ...]
    """The saved list, most important first."""
    dropped: tuple[str, ...] = ()
    """Proposed tags that the person refused."""
    shown: tuple[str, ...] = ()
    """The first proposed list, best first."""
    tagger: str = ""
    """The model that proposed it."""
    user: str = ""
    saved_at: str = ""
    """ISO 8601, UTC."""
    features: Features = field(default_factory=lambda: np.zeros(0, np.float32), repr=False, compare=False)
    """(D,) float32."""

    @property
    def refused(self) -> tuple[str, ...]:
        """The dropped tags that are not in the saved list; a tag that was dropped and added again is not among them."""
        kept = {tag_key(tag) for tag in self.tags}
        return tuple(tag for tag in self.dropped if tag_key(tag) not in kept)

    @property
    def passed_over(self) -> tuple[str, ...]:
        """The shown tags that were neither kept nor dropped."""
        decided = {tag_key(tag) for tag in (*self.tags, *self.dropped)}
        return tuple(tag for tag in self.shown if tag_key(tag) not in decided)

    @property
    def swapped(self) -> tuple[Pair, ...]:
        """The pairs of kept tags in the opposite of the shown order."""
        rank = {tag_key(tag): at for at, tag in enumerate(self.shown)}
        return tuple(
            (before, behind)
            for before, behind in combinations(self.tags, 2)
            if rank.get(tag_key(before), -1) > rank.get(tag_key(behind), len(rank))
        )


def is_gold(content_hash: str, share: float) -> bool:
    """Tell whether a photo is in the gold split: the share of photos that no model is ever trained on.

    Decided by the content hash: a photo is always on the same side, and a larger share contains a smaller one.
    """
    digest = hashlib.sha256(f"gold {content_hash}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


@dataclass(frozen=True)
class Division:
    """The splits of the corrections for one fine-tuning."""

    fresh: list[Correction]
    """Training split: no earlier model was trained on them in their current form."""
    replay: list[Correction]
    """What the live model was trained on, replayed against forgetting."""
    gold: list[Correction]
    """Validation split that no model is ever trained on."""
    newest: list[Correction]
    """Validation split of the newest corrections, held back once; the next fine-tuning may train on them."""

    @property
    def held_back(self) -> list[Correction]:
        """The validation splits: neither the live model nor the candidate is trained on them."""
        return [*self.gold, *self.newest]


def divide(
    corrections: Sequence[Correction], trained: Mapping[str, int], *, gold_share: float, newest_share: float
) -> Division:
    """Divide corrections into training, replay and validation splits.

    A photo with a near-duplicate in the training or replay split is no validation photo: it moves to the training
    split, or is left out if it is gold.

    Args:
        corrections: One a photo.
        trained: Content hash -> event id of all that the live model and its ancestors were trained on.
        gold_share: Of all photos, in [0, 1).
        newest_share: Of the new photos, in [0, 1]; the last ones of the log are held back.
    """
    ordered = sorted(corrections, key=lambda item: item.event_id)
    is_apart = {item.content_hash: is_gold(item.content_hash, gold_share) for item in ordered}
    gold = [item for item in ordered if is_apart[item.content_hash] and item.content_hash not in trained]
    taught = [item for item in ordered if not is_apart[item.content_hash]]
    replay = [item for item in taught if trained.get(item.content_hash) == item.event_id]
    fresh = [item for item in taught if trained.get(item.content_hash) != item.event_id]
    # A photo that was corrected again is training data only: an earlier model was trained on it.
    unseen = [item for item in fresh if item.content_hash not in trained]
    num_newest = int(len(unseen) * newest_share)
    newest = unseen[len(unseen) - num_newest :]
    held_back = {item.content_hash for item in newest}
    learnt = [item for item in fresh if item.content_hash not in held_back]
    unlike, alike = _apart(newest, [*learnt, *replay])
    while alike:  # a photo moved to the training split may have near-duplicates itself
        learnt += alike
        unlike, alike = _apart(unlike, alike)
    return Division(learnt, replay, _apart(gold, [*learnt, *replay])[0], unlike)


def _apart(candidates: list[Correction], learnt: Sequence[Correction]) -> tuple[list[Correction], list[Correction]]:
    """Return (candidates without a near-duplicate in `learnt`, those with one), as bursts of shots have them."""
    if not candidates or not learnt:
        return candidates, []
    sides = [np.stack([item.features for item in side]) for side in (candidates, learnt)]
    ours, theirs = (side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9) for side in sides)
    is_alike = [bool((theirs @ one >= NEAR_DUPLICATE).any()) for one in ours]
    unlike = [item for item, is_one in zip(candidates, is_alike, strict=True) if not is_one]
    return unlike, [item for item, is_one in zip(candidates, is_alike, strict=True) if is_one]
