"""Settings: one frozen dataclass for each concern.

Knows nothing of files or servers: storage/project.py reads and writes them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from annotator.datasets.order_rules import rules_from
from annotator.datasets.photo_fields import FieldSpec, fields_from
from annotator.errors import ConfigError
from annotator.keymap import DEFAULT_KEYS, check_keys
from annotator.models.backbones.prompts import DEFAULT_PROMPTS, check_prompts
from annotator.ranges import check_range

DETECTOR_CHOICES = ("nanodet", "torchvision", "none")
SIDECAR_PROFILES = ("adobe", "digikam", "immich", "darktable")
"""Programs for which sidecars can be kept in step; see datasets/formats/xmp.py."""
VOCABULARY_USES = ("extend", "restrict")

STRATEGIES: dict[str, str] = {
    "in_order": "in the order of the folder",
    "random": "at random",
    "entropy": "least certain first",
    "entropy_k_centre": "least certain, and unlike each other",
    "disagreement": "where taggers disagree",
    "information_per_second": "most to learn a second of work",
    "largest_cluster": "most typical first",
}
"""Query strategy -> its label on the page; see active_learning/query_strategies.py."""


LEAST_PROBABILITY = 0.03
"""Default of the least probability of a proposal. On captions it takes .007 right tags a photo out of the first nine;
.06 takes .13."""


@dataclass(frozen=True)
class IngestConfig:
    """How photos are read."""

    num_decode_threads: int = 2
    """Threads that read, hash and decode files."""
    num_network_threads: int = 2
    """Threads of the backbone on the CPU."""
    num_detector_threads: int = 1
    """Threads of the detector on the CPU; it runs in the background, for minutes."""
    batch_size: int = 32
    """Images per backbone call. The first batches are smaller, so that the first photo is ready quickly."""
    thumbnail_size: int = 320
    """Longest side of a thumbnail, in pixels."""

    def __post_init__(self) -> None:
        check_range(self, "num_decode_threads", 1, 64)
        check_range(self, "num_network_threads", 1, 64)
        check_range(self, "num_detector_threads", 1, 64)
        check_range(self, "batch_size", 1, 512)
        check_range(self, "thumbnail_size", 64, 1024)


@dataclass(frozen=True)
class ServerConfig:
    """Address of the server, and limits of its requests."""

    host: str = "127.0.0.1"
    port: int = 7860
    """0: any free port."""
    max_body_bytes: int = 1_000_000
    """Largest accepted request body."""
    max_upload_bytes: int = 4_000_000_000
    """Largest file that an import may be sent."""
    allowed_hosts: tuple[str, ...] = ()
    """Further accepted host names, besides the loopback ones and ``host``."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies whose headers on the client's address and on TLS are trusted."""
    root_path: str = ""
    """Prefix of the path under which a reverse proxy offers the page, such as /photos; empty: none."""
    drain_seconds: float = 5.0
    """When the server is told to end: how long requests that it has may take."""

    def __post_init__(self) -> None:
        check_range(self, "port", 0, 65535)
        if not re.fullmatch(r"(/[\w.~-]+)*", self.root_path, re.ASCII):
            raise ConfigError(f"{self.root_path[:80]!r} is no path prefix; write it like /photos.")
        check_range(self, "drain_seconds", 0, 3600)
        check_range(self, "max_body_bytes", 10_000, 1_000_000_000)
        check_range(self, "max_upload_bytes", 10_000, 100_000_000_000)
        for proxy in self.trusted_proxies:
            _check_network(proxy)


@dataclass(frozen=True)
class ObservationConfig:
    """What a server tells of itself to the programs that watch it; nothing unless it is asked for."""

    metrics: tuple[str, int] | None = None
    """Host and port on which Prometheus may ask for metrics; port 0: any free one. None: nowhere."""
    traces: bool = False
    """Whether a span of each request is sent to the collector that the OTEL_* variables name."""


