"""The training loop of a project: starts trainings on corrections, promotes candidates and rolls back.

The training runs in a process of its own (training_process.py). A promoted candidate replaces the live model without a
pause; requests that have begun finish with the former model. However the process ends, the live model stays until
another one is promoted. Knows nothing of the user interface, and of weights only their paths.
"""

import logging
import math
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from annotator.errors import AnnotatorError, ConfigError, StoreError, TrainingError
from annotator.ingest.detection_pass import wanted_detector
from annotator.ingest.project_backbone import backbone_options
from annotator.json_types import JsonObject
from annotator.learning import submission
from annotator.learning.job import CANDIDATE_FOLDER, SUBMITTED_FOLDER, Job
from annotator.learning.model_registry import Model, ModelRegistry, Run
from annotator.learning.snapshot import write_snapshot
from annotator.learning.training_process import LOCK_FILE, SECONDS_TO_END, SNAPSHOT_FILE, TrainingProcess
from annotator.models import registry
from annotator.models.backbones.backbone import Backbone
from annotator.models.backbones.missing import MissingBackbone
from annotator.models.detectors.detector import NONE
from annotator.proposals.tagger_catalog import PROJECT_PREFIX, TaggerCatalog
from annotator.settings import LoopSettings
from annotator.storage.database import Store
from annotator.storage.project import Project
from annotator.storage.tag_changes import TagChanges
from annotator.storage.vocabulary import imported_vocabulary

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_CHECKS = 1.0
"""Least time between two checks whether there are enough corrections for a training."""
KEPT_REFUSED = 3
"""Checkpoints of refused candidates that are kept, for a person who wants one all the same."""
SUBMITTED = "submitted"
"""Cause of a run that tests a checkpoint which was trained elsewhere."""
LOOP_USER = "loop"
"""User name of trainings and promotions that nobody asked for."""


