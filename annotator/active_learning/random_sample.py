"""The random sample of a project's photos, and which of them are anchoring probes: by a seeded hash of the content.

A photo belongs to it or not whatever the folder, the order or the strategy, so what is measured on the sample holds
for all photos. A larger share only adds to it. Knows nothing of queues or stores.
"""

from typing import Literal

from annotator.storage.stable_hash import hash_key

Probe = Literal["hidden", "shuffled"]


def sample_key(content_hash: str, seed: int = 0) -> float:
    """Return where a photo stands in the random sample's order, in [0, 1)."""
    return hash_key("sample", content_hash, seed)


def is_in_sample(content_hash: str, share: float, seed: int = 0) -> bool:
    """Tell whether a photo belongs to the random sample.

    Args:
        content_hash: The photo's.
        share: Of all photos, in [0, 1].
        seed: Of the draw.
    """
    return sample_key(content_hash, seed) < share


def probe_of(content_hash: str, random_share: float, probe_share: float, seed: int = 0) -> Probe | None:
    """Return what is done to a photo's proposals: half of the probes have them hidden, half shuffled.

    Args:
        content_hash: The photo's.
        random_share: Of all photos, in the random sample.
        probe_share: Of the random sample, in [0, 1].
        seed: Of the draw.
    """
    key = hash_key("probe", content_hash, seed)
    if key >= probe_share or not is_in_sample(content_hash, random_share, seed):
        return None
    return "hidden" if key < probe_share / 2 else "shuffled"


def shuffle_key(content_hash: str, tag: str, seed: int = 0) -> float:
    """Return where a tag stands on a photo whose proposals are shuffled: the same place after every edit."""
    return hash_key(f"shuffle {tag}", content_hash, seed)