def _check_network(text: str) -> None:
    try:
        ip_network(text)
    except ValueError:
        raise ConfigError(
            f"{text[:80]!r} is no address and no network of a proxy; write it like 10.0.0.7 or 10.0.0.0/8."
        ) from None


@dataclass(frozen=True)
class LoopSettings:
    """When the model is trained on corrections, and when a trained model goes live."""

    train_after: int = 50
    """New corrections after which a training starts automatically; 0: never."""
    train_every_minutes: float = 0.0
    """Minutes after which a training starts automatically if there is a new correction; 0: never."""
    promotes: bool = True
    """Whether a candidate that passes the promotion test goes live automatically."""
    gold_share: float = 0.15
    """Share of the photos that no model is ever trained on."""
    newest_share: float = 0.2
    """Share of the new corrections that are held out from a training, for its promotion test."""
    least_photos: int = 10
    """Least number of held-out corrections for a candidate to go live."""
    most_photos: int = 200
    """Most held-out corrections of a test, the newest; more take time and add little."""
    confidence: float = 0.9
    """Confidence level of the interval that must lie above 0."""
    gold_margin: float = 0.1
    """Actions per photo by which a candidate may be worse on the gold photos."""
    num_threads: int = 1
    """CPU threads of the training process."""
    niceness: int = 10
    """`nice` value of the training process: its priority is lower than that of the server."""

    def __post_init__(self) -> None:
        check_range(self, "train_after", 0, 1_000_000)
        check_range(self, "train_every_minutes", 0, 1_000_000)
        check_range(self, "gold_share", 0, 0.9)
        check_range(self, "newest_share", 0, 0.9)
        check_range(self, "least_photos", 1, 100_000)
        check_range(self, "most_photos", 1, 100_000)
        check_range(self, "confidence", 0.5, 0.999)
        check_range(self, "gold_margin", 0, 100)
        check_range(self, "num_threads", 1, 64)
        check_range(self, "niceness", 0, 19)


