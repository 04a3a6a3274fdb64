"""A simulated annotator tags photos in a real session until each has its record's tags; every key and click counts.

It calls the operations of the page (`operations.answer`) on a real project in a temporary folder, and chooses the
cheapest actions (trainer/evaluation/effort.py). Arms differ in what is shown, in whether the model is trained (with the
trainings, promotion tests and promotions of a served project), and in the query strategy. Each arm has a project of
its own, and all arms tag the same photos, so that results are paired by photo.
Knows nothing of command lines or plots.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from annotator.active_learning.scheduler import REFRESH_SAVES
from annotator.datasets.record import Record
from annotator.datasets.vocabulary import everyday_words
from annotator.errors import AnnotatorError, ConfigError, TrainingError
from annotator.ingest.pipeline import NewImage
from annotator.json_types import JsonObject
from annotator.learning.replay import PAGE_COSTS
from annotator.models.backbones.backbone import DEFAULT_BACKBONE
from annotator.models.tagger import Features
from annotator.proposals.vocabulary.project_vocabulary import ProjectVocabulary
from annotator.session.operations import answer
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.settings import LoopSettings
from annotator.storage.images import ImageEntry, IngestedBatch, SeenPath
from annotator.storage.project import Project
from annotator.trainer.evaluation.effort import (
    SAVING,
    Action,
    ActionCosts,
    Complete,
    Offer,
    actions_needed,
    apply,
    next_actions,
    settled,
    total,
    without_repeats,
)

USER = "simulated"
Progress = Callable[[str, int, int], None]
"""(arm, photos done, photos in all)."""


@dataclass(frozen=True)
class PhotoEffort:
    """Effort spent on one photo."""

    image: str
    num_tags: int
    num_actions: int
    num_held: int
    """Modifier keys held down, not counted in `num_actions`."""
    by_kind: dict[str, int]
    """Keys and clicks by kind of action."""


@dataclass(frozen=True)
class Arm:
    """One variant of the simulation."""

    name: str
    sees: str = "all"
    """all: the proposals after each edit; first: only the list with which the photo opens; nothing: the add box alone,
    which completes by how often a tag was used."""
    costs: ActionCosts = field(default=PAGE_COSTS)
    learns: bool = False
    """Whether the model is trained on the corrections, `Setting.num_rounds` times."""
    strategy: str = "in_order"
    """Query strategy: in_order is the order of `Setting.records`; the others are those of settings.STRATEGIES."""


@dataclass(frozen=True)
class Round:
    """One training within an arm."""

    num_corrections: int
    """Photos saved before it."""
    state: str
    """promoted or refused."""
    sentence: str
    """Verdict of the promotion test."""
    saved: dict[str, float] | None
    """Actions a photo that the candidate saves on held-back photos: mean, low, high; None with too few photos."""


@dataclass(frozen=True)
class ArmRun:
    """Results of one arm."""

    efforts: list[PhotoEffort]
    """In the order of tagging, without the given photos."""
    rounds: list[Round] = field(default_factory=list)


TYPING = Arm("typing", "nothing", ActionCosts(can_take_down_to=False))
STATIC = Arm("static", "first")
PREFIX = Arm("prefix")
LOOP = Arm("loop", learns=True)


@dataclass(frozen=True)
class Setting:
    """Settings common to all arms."""

    records: Sequence[Record]
    """N photos in the order of tagging."""
    features: Features
    """(N, D) float32 of the same photos."""
    tagger: str
    """As for `annotator serve`; empty takes the starter's."""
    has_word_vectors: bool = True
    """Whether new words are completed by meaning, as in a project with word vectors."""
    num_given: int = 0
    """Photos at the start that are already tagged; their effort is not counted."""
    num_rounds: int = 0
    """Trainings of the arms that learn, after equal numbers of photos; the first one after the given photos, if any."""
    loop: LoopSettings = field(default_factory=lambda: LoopSettings(train_after=0))
    """Settings of the trainings."""
    backbone: str = DEFAULT_BACKBONE
    """Name of the extractor of the features."""

    @property
    def trained_after(self) -> list[int]:
        """Numbers of saved photos after which a training runs."""
        begin, left = self.num_given, len(self.records) - self.num_given
        num_parts = self.num_rounds + (not begin)
        places = [begin + left * part // max(num_parts, 1) for part in range(num_parts)]
        return [place for place in places if place]


def run_arm(arm: Arm, setting: Setting, progress: Progress = lambda name, done, all_of_them: None) -> ArmRun:
    """Simulate the tagging of every photo, and return the effort of each but the given ones.

    Raises:
        CheckpointError: The tagger cannot be used.
        ConfigError: The strategy does not work with these taggers.
        TrainingError: The tagger cannot be trained, or a training failed.
    """
    if arm.sees == "nothing":
        return ArmRun(_type_everything(arm, setting))
    with tempfile.TemporaryDirectory() as folder:
        project = Project.open_or_create(Path(folder) / "project", "simulation")
        project.update_settings(
            backbone=setting.backbone, tagger=setting.tagger, strategy=arm.strategy, loop=setting.loop
        )
        session = Session.over(Workspace(project))
        try:
            if setting.has_word_vectors:
                session.workspace.similar_tags.load()
            add_photos(session.workspace, setting.records, setting.features)
            session.workspace.text_pass.run(waits=False)
            return _tag_everything(session, arm, setting, progress)
        finally:
            session.close()


def _tag_everything(session: Session, arm: Arm, setting: Setting, progress: Progress) -> ArmRun:
    person = SimulatedAnnotator(session, arm)
    run = ArmRun([])
    trained_after = setting.trained_after if arm.learns else []
    for image_id, record in enumerate(setting.records[: setting.num_given], start=1):
        person.give(image_id, without_repeats(record.tags))
    if setting.num_given in trained_after:
        run.rounds.append(_train(session, setting.num_given))
    _order_queue(session, arm)
    photo = person.ask("open")
    for num_saved in range(setting.num_given + 1, len(setting.records) + 1):
        effort, photo = person.annotate(photo, setting.records[photo["image_id"] - 1])
        run.efforts.append(effort)
        progress(arm.name, num_saved, len(setting.records))
        if num_saved in trained_after:
            run.rounds.append(_train(session, num_saved))
        if num_saved % REFRESH_SAVES == 0:
            _order_queue(session, arm)
            session.workspace.text_pass.run(waits=False)  # embeds the new tags
    return run


def _order_queue(session: Session, arm: Arm) -> None:
    """Order the queue in this thread, which a served project does in the background."""
    session.workspace.scheduler.refresh()
    said = session.workspace.scheduler.describe()
    if arm.strategy != "in_order" and not said["is_ready"]:
        raise ConfigError(f"The arm {arm.name} cannot be followed. {said['note']}")


def _train(session: Session, num_corrections: int) -> Round:
    """Train on the corrections; a promoted model proposes from the next photo on."""
    models = session.workspace.models
    run_id = models.train(USER)
    models.wait()
    run = models.run(run_id)
    if run["state"] not in ("promoted", "refused"):
        raise TrainingError(run["sentence"])
    return Round(num_corrections, run["state"], run["sentence"], run["report"]["verdict"].get("saved"))


def add_photos(workspace: Workspace, records: Sequence[Record], features: Features) -> None:
    """Add photos with known features to a project, as ingest does, but without reading files.

    Args:
        workspace: An empty project.
        records: N photos; only their names are used, with the number in front, since a project orders photos by name.
        features: (N, D) float32.
    """
    root_id = workspace.store.images.root_id(records[0].image.parent)
    entries = [ImageEntry(f"{number:064x}", 0, 0, "JPEG") for number in range(1, len(records) + 1)]
    images = list(enumerate(entries, start=1))
    paths = [
        SeenPath(root_id, f"{number:08d} {record.image.name}", 0, 0, image_id=number)
        for number, record in enumerate(records, start=1)
    ]
    rows = [(image_id, row) for (image_id, _), row in zip(images, workspace.features.append(features), strict=True)]
    workspace.store.images.add(IngestedBatch(images, paths, workspace.backbone_label, rows))
    workspace.features.commit(rows)
    new = [NewImage(image_id, entry, vector) for (image_id, entry), vector in zip(images, features, strict=True)]
    workspace.after_commit.images_added(new, paths)


class SimulatedAnnotator:
    """A simulated user of the page who knows the wanted tags and chooses the cheapest actions.

    Args:
        session: The open project.
        arm: What is shown, and which keys are available.
    """

    def __init__(self, session: Session, arm: Arm) -> None:
        self._session = session
        self._arm = arm

    def ask(self, name: str, **payload: Any) -> JsonObject:
        """Call an operation as the page does.

        Raises:
            AnnotatorError: The session refused.
        """
        said = answer(self._session, USER, name, payload)
        if "error" in said:
            raise AnnotatorError(said["error"]["message"])
        return said

    def annotate(self, photo: JsonObject, record: Record) -> tuple[PhotoEffort, JsonObject]:
        """Edit a photo's list until it has the record's tags, and save it; return the effort and the next photo.

        Args:
            photo: Answer of `open` or `save`.
            record: Record of the same photo.
        """
        target = without_repeats(record.tags)
        image_id = photo["image_id"]
        kept: list[str] = []
        dropped: list[str] = []
        actions: list[Action] = []
        offer = _offer(photo)
        while not actions or actions[-1].kind not in SAVING:
            for action in next_actions(target, kept, offer, self._completing(image_id), self._arm.costs):
                kept, dropped = apply(action, target, kept, dropped)
                actions.append(action)
            if actions[-1].kind not in SAVING:
                offer = self._offer_after(image_id, kept, dropped, offer)
        following = self.save(photo, kept, dropped, actions)
        return photo_effort(record, actions), following

    def save(
        self, photo: JsonObject, kept: Sequence[str], dropped: Sequence[str], actions: Sequence[Action]
    ) -> JsonObject:
        """Save a list; return the next photo."""
        shown = [{name: proposal[name] for name in ("tag", "score", "source")} for proposal in photo["proposals"]]
        num_clicks = sum(action.kind in ("drop", "move") for action in actions)
        said = self.ask(
            "save",
            image_id=photo["image_id"],
            revision=photo["revision"],
            kept=list(kept),
            dropped=list(dropped),
            shown=shown,
            tagger=photo["tagger"],
            num_keys=total(actions) - num_clicks,
            num_clicks=num_clicks,
            actions=[[action.kind, *action.tags] for action in actions],
        )
        following: JsonObject = said["next"]
        return following

    def give(self, image_id: int, tags: Sequence[str]) -> None:
        """Save a photo's list without opening the photo."""
        self.ask("save", image_id=image_id, revision=0, kept=list(tags), dropped=[])

    def _offer_after(self, image_id: int, kept: list[str], dropped: list[str], before: Offer) -> Offer:
        if self._arm.sees == "first":
            decided = {*kept, *dropped}
            return Offer(["" if tag in decided else tag for tag in before.tags])
        newest = _offer(self.ask("propose", image_id=image_id, kept=kept, dropped=dropped))
        return settled(before, newest, self._arm.costs.num_key_rows)

    def _completing(self, image_id: int) -> Complete:
        def complete(text: str, kept: list[str]) -> list[str]:
            said = self.ask("complete", image_id=image_id, text=text, kept=kept)
            return [completion["tag"] for completion in said["completions"]]

        return complete


def photo_effort(record: Record, actions: Sequence[Action]) -> PhotoEffort:
    """Return the effort of the actions on one photo."""
    by_kind: Counter[str] = Counter()
    for action in actions:
        by_kind[action.kind] += action.num_actions
    num_held = sum(action.num_held for action in actions)
    return PhotoEffort(record.image.name, len(without_repeats(record.tags)), total(actions), num_held, dict(by_kind))


def _offer(said: JsonObject) -> Offer:
    return Offer([proposal["tag"] for proposal in said["proposals"]], said.get("num_expected", 0))


def _type_everything(arm: Arm, setting: Setting) -> list[PhotoEffort]:
    """Return the effort of each photo with the add box alone."""
    words = ProjectVocabulary(everyday_words())
    efforts = []
    for number, record in enumerate(setting.records):
        if number >= setting.num_given:
            complete = lambda text, kept: [found.tag for found in words.complete(text, {}, kept)]  # noqa: E731
            efforts.append(
                photo_effort(record, actions_needed(record.tags, lambda kept, dropped: Offer([]), complete, arm.costs))
            )
        words.count(without_repeats(record.tags), +1)
    return efforts


def without_keys(arm: Arm, **changes: Any) -> Arm:
    """Return an arm without some keys."""
    return replace(arm, costs=replace(arm.costs, **changes))
