"""A seeded hash that maps content to [0, 1): the same photo gets the same number in every project and order."""

import hashlib


def hash_key(purpose: str, content_hash: str, seed: int = 0) -> float:
    """Return a number in [0, 1), uniform over contents and independent between purposes.

    Args:
        purpose: What it is used for.
        content_hash: Of the photo.
        seed: Another seed gives another draw.
    """
    digest = hashlib.blake2b(f"{seed}:{purpose}:{content_hash}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