@dataclass(frozen=True)
class ProjectSettings:
    """What is stored of a project besides its database."""

    name: str
    backbone: str = "efficientnet_lite0"
    backbone_weights: str = ""
    """File of a fine-tuned network in the project's folder `backbones`; empty: the published weights."""
    tagger: str = ""
    """The chosen tagger (proposals/tagger_catalog.py); empty: the one that comes with the program."""
    word_vectors: str = ""
    """glove, wordnet or a file's path; empty: wordnet if it was built, otherwise glove."""
    detector: str = ""
    """``nanodet``, ``torchvision`` or ``none``; empty: NanoDet if it is installed."""
    vision_language_model: str = ""
    """The vision-language model whose stored answers are proposed; empty: none. Its address is not stored: photos are
    sent only while ``--vlm`` names it."""
    vocabulary: str = ""
    """What the imported vocabulary does: ``extend`` or ``restrict`` what may be proposed; empty: nothing."""
    prompts: tuple[str, ...] = DEFAULT_PROMPTS
    """Texts by which an image-text model is asked for a tag, which stands for {}; their embeddings are averaged."""
    strategy: str = "in_order"
    """How the next photo is selected; see active_learning/query_strategies.py."""
    random_share: float = 0.2
    """Share of the photos in the random sample, which is mixed into every strategy's order; see
    active_learning/random_sample.py."""
    probe_share: float = 0.0
    """Share of the random sample on which proposals are hidden or shuffled."""
    asked_people: int = 0
    """How many people are asked about each photo that is added from now on (collaboration/responses.py). 0: one person
    saves a photo, as usual."""
    asked_share: float = 1.0
    """Share of the added photos that several people are asked about."""
    keys: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(DEFAULT_KEYS))
    loop: LoopSettings = field(default_factory=LoopSettings)
    show_expected: bool = True
    """Whether a line is drawn below the proposals that are more likely right than wrong; one key takes them all."""
    never_proposed: tuple[str, ...] = ()
    """Tags that no source proposes and no completion offers before they are typed in full."""
    sidecars: str = ""
    """The program for which XMP sidecars are written after each save (`SIDECAR_PROFILES`); empty: none are."""
    least_probability: float = LEAST_PROBABILITY
    """Least probability of a proposal: a list ends before tags that are less likely."""
    order_rules: dict[str, Any] = field(default_factory=dict)
    """Rules for the order of a list that is saved (datasets/order_rules.py); empty: none."""
    saved_searches: dict[str, dict[str, str]] = field(default_factory=dict)
    """Name -> ``query``, ``state`` and ``sort`` of a search of the library."""
    fields: tuple[FieldSpec, ...] = ()
    """What is written of a photo beside its tags (datasets/photo_fields.py)."""

    def __post_init__(self) -> None:
        if isinstance(self.loop, Mapping):  # as read from JSON
            object.__setattr__(self, "loop", LoopSettings(**self.loop))
        if not isinstance(self.name, str) or not self.name.strip():
            raise ConfigError("A project needs a name.")
        if not isinstance(self.backbone, str):
            raise ConfigError(f"backbone must be a name, got {self.backbone!r}.")
        if not isinstance(self.backbone_weights, str) or "/" in self.backbone_weights:
            raise ConfigError(f"backbone_weights must be the name of a file, got {self.backbone_weights!r}.")
        if not isinstance(self.word_vectors, str):
            raise ConfigError(f"word_vectors must be a name or a path, got {self.word_vectors!r}.")
        if not isinstance(self.vision_language_model, str):
            raise ConfigError(f"vision_language_model must be a name, got {self.vision_language_model!r}.")
        if self.vocabulary not in ("", *VOCABULARY_USES):
            raise ConfigError(f"vocabulary must be one of {', '.join(VOCABULARY_USES)}, got {self.vocabulary!r}.")
        if not isinstance(self.prompts, list | tuple):
            raise ConfigError(f"prompts must be a list of texts, got {self.prompts!r}.")
        object.__setattr__(self, "prompts", check_prompts(self.prompts))
        if self.detector not in ("", *DETECTOR_CHOICES):
            raise ConfigError(f"detector must be one of {', '.join(DETECTOR_CHOICES)}, got {self.detector!r}.")
        if self.sidecars not in ("", *SIDECAR_PROFILES):
            raise ConfigError(f"sidecars must be one of {', '.join(SIDECAR_PROFILES)}, got {self.sidecars!r}.")
        if self.strategy not in STRATEGIES:
            raise ConfigError(
                f"There is no strategy {str(self.strategy)[:80]!r}. Choose one of: {', '.join(STRATEGIES)}."
            )
        check_range(self, "random_share", 0, 1)
        check_range(self, "probe_share", 0, 1)
        check_range(self, "asked_people", 0, 20)
        check_range(self, "asked_share", 0, 1)
        never = self.never_proposed
        if not isinstance(never, list | tuple) or not all(isinstance(tag, str) for tag in never):
            raise ConfigError(f"never_proposed must be a list of tags, got {never!r}.")
        object.__setattr__(self, "never_proposed", tuple(never))
        check_range(self, "least_probability", 0, 1)
        if not isinstance(self.show_expected, bool):
            raise ConfigError(f"show_expected must be true or false, got {self.show_expected!r}.")
        object.__setattr__(self, "keys", check_keys(self.keys))
        rules_from(self.order_rules, "The order_rules")
        object.__setattr__(self, "fields", fields_from(self.fields))
        check_searches(self.saved_searches)


def check_searches(searches: Any) -> None:
    """Refuse what is no collection of saved searches.

    Raises:
        ConfigError: It is none.
    """
    is_sound = isinstance(searches, Mapping) and all(
        isinstance(name, str) and isinstance(one, Mapping) and set(one) == {"query", "state", "sort"}
        and all(isinstance(value, str) for value in one.values())
        for name, one in searches.items()
    )  # fmt: skip
    if not is_sound:
        raise ConfigError("saved_searches must map names to query, state and sort.")
