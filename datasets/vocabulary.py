"""Word lists: the everyday words that a tag is completed to when the project has none that fits.

Knows nothing of projects or models.
"""

from importlib.resources import files


def everyday_words() -> list[str]:
    """Return about a thousand words people tag photos with, the more common ones first."""
    text = (files("annotator.datasets") / "everyday_words.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]
