"""The taggers of a project: those that can be chosen, and the one in use.

Choices are the taggers that come with the package, checkpoints in the project's folder, one given on the command line,
and the cold start. Knows nothing of how proposals are shown.
"""

import logging
import threading
from collections.abc import Callable, Collection, Sequence
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
"""Start of the names of checkpoints in the project's folder; such names stay valid when the folder is copied."""
MAX_NEW_TAGS = 500
"""Most tags of a project for which rows are computed; each makes every proposal a little slower."""
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
    """Value in the settings: ``cold_start``, ``starter/NAME``, ``checkpoints/NAME`` in the project, or a folder."""
    label: str
    """Name for the user."""


class TaggerCatalog:
    """The taggers of one project.

    Args:
        backbone: Computes the features that the taggers take.
        checkpoints_path: The project's own checkpoints, one folder each.
        chosen: Name in the project's settings. A checkpoint outside the project is a choice while it is chosen.

    Raises:
        CheckpointError: The chosen checkpoint is missing, damaged or of another backbone.
    """

    def __init__(self, backbone: Backbone, checkpoints_path: Path, chosen: str) -> None:
        self._backbone = backbone
        self._checkpoints_path = checkpoints_path
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self.cold_start = ColdStartTagger(backbone)
        self._chosen = self._own_name(chosen)
        self._word_vectors: WordVectors | None = None
        self._new_tags: tuple[str, ...] = ()
        self._mixtures: dict[str, Mixture | None] = {}
        """Of new tags, for the present tagger and word vectors."""
        self._taggers = self._loaded = self._load(self._chosen)
        self._is_outdated = False
        """Whether tags were added for which `_taggers` has no rows yet."""
        self._known = _forms(self._loaded)
        self.open_vocabulary = load_open_vocabulary(backbone)
        """Scores words outside the taggers' vocabularies; None if the package has none for this backbone."""
        self.added_words = AddedWords(self.open_vocabulary) if self.open_vocabulary else None
        """Scores tags of the project with the open vocabulary, after `use_word_vectors`."""

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Call a function after each choice of another tagger."""
        self._listeners.append(listener)

    @property
    def chosen(self) -> str:
        """The name of the tagger in use."""
        return self._chosen

    @property
    def taggers(self) -> tuple[Tagger, ...]:
        """The tagger in use, then the cold start for words that it does not know."""
        if self._is_outdated:
            with self._lock:
                if self._is_outdated:
                    self._extend()
        return self._taggers

    def choices(self) -> list[TaggerChoice]:
        """Return all choices, the trained taggers first."""
        names = checkpoint.built_starters(self._backbone.name)
        if not names:
            names = [f"{checkpoint.STARTER}/{name}" for name in checkpoint.starter_names()]
        names += [PROJECT_PREFIX + folder.name for folder in _checkpoint_folders(self._checkpoints_path)]
        if self._chosen not in (*names, COLD_START):
            names.insert(0, self._chosen)
        return [TaggerChoice(name, self.label_of(name)) for name in (*names, COLD_START)]

    def choose(self, name: str) -> None:
        """Use another tagger.

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
        for listener in self._listeners:
            listener()

    def others(self, num: int) -> list[Tagger]:
        """Load other trained taggers of the same backbone; damaged ones are skipped.

        Args:
            num: Most taggers; each is loaded from its checkpoint.
        """
        loaded: list[Tagger] = []
        for choice in self.choices():
            if len(loaded) == num:
                break
            if choice.name not in (self._chosen, COLD_START):
                try:
                    loaded.append(checkpoint.load(choice.name, backbone=self._backbone))
                except CheckpointError as error:
                    logger.info("A tagger is skipped: %s", error)
        return loaded

    def use_word_vectors(self, word_vectors: WordVectors, tags: Sequence[str]) -> None:
        """Let the trained tagger propose the project's own tags, with rows computed from similar words that it knows.

        Args:
            word_vectors: Give the similarity of words.
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
        """Add tags that were just saved; those that no tagger knows get rows."""
        with self._lock:
            new = [tag for tag in tags if tag not in self._new_tags and form_key(tag) not in self._known]
            if self._word_vectors is not None and new and len(self._new_tags) < MAX_NEW_TAGS:
                self._new_tags = (*self._new_tags, *new)
                self._is_outdated = True  # rows are computed with the next proposal, not during the save

    def _extend(self) -> None:
        self._taggers = with_rows_for(self._new_tags, self._loaded, self._word_vectors, self._mixtures)
        self._is_outdated = False

    def _load(self, name: str) -> tuple[Tagger, ...]:
        if name == COLD_START:
            return (self.cold_start,)
        return (_load_shared(self.source_of(name), self._backbone), self.cold_start)

    def source_of(self, name: str) -> str | Path:
        """Return the checkpoint of a name: a folder, or ``starter/NAME``."""
        return checkpoint_of(self._checkpoints_path, name)

    def version_of(self, name: str) -> str:
        """Return a tagger's registry name and version as in `ProposedList.tagger`, or ``damaged``."""
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
        """Return the name of a tagger, with the path of a checkpoint in the project's folder replaced by its name."""
        path = Path(name)
        is_own = path.is_absolute() and path.parent == self._checkpoints_path
        return PROJECT_PREFIX + path.name if is_own else name

    def label_of(self, name: str) -> str:
        """Return a tagger's name for the user."""
        return tagger_label(self._checkpoints_path, name)


