"""The loop: when the model learns from corrections, whether what it learnt goes live, and how to go back.

Starts the training process, watches it, takes its candidate over, and swaps the live model without a pause: requests
under way finish with the model they began with. Whatever happens to the process, the live model stays until another
has been promoted. Knows nothing of pages, and of weights only where they lie.
"""

import json
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO

from annotator.errors import AnnotatorError, ConfigError, StoreError, TrainingError
from annotator.ingest.detection_pass import wanted_detector
from annotator.ingest.project_backbone import backbone_options
from annotator.json_types import JsonObject
from annotator.learning.job import CANDIDATE_FOLDER, JOB_FILE, Job
from annotator.learning.model_registry import Model, ModelRegistry, Run
from annotator.learning.snapshot import write_snapshot
from annotator.models import registry
from annotator.models.backbones.backbone import Backbone
from annotator.models.detectors.detector import NONE
from annotator.proposals.tagger_catalog import PROJECT_PREFIX, TaggerCatalog
from annotator.settings import LoopSettings
from annotator.storage.database import Store
from annotator.storage.project import Project, write_atomically
from annotator.storage.tag_changes import TagChanges

logger = logging.getLogger(__name__)

SNAPSHOT_FILE = "snapshot.parquet"
LOG_FILE = "log.txt"
LOCK_FILE = "training.lock"
SECONDS_TO_END = 20.0
SECONDS_BETWEEN_LOOKS = 1.0
"""Whether enough was corrected to learn from is asked no more often, however fast people save."""
"""How long a cancelled process may take before it is killed."""
LOOP_USER = "loop"
"""Who promotes when the gate does."""


@dataclass
class _Training:
    """The training that runs now."""

    run_id: int
    folder: Path
    process: "subprocess.Popen[str]"
    progress: JsonObject = field(default_factory=lambda: {"phase": "starting"})
    is_cancelled: bool = False


