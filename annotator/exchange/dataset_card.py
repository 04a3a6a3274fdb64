"""The card of a data set that is pushed to a hub: what is in it, in the form of Hugging Face's README.md.

Knows nothing of the hub.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from annotator import __version__
from annotator.datasets.formats.tagged_photo import TaggedPhoto

NUM_SHOWN = 20
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Fewer photos than this -> the hub's name of the size."""


@dataclass
class CardFacts:
    """What is counted of a data set."""

    num_photos: int = 0
    num_tags: int = 0
    tags: Counter[str] = field(default_factory=Counter)
    first: Counter[str] = field(default_factory=Counter)
    """Tags that are the most important of a photo."""

    def count(self, photos: Iterable[TaggedPhoto]) -> None:
        """Count photos."""
        for photo in photos:
            self.num_photos += 1
            self.num_tags += len(photo.tags)
            self.tags.update(photo.tags)
            self.first.update(photo.tags[:1])


def card_of(name: str, repo: str, format: str, licence: str, facts: CardFacts) -> str:
    """Return the card.

    Args:
        name: Title of the data set.
        repo: Its id on the hub, OWNER/NAME.
        format: ``imagefolder`` or ``parquet``.
        licence: The hub's name of a licence, such as cc-by-4.0; empty: not stated.
        facts: Counted of what was written.
    """
    size = next((label for most, label in SIZES if facts.num_photos < most), "1M<n<10M")
    head = [
        *([f"license: {json.dumps(licence)}"] if licence else []),
        f"pretty_name: {json.dumps(name, ensure_ascii=False)}",
        "task_categories:\n- image-classification",
        "tags:\n- ranked-tags\n- multi-label-image-classification\n- annotator",
        f"size_categories:\n- {size}",
    ]
    if format == "parquet":
        head.append('configs:\n- config_name: default\n  data_files: "*.parquet"')
    mean = facts.num_tags / facts.num_photos if facts.num_photos else 0.0
    text = [
        f"# {_plain(name)}",
        f"{facts.num_photos:,} photos with {len(facts.tags):,} different tags, {mean:.1f} a photo. A photo's tags are "
        "**ranked**: the most important one comes first.",
        f'```python\nfrom datasets import load_dataset\n\nload_dataset("{repo}")["train"][0]["tags"]\n```',
        "The lists were made by people who were shown ranked proposals of a model, and kept, dropped, added and "
        f"ordered tags, with annotator {__version__}. A tag that is not in a list was not necessarily looked for.",
        "| tag | photos | of these first |\n|---|---|---|\n"
        + "\n".join(f"| {_plain(tag)} | {num:,} | {facts.first[tag]:,} |" for tag, num in _most(facts.tags)),
    ]
    return "---\n" + "\n".join(head) + "\n---\n\n" + "\n\n".join(text) + "\n"


def _most(tags: Counter[str]) -> list[tuple[str, int]]:
    return sorted(tags.items(), key=lambda item: (-item[1], item[0]))[:NUM_SHOWN]


def _plain(text: str) -> str:
    """Return a text in which Markdown and HTML read nothing."""
    return "".join(f"\\{one}" if one in "\\`*_{}[]<>()#+-.!|~$&" else one for one in " ".join(text.split()))
