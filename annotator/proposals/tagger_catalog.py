"""Which taggers a project can choose from, and the one that proposes now.

The starter's taggers that come with the package, checkpoints in the project's folder, one named on the command line,
and the cold start. Knows nothing of how proposals are shown.
"""

import logging
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from weakref import WeakValueDictionary

from annotator.datasets.word_forms import form_key
from annotator.errors import CheckpointError, ConfigError, WordVectorError
from annotator.models import checkpoint
from annotator.models.backbones.backbone import Backbone
from annotator.models.new_tags import ExtendableTagger, Mixture, extend
from annotator.models.tagger import Tagger
from annotator.models.taggers.cold_start import COLD_START, ColdStartTagger
from annotator.models.taggers.open_vocabulary import AddedWords, OpenVocabulary
from annotator.models.word_vectors.word_vectors import WordVectors

logger = logging.getLogger(__name__)

PROJECT_PREFIX = "checkpoints/"
"""Before the name of a checkpoint in the project's own folder: a copied project finds it again."""
MAX_NEW_TAGS = 500
"""Most tags of a project for which rows are made; each makes every proposal a little slower."""
_LABELS = {
    "scnn_rnn": "S-CNN-RNN",
    "jvsp": "JVSP",
    "ranked_lstm": "Ranked LSTM",
    "zero_shot": "Zero-shot",
    "open_vocabulary": "Open vocabulary",
    "visual_only": "Visual only",
    "ltn": "LTN",
    "rtn": "RTN",
    "ltn_vecs": "LTN+Vecs",
    "ltn_all_vecs": "LTN+AllVecs",
    "ltwin": "LTwin",
    "ltwin_rnn": "LTwin+RNN",
    "ltwin_2rnn": "LTwin+2RNN",
    "lzip": "LZip",
    "cold_start": "Cold start",
}


@dataclass(frozen=True)
class TaggerChoice:
    """A tagger that can be chosen."""

    name: str
    """What the settings keep: ``cold_start``, ``starter/NAME``, ``checkpoints/NAME`` in the project, or a folder."""
    label: str
    """What a person reads."""


class TaggerCatalog:
    """The taggers of one project.

    Args:
        backbone: Whose features they take.
        checkpoints_path: The project's own checkpoints, one folder each.
        chosen: The name in the project's settings; a checkpoint elsewhere is offered too while it is chosen.

    Raises:
        CheckpointError: The chosen checkpoint is missing, damaged or of another backbone.
    """

    def __init__(self, backbone: Backbone, checkpoints_path: Path, chosen: str) -> None:
        self._backbone = backbone
        self._checkpoints_path = checkpoints_path
        self._lock = threading.Lock()
        self.cold_start = ColdStartTagger(backbone)
        self._chosen = self._own_name(chosen)
        self._word_vectors: WordVectors | None = None
        self._new_tags: tuple[str, ...] = ()
        self._mixtures: dict[str, Mixture | None] = {}
        """Of new tags, for the tagger and the word vectors of now."""
        self._taggers = self._loaded = self._load(self._chosen)
        self._is_behind = False
        """Whether tags were added that `_taggers` lacks."""
        self._known = _forms(self._loaded)
        self.open_vocabulary = load_open_vocabulary(backbone)
        """Scores words that no tagger knows; None where the package has none for this backbone."""
        self.added_words = AddedWords(self.open_vocabulary) if self.open_vocabulary else None
        """Scores the project's own tags with it, once `use_word_vectors` was called."""

    @property
    def chosen(self) -> str:
        """The name of the tagger that proposes now."""
        return self._chosen

    @property
    def taggers(self) -> tuple[Tagger, ...]:
        """The tagger that proposes now, then the ones that add what it lacks."""
        if self._is_behind:
            with self._lock:
                if self._is_behind:
                    self._extend()
        return self._taggers

    def choices(self) -> list[TaggerChoice]:
        """Return everything that can be chosen, the trained ones first."""
        names = [f"{checkpoint.STARTER}/{name}" for name in checkpoint.starter_names()]
        names += [PROJECT_PREFIX + folder.name for folder in _checkpoint_folders(self._checkpoints_path)]
        if self._chosen not in (*names, COLD_START):
            names.insert(0, self._chosen)
        return [TaggerChoice(name, self.label_of(name)) for name in (*names, COLD_START)]

    def choose(self, name: str) -> None:
        """Let another tagger propose from now on.

        Raises:
            ConfigError: It is not among the choices.
            CheckpointError: Its checkpoint is damaged or of another backbone.
        """
        with self._lock:
            name = self._own_name(name)
            names = [choice.name for choice in self.choices()]
            if name not in names:
                raise ConfigError(f"There is no tagger {name[:80]!r} here. Choose one of: {', '.join(names)}.")
            self._loaded = self._load(name)
            self._known = _forms(self._loaded)
            self._mixtures = {}
            self._extend()
            self._chosen = name

    def others(self, num: int) -> list[Tagger]:
        """Load up to this many other trained taggers of the same backbone; damaged ones are passed over.

        Args:
            num: At most; each is loaded from its checkpoint.
        """
        loaded: list[Tagger] = []
        for choice in self.choices():
            if len(loaded) == num:
                break
            if choice.name not in (self._chosen, COLD_START):
                try:
                    loaded.append(checkpoint.load(choice.name, backbone=self._backbone))
                except CheckpointError as error:
                    logger.info("Not asked for its opinion: %s", error)
        return loaded

    def use_word_vectors(self, word_vectors: WordVectors, tags: Sequence[str]) -> None:
        """Let the trained tagger propose a project's own tags, too, by rows made from words that it knows.

        Args:
            word_vectors: Tell which words are near.
            tags: The tags in use, the most frequent first.
        """
        with self._lock:
            self._word_vectors = word_vectors
            self._new_tags = tuple(tags[:MAX_NEW_TAGS])
            self._mixtures = {}
            self._extend()
        if self.added_words is not None:
            try:
                self.added_words.load()
            except WordVectorError as error:
                logger.warning("The open vocabulary does not score the project's own tags: %s", error)

    def add_tags(self, tags: Collection[str]) -> None:
        """Note tags that were just saved; those that no tagger knows are proposed from now on."""
        with self._lock:
            new = [tag for tag in tags if tag not in self._new_tags and form_key(tag) not in self._known]
            if self._word_vectors is not None and new and len(self._new_tags) < MAX_NEW_TAGS:
                self._new_tags = (*self._new_tags, *new)
                self._is_behind = True  # until a proposal is asked for: a save need not wait

    def _extend(self) -> None:
        self._taggers = with_rows_for(self._new_tags, self._loaded, self._word_vectors, self._mixtures)
        self._is_behind = False

    def _load(self, name: str) -> tuple[Tagger, ...]:
        if name == COLD_START:
            return (self.cold_start,)
        return (_load_shared(self.source_of(name), self._backbone), self.cold_start)

    def source_of(self, name: str) -> str | Path:
        """Return where the checkpoint of a name lies: a folder, or ``starter/NAME``."""
        is_own = name.startswith(PROJECT_PREFIX)
        return self._checkpoints_path / name.removeprefix(PROJECT_PREFIX) if is_own else name

    def version_of(self, name: str) -> str:
        """Return a tagger's registry name and version, as suggestions name it."""
        if name == self._chosen:
            return f"{self._loaded[0].name} {self._loaded[0].version}"
        if name == COLD_START:
            return f"{self.cold_start.name} {self.cold_start.version}"
        try:
            info = checkpoint.read_info(self.source_of(name))
        except CheckpointError:
            return "damaged"
        return f"{info.name} {info.version}"

    def _own_name(self, name: str) -> str:
        """Return how a checkpoint in the project's folder is named, however it was given."""
        path = Path(name)
        is_own = path.is_absolute() and path.parent == self._checkpoints_path
        return PROJECT_PREFIX + path.name if is_own else name

    def label_of(self, name: str) -> str:
        """Return what a person reads of a tagger."""
        if name == COLD_START:
            return _LABELS[COLD_START]
        try:
            changed = (checkpoint.find(self.source_of(name)) / checkpoint.SETTINGS_FILE).stat().st_mtime_ns
            tagger = _tagger_name(str(self.source_of(name)), changed)
        except (CheckpointError, OSError):
            return f"{Path(name).name} (damaged)"
        label = _LABELS.get(tagger, tagger)
        where = "starter" if name.startswith(checkpoint.STARTER) else Path(name).name
        return f"{label}, {where}"