class ModelLoop:
    """The models of one open project.

    Args:
        project: Paths and settings.
        store: The database.
        shelf: What proposes.
        backbone: Whose features the models take.
        features_path: The feature file of that backbone.
        tag_changes: Renamed and merged tags.
        finetune: Settings of trainer/finetune.py that differ from its defaults.
    """

    def __init__(
        self,
        project: Project,
        store: Store,
        shelf: TaggerCatalog,
        backbone: Backbone,
        features_path: Path,
        tag_changes: TagChanges,
        finetune: JsonObject | None = None,
    ) -> None:
        self._project = project
        self._store = store
        self._shelf = shelf
        self._backbone = backbone
        self._features_path = features_path
        self._tag_changes = tag_changes
        self._finetune = finetune or {}
        self.log = ModelRegistry(store)
        self._lock = threading.Lock()
        self._training: _Training | None = None
        self._watcher: threading.Thread | None = None
        self._saved = threading.Event()
        self._closing = threading.Event()
        self._unnoted: dict[int, tuple[str, str]] = {}
        """Run -> how it ended, where the log could not be written then: a full disk is told of, too."""
        for run_id in self.log.end_interrupted():
            shutil.rmtree(self._run_folder(run_id) / CANDIDATE_FOLDER, ignore_errors=True)
        self._adopt_all()

    # What there is

    def state(self) -> JsonObject:
        """Return everything the page shows of models: training, new corrections, models, changes, settings."""
        training = self._training
        runs = self._runs()
        live = self._live()
        last = next((run for run in runs if run.state != "running"), None)
        return {
            "is_training": training is not None,
            "run_id": training.run_id if training else None,
            "progress": _shown(training) if training else None,
            "num_new": self._num_new(),
            "can_learn": self._base_problem(live) is None,
            "why_not": self._base_problem(live) or "",
            "last": _run_answer(last) if last else None,
            "live_id": live.model_id,
            "models": [self._model_answer(model, runs) for model in reversed(self.log.models())],
            "settings": asdict(self._project.settings.loop),
        }

    def run(self, run_id: int) -> JsonObject:
        """Return one training in full.

        Raises:
            ConfigError: There is none.
        """
        for run in self._runs(1_000_000):
            if run.run_id == run_id:
                return {**_run_answer(run), "settings": run.settings, "report": run.report}
        raise ConfigError(f"This project has no training {run_id}.")

    def set(self, changes: JsonObject) -> JsonObject:
        """Change settings of the loop, for good.

        Raises:
            ConfigError: A value is not allowed.
        """
        self._project.update_settings(loop=replace(self._project.settings.loop, **changes))
        self._saved.set()
        return asdict(self._project.settings.loop)

    # Learning

    def train(self, user: str, cause: str = "button") -> int:
        """Start a training and return its number; it goes on in a process of its own.

        Raises:
            TrainingError: One runs already, the live model cannot learn, or there is nothing to learn from.
            StoreError: The snapshot could not be written.
        """
        with self._lock:
            if self._closing.is_set():
                raise TrainingError("The project is being closed; no training was started.")
            if self._training is not None:
                raise TrainingError("The model is learning already. Wait until it is done, or cancel it.")
            live = self._live()
            problem = self._base_problem(live)
            if problem:
                raise TrainingError(problem)
            newest = self.log.newest_event_id()
            if newest == 0:
                raise TrainingError("There is no correction yet to learn from. Tag and save some photos first.")
            self._note_ends()
            settings = self._project.settings.loop
            run_id = self.log.begin_run(
                cause, user, live.model_id, newest, self.log.num_corrections_since(0), asdict(settings)
            )
            try:
                training = self._start(run_id, live)
            except (OSError, StoreError) as error:
                sentence = f"The training could not start: {error}"
                self._end(run_id, "failed", sentence)
                raise TrainingError(sentence) from error
            self._training = training
            self._watcher = threading.Thread(target=self._watch, args=(training,), name="training", daemon=True)
            self._watcher.start()
        return run_id

    def cancel(self) -> JsonObject:
        """Cancel the training that runs; the live model stays.

        Raises:
            TrainingError: None runs.
        """
        training = self._training
        if training is None:
            raise TrainingError("No training runs, so there is nothing to cancel.")
        training.is_cancelled = True
        _signal(training.process, signal.SIGTERM)
        threading.Timer(SECONDS_TO_END, _signal, (training.process, signal.SIGKILL)).start()
        return {"run_id": training.run_id}

    def wait(self, on_progress: Callable[[JsonObject], None] = lambda progress: None) -> None:
        """Wait until no training runs."""
        while (training := self._training) is not None:
            on_progress(_shown(training))
            time.sleep(0.2)

    def close(self) -> None:
        """End what runs, and start nothing more."""
        with self._lock:
            self._closing.set()
            training, watcher = self._training, self._watcher
        self._saved.set()
        if training is not None:
            training.is_cancelled = True
            _signal(training.process, signal.SIGKILL)  # it only reads, and nobody will take its candidate over
        if watcher is not None:
            watcher.join(timeout=SECONDS_TO_END)
        self._note_ends()

    # Starting by itself

    def note_save(self) -> None:
        """Know that a correction was saved."""
        self._saved.set()

    def keep_watch(self) -> None:
        """Start trainings by themselves, as the settings say, until the loop is closed. For a thread of its own."""
        began = time.monotonic()  # not the clock on the wall, which may jump
        self._saved.set()  # there may be enough corrections from before
        while not self._closing.is_set():
            settings = self._project.settings.loop
            every = settings.train_every_minutes * 60 or math.inf
            left = began + every - time.monotonic()
            self._saved.wait(timeout=min(max(left, 0.05), 3600.0))
            self._saved.clear()
            if self._closing.is_set():
                return
            num_new = self._num_new()
            is_due = time.monotonic() - began >= every
            if is_due:
                began = time.monotonic()
            cause = "corrections" if 0 < settings.train_after <= num_new else "interval" if is_due and num_new else ""
            if cause and self._training is None and self._base_problem(self._live()) is None:
                try:
                    self.train(LOOP_USER, cause)
                except AnnotatorError as error:
                    logger.warning("No training was started: %s", error)
            self._closing.wait(SECONDS_BETWEEN_LOOKS)

    def _num_new(self) -> int:
        """How many photos were corrected since the newest training that came to an end."""
        return self.log.num_corrections_since(self.log.newest_taught_event_id())

    # Promoting and going back

    def promote(self, model_id: int, user: str, reason: str = "by hand") -> JsonObject:
        """Let a model propose from now on. Photos in hand keep the model that they were opened with.

        Raises:
            ConfigError: There is no such model.
            CheckpointError: Its checkpoint is missing, damaged or of another backbone.
        """
        model = self.log.model(model_id)
        self._shelf.choose(model.name)
        self._project.update_settings(tagger=model.name)
        self.log.note_live(model_id, user, reason)
        return {"live_id": model_id, "name": model.name}

    def roll_back(self, user: str, model_id: int | None = None) -> JsonObject:
        """Go back to a model: the one that was live before the present one, unless told otherwise.

        Raises:
            ConfigError: There is no such model, or none was live before.
            CheckpointError: Its checkpoint is missing, damaged or of another backbone.
        """
        live = self._live()
        if model_id is None:
            earlier = [change.model_id for change in self.log.changes() if change.model_id != live.model_id]
            parent = live.parent_id
            model_id = parent if parent is not None else earlier[-1] if earlier else None
        if model_id is None:
            raise ConfigError("No other model was live before this one, so there is none to go back to.")
        return self.promote(model_id, user, f"rolled back from model {live.model_id}")

    def choose(self, name: str, user: str) -> None:
        """Let a tagger propose by its name, as the page's list of taggers has it.

        Raises:
            ConfigError: It is not among the choices.
            CheckpointError: Its checkpoint is damaged or of another backbone.
        """
        self._shelf.choose(name)
        self._project.update_settings(tagger=name)
        self.log.note_live(self._live().model_id, user, "chosen")

    # Inside

    def _run_folder(self, run_id: int) -> Path:
        return self._project.training_path / f"run-{run_id:04}"

    def _adopt_all(self) -> None:
        """Take in what is on the shelf and not in the log yet: the live one, and checkpoints put there by hand."""
        for choice in self._shelf.choices():
            self.log.adopt(choice.name, self._shelf.version_of(choice.name))
        self.log.note_live(self._live().model_id, LOOP_USER, "live when the project was opened")

    def _live(self) -> Model:
        name = self._shelf.chosen
        return self.log.adopt(name, self._shelf.version_of(name))

    def _base_problem(self, live: Model) -> str | None:
        if live.tagger.split(" ")[0] in registry.names():
            return None
        return (
            f"The tagger in use ({live.tagger.split(' ')[0]}) cannot learn from corrections. "
            f"Choose one of: {', '.join(registry.names())}."
        )

    def _start(self, run_id: int, live: Model) -> _Training:
        settings: LoopSettings = self._project.settings.loop
        folder = self._run_folder(run_id)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_snapshot(self._store, self._features_path.stem, folder / SNAPSHOT_FILE)
        job = Job(
            live=str(self._shelf.source_of(live.name)),
            backbone=self._backbone.name,
            backbone_weights=str(backbone_options(self._project).get("weights_path", "")),
            snapshot_path=str(folder / SNAPSHOT_FILE),
            features_path=str(self._features_path),
            lock_path=str(self._project.training_path / LOCK_FILE),
            gold_share=settings.gold_share,
            newest_share=settings.newest_share,
            least_photos=settings.least_photos,
            most_photos=settings.most_photos,
            confidence=settings.confidence,
            gold_margin=settings.gold_margin,
            num_threads=settings.num_threads,
            niceness=settings.niceness,
            finetune=self._finetune,
            word_vectors=self._project.settings.word_vectors,
            is_detector_heard=wanted_detector(self._project.settings.detector) != NONE,
            show_expected=self._project.settings.show_expected,
            aliases=self._tag_changes.aliases(),
        )
        write_atomically(folder / JOB_FILE, json.dumps(asdict(job), indent=1).encode())
        threads = dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(settings.num_threads)
        )
        with (folder / LOG_FILE).open("wb") as log:
            process = subprocess.Popen(
                _command(folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **threads},
            )
        return _Training(run_id, folder, process)

    def _watch(self, training: _Training) -> None:
        """Follow one process to its end and take over what it brought."""
        assert training.process.stdout is not None
        try:
            ending = _follow(training, training.process.stdout)
            code = training.process.wait()
            if ending.get("phase") == "done" and not training.is_cancelled:
                self._take_over(training, ending["report"])
            elif training.is_cancelled:
                self._end(training.run_id, "cancelled", "The training was cancelled; the model in use did not change.")
            else:
                sentence = ending.get("sentence") or _ending_sentence(code, training.folder / LOG_FILE)
                self._end(training.run_id, "failed", sentence)
        except Exception as error:
            # Nobody waits for this thread: what happened is told where a person looks.
            sentence = str(error) if isinstance(error, AnnotatorError) else f"{type(error).__name__}: {error}"
            logger.exception("The candidate of training %s could not be taken over.", training.run_id)
            self._end(training.run_id, "failed", f"The candidate could not be taken over: {sentence}")
        finally:
            training.process.stdout.close()
            shutil.rmtree(training.folder / CANDIDATE_FOLDER, ignore_errors=True)
            (training.folder / SNAPSHOT_FILE).unlink(missing_ok=True)
            self._training = None
            self._saved.set()

    def _take_over(self, training: _Training, report: JsonObject) -> None:
        run = next(run for run in self.log.runs() if run.run_id == training.run_id)
        verdict = report["verdict"]
        name = f"run-{training.run_id:04}"
        target = self._project.checkpoints_path / name
        self._project.checkpoints_path.mkdir(exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)  # of a server that ended between this and the commit below
        (training.folder / CANDIDATE_FOLDER).replace(target)
        passes = bool(verdict["is_promoted"])
        goes_live = passes and self._project.settings.loop.promotes
        state = "promoted" if goes_live else "waiting" if passes else "refused"
        sentence = verdict["sentence"]
        if passes and not goes_live:
            sentence = sentence.replace("Promoted:", "Passed, and waits to be promoted:")
        if goes_live and self._live().model_id != run.base_id:
            goes_live, state = False, "waiting"
            sentence = "Not promoted, since another model went live meanwhile. " + sentence.replace(
                "Promoted:", "It passed:"
            )
        try:
            model_id = self.log.end_run_with_model(
                training.run_id, state, sentence, report, name=PROJECT_PREFIX + name, tagger=report["tagger"],
                parent_id=run.base_id,
            )  # fmt: skip
        except StoreError:
            shutil.rmtree(target, ignore_errors=True)  # else it would be taken for one that was put there by hand
            raise
        if goes_live:
            self.promote(model_id, LOOP_USER, f"training {training.run_id}")

    def _end(self, run_id: int, state: str, sentence: str) -> None:
        try:
            self.log.end_run(run_id, state, sentence)
            self._unnoted.pop(run_id, None)
        except StoreError as error:
            self._unnoted[run_id] = (state, sentence)
            logger.warning("The end of training %s could not be noted: %s %s", run_id, sentence, error)

    def _note_ends(self) -> None:
        """Note what could not be noted when it happened."""
        for run_id, (state, sentence) in list(self._unnoted.items()):
            self._end(run_id, state, sentence)

    def _runs(self, limit: int = 100) -> list[Run]:
        """Return the newest trainings, newest first, with endings that the log does not have yet."""
        runs, unnoted = self.log.runs(limit), dict(self._unnoted)
        for place, run in enumerate(runs):
            if run.run_id in unnoted:
                state, sentence = unnoted[run.run_id]
                runs[place] = replace(run, state=state, sentence=sentence)
        return runs

    def _model_answer(self, model: Model, runs: list[Run]) -> JsonObject:
        run = next((run for run in runs if run.run_id == model.run_id), None)
        report = run.report if run else {}
        verdict = report.get("verdict") or {}
        figures = verdict.get("candidate") or {}
        return {
            "model_id": model.model_id,
            "name": model.name,
            "label": self._shelf.label_of(model.name),
            "tagger": model.tagger,
            "parent_id": model.parent_id,
            "run_id": model.run_id,
            "created_at": f"{model.created_at.isoformat(timespec='seconds')}Z",
            "num_fresh": report.get("num_fresh"),
            "num_replayed": report.get("num_replayed"),
            "new_tags": report.get("new_tags", []),
            "actions_per_photo": figures.get("actions_per_photo"),
            "ndcg": figures.get("ndcg"),
            "verdict": run.sentence if run else "",
            "is_live": model.name == self._shelf.chosen,
        }


