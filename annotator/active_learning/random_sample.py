"""The random sample of a project's photos, and its anchoring probes, drawn by a seeded hash of the content.

Whether a photo belongs to it depends on neither folder, order nor strategy, so measurements on the sample are unbiased
for all photos. A larger share contains the smaller ones. Knows nothing of queues or databases.
"""

from typing import Literal

from annotator.storage.stable_hash import hash_key

Probe = Literal["hidden", "shuffled"]


def sample_key(content_hash: str, seed: int = 0) -> float:
    """Return the sort key of a photo in the random sample, in [0, 1)."""
    return hash_key("sample", content_hash, seed)


def is_in_sample(content_hash: str, share: float, seed: int = 0) -> bool:
    """Tell whether a photo belongs to the random sample.

    Args:
        content_hash: Of the photo.
        share: Of all photos, in [0, 1].
        seed: Another seed gives another sample.
    """
    return sample_key(content_hash, seed) < share


def probe_of(content_hash: str, random_share: float, probe_share: float, seed: int = 0) -> Probe | None:
    """Return how a photo's proposals are changed: half of the probes have them hidden, half shuffled.

    Args:
        content_hash: Of the photo.
        random_share: Of all photos, in the random sample.
        probe_share: Of the random sample, in [0, 1].
        seed: Another seed gives another sample.
    """
    key = hash_key("probe", content_hash, seed)
    if key >= probe_share or not is_in_sample(content_hash, random_share, seed):
        return None
    return "hidden" if key < probe_share / 2 else "shuffled"


def shuffle_key(content_hash: str, tag: str, seed: int = 0) -> float:
    """Return the sort key of a tag among a photo's shuffled proposals: the same after every edit."""
    return hash_key(f"shuffle {tag}", content_hash, seed)
