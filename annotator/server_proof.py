"""How a server proves that it knows a secret, without telling it.

Knows nothing of HTTP.
"""

import hashlib
import hmac
import re

CHALLENGE = re.compile(r"[0-9a-f]{64}")


def proof_of(secret: str, challenge: str) -> str:
    """Return the answer to a challenge: an HMAC-SHA-256 under the secret, in hexadecimal digits.

    Args:
        secret: What only the server and its caller know.
        challenge: Chosen at random by the caller; matches `CHALLENGE`.
    """
    return hmac.new(secret.encode(), b"annotator server:" + challenge.encode(), hashlib.sha256).hexdigest()


def is_proof(text: str, secret: str, challenge: str) -> bool:
    """Tell whether a text is the answer to a challenge."""
    return hmac.compare_digest(text.encode(), proof_of(secret, challenge).encode())