def _command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "annotator.learning.worker", str(folder)]


def _follow(training: _Training, lines: IO[str]) -> JsonObject:
    """Read what a process says until it ends; return its last word."""
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            logger.warning("The training process said: %s", line.rstrip())
            continue
        training.progress = said
    return training.progress


def _shown(training: _Training) -> JsonObject:
    progress = training.progress
    if progress["phase"] == "done":
        return {"phase": "judging", "share": 1.0, "is_cancelled": training.is_cancelled}
    done, num = progress.get("step", progress.get("num_done", 0)), progress.get("num_steps", progress.get("num_all", 0))
    return {**progress, "share": done / num if num else 0.0, "is_cancelled": training.is_cancelled}


def _ending_sentence(code: int, log_path: Path) -> str:
    """Say how a process ended that could not say so itself."""
    if code < 0:
        how = f"was ended from outside ({signal.Signals(-code).name})"
    else:
        lines = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log_path.exists() else []
        how = f"broke off ({lines[-1][:200] if lines else f'exit code {code}'})"
    return f"The training process {how}; the model in use did not change."


def _signal(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(number)


def _run_answer(run: Run) -> JsonObject:
    return {
        "run_id": run.run_id,
        "cause": run.cause,
        "user": run.user_name,
        "started_at": f"{run.started_at.isoformat(timespec='seconds')}Z",
        "ended_at": f"{run.ended_at.isoformat(timespec='seconds')}Z" if run.ended_at else None,
        "state": run.state,
        "sentence": run.sentence,
        "num_corrections": run.num_corrections,
    }