def checkpoint_of(checkpoints_path: Path, name: str) -> str | Path:
    """Return the checkpoint of a tagger: a folder, or ``starter/NAME``.

    Args:
        checkpoints_path: The project's own checkpoints.
        name: As in the project's settings.
    """
    is_own = name.startswith(PROJECT_PREFIX)
    return checkpoints_path / name.removeprefix(PROJECT_PREFIX) if is_own else name


def tagger_label(checkpoints_path: Path, name: str) -> str:
    """Return a tagger's name for the user; arguments as of `checkpoint_of`."""
    if name == COLD_START:
        return _LABELS[COLD_START]
    source = checkpoint_of(checkpoints_path, name)
    try:
        changed = (checkpoint.find(source) / checkpoint.SETTINGS_FILE).stat().st_mtime_ns
        tagger = _tagger_name(str(source), changed)
    except (CheckpointError, OSError):
        return f"{Path(name).name} ({'damaged' if Path(source).exists() else 'deleted'})"
    label = _LABELS.get(tagger, tagger)
    where = "starter" if name.startswith(checkpoint.STARTER) else Path(name).name
    return f"{label}, {where}"


def with_rows_for(
    tags: Sequence[str],
    taggers: tuple[Tagger, ...],
    word_vectors: WordVectors | None,
    mixtures: dict[str, Mixture | None] | None = None,
) -> tuple[Tagger, ...]:
    """Return the taggers, the first one with rows for the tags that none of them knows.

    Args:
        tags: A project's tags.
        taggers: The trained one first.
        word_vectors: Give the similarity of words; None adds no rows.
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
    """Return the registry name of a checkpoint's tagger; cached until its file changes."""
    return checkpoint.read_info(checkpoint_name).name


def load_open_vocabulary(backbone: Backbone) -> OpenVocabulary | None:
    """Return the open vocabulary of the starter, if it was trained on this backbone's features."""
    name = checkpoint.starter_for(f"{checkpoint.STARTER}/{OpenVocabulary.name}", backbone.name)
    try:
        checkpoint.check_backbone(checkpoint.read_info(name), backbone)
    except CheckpointError:
        return None
    found = _load_shared(name, backbone)
    return found if isinstance(found, OpenVocabulary) else None


def _load_shared(source: str | Path, backbone: Backbone) -> checkpoint.LoadedTagger:
    """Load a checkpoint; an unchanged one that is in memory is shared, since taggers are not modified.

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
    """Return the name of the default tagger.

    It is the starter if that was trained on this backbone's features, or built for it, else the cold start.
    """
    try:
        name = checkpoint.starter_for(f"{checkpoint.STARTER}/{checkpoint.STARTER_TAGGER}", backbone.name)
        checkpoint.check_backbone(checkpoint.read_info(name), backbone)
    except CheckpointError:
        return COLD_START
    return name


def _checkpoint_folders(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"*/{checkpoint.SETTINGS_FILE}"))
