"""Which taggers a project can choose from, and the one that proposes now.

The starter's taggers that come with the package, checkpoints in the project's folder, one named on the command line,
and the cold start. Knows nothing of how proposals are shown.
"""

import threading
from dataclasses import dataclass
from pathlib import Path

from annotator.errors import CheckpointError, ConfigError
from annotator.models import checkpoint
from annotator.models.backbone import Backbone
from annotator.models.cold_start import ColdStartTagger
from annotator.models.tagger import Tagger

COLD_START = "cold_start"
_LABELS = {
    "scnn_rnn": "S-CNN-RNN",
    "jvsp": "JVSP",
    "ranked_lstm": "Ranked LSTM",
    "zero_shot": "Zero-shot",
    "cold_start": "Cold start",
}


@dataclass(frozen=True)
class TaggerChoice:
    """A tagger that can be chosen."""

    name: str
    """What the settings keep: ``cold_start``, ``starter/NAME``, or a checkpoint's folder."""
    label: str
    """What a person reads."""


class TaggerShelf:
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
        self._chosen = chosen
        self._taggers = self._load(chosen)

    @property
    def chosen(self) -> str:
        """The name of the tagger that proposes now."""
        return self._chosen

    @property
    def taggers(self) -> tuple[Tagger, ...]:
        """The tagger that proposes now, then the ones that add what it lacks."""
        return self._taggers

    def choices(self) -> list[TaggerChoice]:
        """Return everything that can be chosen, the trained ones first."""
        names = [f"{checkpoint.STARTER}/{name}" for name in checkpoint.starter_names()]
        names += [str(folder) for folder in _checkpoint_folders(self._checkpoints_path)]
        if self._chosen not in (*names, COLD_START):
            names.insert(0, self._chosen)
        return [TaggerChoice(name, self._label(name)) for name in (*names, COLD_START)]

    def choose(self, name: str) -> None:
        """Let another tagger propose from now on.

        Raises:
            ConfigError: It is not among the choices.
            CheckpointError: Its checkpoint is damaged or of another backbone.
        """
        with self._lock:
            names = [choice.name for choice in self.choices()]
            if name not in names:
                raise ConfigError(f"There is no tagger {name[:80]!r} here. Choose one of: {', '.join(names)}.")
            self._taggers = self._load(name)
            self._chosen = name

    def _load(self, name: str) -> tuple[Tagger, ...]:
        if name == COLD_START:
            return (self.cold_start,)
        return (checkpoint.load(name, backbone=self._backbone), self.cold_start)

    def _label(self, name: str) -> str:
        if name == COLD_START:
            return _LABELS[COLD_START]
        try:
            info = checkpoint.read_info(name)
        except CheckpointError:
            return f"{Path(name).name} (damaged)"
        label = _LABELS.get(info.name, info.name)
        where = "starter" if name.startswith(checkpoint.STARTER) else Path(name).name
        return f"{label}, {where}"


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