def with_rows_for(
    tags: Sequence[str],
    taggers: tuple[Tagger, ...],
    word_vectors: WordVectors | None,
    mixtures: dict[str, Mixture | None] | None = None,
) -> tuple[Tagger, ...]:
    """Return taggers, the first with rows for the tags that neither it nor the others know.

    Args:
        tags: A project's tags.
        taggers: The trained one first.
        word_vectors: Tell which words are near; None adds nothing.
        mixtures: As `extend` takes them.
    """
    first, *others = taggers
    if not others or word_vectors is None or not isinstance(first, ExtendableTagger):
        return taggers
    known = _forms(taggers)
    return (extend(first, word_vectors, [tag for tag in tags if form_key(tag) not in known], mixtures), *others)


def _forms(taggers: Sequence[Tagger]) -> frozenset[str]:
    return frozenset(form_key(word) for tagger in taggers for word in tagger.allowed_words())


@lru_cache(maxsize=256)
def _tagger_name(checkpoint_name: str, changed: int) -> str:
    """Return which tagger a checkpoint holds; read again only once its file has changed."""
    return checkpoint.read_info(checkpoint_name).name


def load_open_vocabulary(backbone: Backbone) -> OpenVocabulary | None:
    """Return the open vocabulary that comes with the package, if it was taught on this backbone's features."""
    name = f"{checkpoint.STARTER}/{OpenVocabulary.name}"
    try:
        checkpoint.check_backbone(checkpoint.read_info(name), backbone)
    except CheckpointError:
        return None
    found = _load_shared(name, backbone)
    return found if isinstance(found, OpenVocabulary) else None


def _load_shared(source: str | Path, backbone: Backbone) -> checkpoint.LoadedTagger:
    """Load a checkpoint; one that is in memory as it stands on the disk is shared, since nobody changes it.

    Raises:
        CheckpointError: It is missing, damaged or of another backbone.
    """
    info = checkpoint.read_info(source)
    checkpoint.check_backbone(info, backbone)
    key = (str(checkpoint.find(source).resolve()), info.version)
    with _LOADED_LOCK:
        tagger = _LOADED.get(key)
        if tagger is None:
            tagger = _LOADED[key] = checkpoint.load(source, backbone=backbone)
        return tagger


_LOADED: WeakValueDictionary[tuple[str, str], checkpoint.LoadedTagger] = WeakValueDictionary()
_LOADED_LOCK = threading.Lock()


def default_tagger(backbone: Backbone) -> str:
    """Return the name of the tagger that proposes unless another was chosen.

    The starter where the package carries one that was taught on this backbone's features, else the cold start.
    """
    try:
        name = f"{checkpoint.STARTER}/{checkpoint.STARTER_TAGGER}"
        checkpoint.check_backbone(checkpoint.read_info(name), backbone)
    except CheckpointError:
        return COLD_START
    return name


def _checkpoint_folders(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"*/{checkpoint.SETTINGS_FILE}"))