class ModelLoop:
    """The models of one open project.

    Args:
        project: Paths and settings.
        store: The database.
        catalog: The taggers, of which one is live.
        backbone: Computes the features that the models take.
        features_path: The feature file of that backbone.
        tag_changes: Renamed and merged tags.
        finetune: Settings of trainer/finetuning/finetune.py that differ from its defaults.
        log_losses: Returns what the proposer has learnt, with which the promotion test replays.
    """

    def __init__(
        self,
        project: Project,
        store: Store,
        catalog: TaggerCatalog,
        backbone: Backbone,
        features_path: Path,
        tag_changes: TagChanges,
        finetune: JsonObject | None = None,
        log_losses: Callable[[], dict[int, list[float]]] = dict,
    ) -> None:
        self._log_losses = log_losses
        self._project = project
        self._store = store
        self._catalog = catalog
        self._backbone = backbone
        self._features_path = features_path
        self._tag_changes = tag_changes
        self._finetune = finetune or {}
        self.registry = ModelRegistry(store)
        self._lock = threading.Lock()
        self._training: TrainingProcess | None = None
        self._watcher: threading.Thread | None = None
        self._keeper: threading.Thread | None = None
        self._saved = threading.Event()
        self._closing = threading.Event()
        self._unrecorded: dict[int, tuple[str, str]] = {}
        """Run -> (state, sentence) of ends that could not be written to the database, for example on a full disk."""
        for run_id in self.registry.end_interrupted():
            for name in (CANDIDATE_FOLDER, SUBMITTED_FOLDER):
                shutil.rmtree(self._run_folder(run_id) / name, ignore_errors=True)
        for choice in self._catalog.choices():
            self.registry.adopt(choice.name, self._catalog.version_of(choice.name))
        self._live = self._adopt_live()
        self.registry.note_live(self._live.model_id, LOOP_USER, "live when the project was opened")

    # State

    def state(self) -> JsonObject:
        """Return the state for the user: training, number of new corrections, models and settings."""
        training = self._training
        runs, live = self._runs(), self._live
        last = next((run for run in runs if run.state != "running"), None)
        return {
            "is_training": training is not None,
            "run_id": training.run_id if training else None,
            "progress": training.shown() if training else None,
            "num_new": self._num_new(),
            "can_learn": self._base_problem(live) is None,
            "why_not": self._base_problem(live) or "",
            "last": last.to_json() if last else None,
            "live_id": live.model_id,
            "models": [self._model_answer(model, runs) for model in reversed(self.registry.models())],
            "settings": asdict(self._project.settings.loop),
        }

    def run(self, run_id: int) -> JsonObject:
        """Return one training in full.

        Raises:
            ConfigError: There is none.
        """
        for run in self._runs(1_000_000):
            if run.run_id == run_id:
                return {**run.to_json(), "settings": run.settings, "report": run.report}
        raise ConfigError(f"This project has no training {run_id}.")

    def set(self, changes: JsonObject) -> JsonObject:
        """Change settings of the loop in the project's settings.

        Raises:
            ConfigError: A value is not allowed.
        """
        with self._project.settings_lock:
            self._project.update_settings(loop=replace(self._project.settings.loop, **changes))
        self._saved.set()
        return asdict(self._project.settings.loop)

    # Training

    def train(self, user: str, cause: str = "button") -> int:
        """Start a training in a process of its own and return its number.

        Raises:
            TrainingError: One runs already, the live model cannot learn, or there is nothing to learn from.
            StoreError: The snapshot could not be written.
        """
        with self._lock:
            live = self._ready_base()
            return self._begin(user, cause, live, self.registry.newest_event_id())

    def submit(self, name: str, user: str, *, is_unseen: bool = False) -> int:
        """Start the test of a checkpoint that was trained elsewhere, as a candidate; return the number of the run.

        Args:
            name: Of its folder, which `submission.take_in` has made.
            user: Who.
            is_unseen: It was trained on no list of this project; needed where the checkpoint does not say on which.

        Raises:
            CheckpointError: It is missing or damaged, or does not fit the project's backbone, trainer or tags.
            TrainingError: A training runs, the live model cannot learn, or there is no list to test with.
        """
        with self._lock:
            live = self._ready_base()
            folder = submission.folder_of(self._project, name)
            submission.check(folder, self._backbone, self._store, is_unseen=is_unseen)
            # It has learnt from no newer list than the last training of this project.
            return self._begin(user, SUBMITTED, live, self.registry.newest_trained_event_id(), folder)

    def _ready_base(self) -> Model:
        """Return the live model, if a training may begin with it now."""
        if self._closing.is_set():
            raise TrainingError("The project is being closed; no training was started.")
        if self._training is not None:
            raise TrainingError("The model is learning already. Wait until it is done, or cancel it.")
        problem = self._base_problem(self._live)
        if problem:
            raise TrainingError(problem)
        if self.registry.newest_event_id() == 0:
            raise TrainingError("There is no correction yet to learn from. Tag and save some photos first.")
        return self._live

    def _begin(self, user: str, cause: str, live: Model, newest: int, submitted: Path | None = None) -> int:
        self._record_ends()
        settings = self._project.settings.loop
        run_id = self.registry.begin_run(
            cause, user, live.model_id, newest, self.registry.num_corrections_since(0), asdict(settings)
        )
        try:
            training = self._start(run_id, live, submitted)
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
        training.cancel()
        return {"run_id": training.run_id}

    def wait(self, on_progress: Callable[[JsonObject], None] = lambda progress: None) -> None:
        """Wait until no training runs."""
        while (training := self._training) is not None:
            on_progress(training.shown())
            time.sleep(0.2)

    def close(self) -> None:
        """Kill the training that runs, and start no other one."""
        with self._lock:
            self._closing.set()
            training, watcher = self._training, self._watcher
        self._saved.set()
        if training is not None:
            training.kill()
        for thread in (watcher, self._keeper):
            if thread is not None:
                thread.join(timeout=SECONDS_TO_END)
        self._record_ends()

    # Automatic trainings

    def note_save(self) -> None:
        """Let `keep_watch` check whether a training is due, after a save."""
        self._saved.set()

    def keep_watch(self) -> None:
        """Start the trainings that the settings demand until the loop is closed; runs in a thread of its own."""
        self._keeper = threading.current_thread()
        began = time.monotonic()  # the system clock may jump
        self._saved.set()  # earlier corrections may be enough
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
            if cause and self._training is None and self._base_problem(self._live) is None:
                try:
                    self.train(LOOP_USER, cause)
                except AnnotatorError as error:
                    logger.warning("No training was started: %s", error)
            self._closing.wait(SECONDS_BETWEEN_CHECKS)

    def _num_new(self) -> int:
        """Return the number of photos that were corrected since the newest training that was not interrupted."""
        return self.registry.num_corrections_since(self.registry.newest_trained_event_id())

    # Promotion and rollback

    def promote(self, model_id: int, user: str, reason: str = "by hand") -> JsonObject:
        """Make a model live. Open photos keep the model that they were opened with.

        Raises:
            ConfigError: There is no such model.
            CheckpointError: Its checkpoint is missing, damaged or of another backbone.
        """
        model = self.registry.model(model_id)
        self._catalog.choose(model.name)
        self._project.update_settings(tagger=model.name)
        self._live = model
        self.registry.note_live(model_id, user, reason)
        return {"live_id": model_id, "name": model.name}

    def roll_back(self, user: str, model_id: int | None = None) -> JsonObject:
        """Make an earlier model live again.

        Args:
            user: Who rolls back.
            model_id: None takes the parent of the live model, else the one that was live before it.

        Raises:
            ConfigError: There is no such model, or none was live before.
            CheckpointError: Its checkpoint is missing, damaged or of another backbone.
        """
        live = self._live
        if model_id is None:
            earlier = [change.model_id for change in self.registry.changes() if change.model_id != live.model_id]
            parent = live.parent_id
            model_id = parent if parent is not None else earlier[-1] if earlier else None
        if model_id is None:
            raise ConfigError("No other model was live before this one, so there is none to go back to.")
        return self.promote(model_id, user, f"rolled back from model {live.model_id}")

    def choose(self, name: str, user: str) -> None:
        """Make a tagger live by its name in the catalog.

        Raises:
            ConfigError: It is not among the choices.
            CheckpointError: Its checkpoint is damaged or of another backbone.
        """
        self._catalog.choose(name)
        self._project.update_settings(tagger=name)
        self._live = self._adopt_live()
        self.registry.note_live(self._live.model_id, user, "chosen")

    # Internal

    def _run_folder(self, run_id: int) -> Path:
        return self._project.training_path / f"run-{run_id:04}"

    def _adopt_live(self) -> Model:
        """Return the model of the catalog's tagger in use, after registering it if it is new."""
        name = self._catalog.chosen
        return self.registry.adopt(name, self._catalog.version_of(name))

    def _base_problem(self, live: Model) -> str | None:
        if isinstance(self._backbone, MissingBackbone):
            return self._backbone.problem
        if live.tagger.split(" ")[0] in registry.names():
            return None
        return (
            f"The tagger in use ({live.tagger.split(' ')[0]}) cannot learn from corrections. "
            f"Choose one of: {', '.join(registry.names())}."
        )

    def _start(self, run_id: int, live: Model, submitted: Path | None) -> TrainingProcess:
        settings: LoopSettings = self._project.settings.loop
        model = self._project.settings.vision_language_model
        vocabulary = imported_vocabulary(self._store, self._project.settings.vocabulary)
        folder = self._run_folder(run_id)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_snapshot(self._store, self._features_path.stem, folder / SNAPSHOT_FILE, model)
        if submitted is not None:
            submitted.replace(folder / SUBMITTED_FOLDER)
        job = Job(
            live=str(self._catalog.source_of(live.name)),
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
            models_path=str(self._project.models_path),
            uses_detections=wanted_detector(self._project.settings.detector) != NONE,
            show_expected=self._project.settings.show_expected,
            least_probability=self._project.settings.least_probability,
            never_proposed=self._project.settings.never_proposed,
            aliases=self._tag_changes.aliases(),
            log_losses=list(self._log_losses().items()),
            vision_language_model=model,
            prompts=self._project.settings.prompts,
            vocabulary=vocabulary.use,
            vocabulary_tags=vocabulary.tags,
            vocabulary_aliases=vocabulary.aliases,
            vocabulary_forbidden=vocabulary.forbidden,
            submitted="" if submitted is None else str(folder / SUBMITTED_FOLDER),
        )
        return TrainingProcess.start(run_id, folder, job)

    def _watch(self, training: TrainingProcess) -> None:
        """Follow a process to its end and register its candidate."""
        try:
            ending = training.follow()
            if ending.get("phase") == "done" and not training.is_cancelled:
                self._take_over(training, ending["report"])
            elif training.is_cancelled:
                self._end(training.run_id, "cancelled", "The training was cancelled; the model in use did not change.")
            else:
                sentence = ending.get("sentence") or training.ending_sentence()
                self._end(training.run_id, "failed", sentence)
        except Exception as error:
            # Nobody joins this thread: the user reads the error in the state of the run.
            sentence = str(error) if isinstance(error, AnnotatorError) else f"{type(error).__name__}: {error}"
            logger.exception("The candidate of training %s could not be taken over.", training.run_id)
            self._end(training.run_id, "failed", f"The candidate could not be taken over: {sentence}")
        finally:
            for name in (CANDIDATE_FOLDER, SUBMITTED_FOLDER):
                shutil.rmtree(training.folder / name, ignore_errors=True)
            (training.folder / SNAPSHOT_FILE).unlink(missing_ok=True)
            self._training = None
            self._saved.set()

    def _take_over(self, training: TrainingProcess, report: JsonObject) -> None:
        """Move the candidate to the project's checkpoints, register it, and promote it if it passed."""
        run = next(run for run in self.registry.runs() if run.run_id == training.run_id)
        name = f"run-{training.run_id:04}"
        target = self._project.checkpoints_path / name
        self._project.checkpoints_path.mkdir(exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)  # left by a server that ended before the commit below
        (training.folder / CANDIDATE_FOLDER).replace(target)
        state, sentence = self._outcome(report["verdict"], run)
        try:
            model_id = self.registry.end_run_with_model(
                training.run_id, state, sentence, report, name=PROJECT_PREFIX + name, tagger=report["tagger"],
                parent_id=run.base_id,
            )  # fmt: skip
        except StoreError:
            shutil.rmtree(target, ignore_errors=True)  # else it would be registered as a checkpoint of the user
            raise
        if state == "promoted":
            self.promote(model_id, LOOP_USER, f"training {training.run_id}")
        self._forget_refused()

    def _forget_refused(self) -> None:
        """Delete the checkpoints of refused candidates but the newest few; one that was ever live is kept."""
        was_live = {change.model_id for change in self.registry.changes()} | {self._live.model_id}
        models = {model.run_id: model for model in self.registry.models() if model.model_id not in was_live}
        refused = [run.run_id for run in self.registry.runs(1_000_000) if run.state == "refused"]
        for run_id in refused[KEPT_REFUSED:]:
            if run_id in models:
                shutil.rmtree(self._catalog.source_of(models[run_id].name), ignore_errors=True)

    def _outcome(self, verdict: JsonObject, run: Run) -> tuple[str, str]:
        """Return (state of the run, sentence for the user).

        Args:
            verdict: Of the promotion test, `Verdict.to_json`.
            run: Its `base_id` is the model that the candidate was compared with.
        """
        if not verdict["is_promoted"]:
            advice = "" if run.cause == SUBMITTED else f" {self._next_try()}"
            return "refused", f"{verdict['sentence']}{advice}"
        if not self._project.settings.loop.promotes:
            return "waiting", f"Passed, and waits to be promoted: {verdict['findings']}."
        if self._live.model_id != run.base_id:
            return "waiting", (
                f"Not promoted, since another model went live meanwhile. It passed: {verdict['findings']}."
            )
        return "promoted", verdict["sentence"]

    def _next_try(self) -> str:
        """Return when another training may end otherwise: with as many new corrections as start one automatically."""
        num = self._project.settings.loop.train_after or LoopSettings.train_after
        return f"The next try is worth it after {num} new corrections."

    def _end(self, run_id: int, state: str, sentence: str) -> None:
        try:
            self.registry.end_run(run_id, state, sentence)
            self._unrecorded.pop(run_id, None)
        except StoreError as error:
            self._unrecorded[run_id] = (state, sentence)
            logger.warning("The end of training %s could not be recorded: %s %s", run_id, sentence, error)

    def _record_ends(self) -> None:
        """Write the ends that could not be written before."""
        for run_id, (state, sentence) in list(self._unrecorded.items()):
            self._end(run_id, state, sentence)

    def _runs(self, limit: int = 100) -> list[Run]:
        """Return the newest trainings, newest first, with the ends that the database does not have yet."""
        runs, unrecorded = self.registry.runs(limit), dict(self._unrecorded)
        for place, run in enumerate(runs):
            if run.run_id in unrecorded:
                state, sentence = unrecorded[run.run_id]
                runs[place] = replace(run, state=state, sentence=sentence)
        return runs

    def _model_answer(self, model: Model, runs: list[Run]) -> JsonObject:
        return model.to_json(runs, self._catalog.label_of(model.name), is_live=model.name == self._catalog.chosen)
