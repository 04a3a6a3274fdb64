"""What every operation answers: the shape of its JSON object, for the OpenAPI description and the clients made from it.

The handlers build plain dictionaries; the tests check every answer that any test gets against these classes. Knows
nothing of the handlers.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from annotator.collaboration.review_rules import State
from annotator.errors import (
    AccountError,
    AnnotatorError,
    CheckpointError,
    ConfigError,
    LeaseError,
    ReviewError,
    StaleRevisionError,
    TagError,
    TrainingError,
    UnknownImageError,
)
from annotator.ingest.detection_pass import DetectionProgress
from annotator.ingest.progress import IngestProgress
from annotator.ingest.text_pass import TextProgress
from annotator.ingest.vision_pass import VisionProgress
from annotator.json_types import JsonObject
from annotator.maintenance.integrity import Finding
from annotator.proposals.tagger_catalog import TaggerChoice
from annotator.reports.agreement import PlaceAgreement, TagAgreement
from annotator.settings import LoopSettings

PhotoId = Annotated[int, Field(examples=[7])]
Tag = Annotated[str, Field(examples=["cat"])]
TagList = Annotated[list[str], Field(examples=[["cat", "sofa", "window"]])]
User = Annotated[str, Field(examples=["anna"])]
Time = Annotated[str, Field(examples=["2026-11-29T12:00:00Z"])]
"""ISO 8601 in UTC."""
FileName = Annotated[str, Field(examples=["holiday/beach.jpg"])]
Sentence = Annotated[str, Field(examples=["2 of 7 similar photos have it."])]
Share = Annotated[float, Field(examples=[0.25])]
Revision = Annotated[int, Field(examples=[1])]


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Done(Answer):
    """Nothing but that it was done."""


# A photo


class EvidenceItem(Answer):
    """Score and reason of one source for one tag."""

    source: Annotated[str, Field(examples=["neighbours"])]
    score: Share
    text: Sentence


class ProposedTag(Answer):
    """One proposed tag."""

    tag: Tag
    score: Share
    """Probability that this person puts the tag on this photo."""
    source: Annotated[str, Field(examples=["neighbours"])]
    why: Sentence
    evidence: list[EvidenceItem]
    """Highest score first."""


class Neighbour(Answer):
    """A photo whose tags are evidence for another one."""

    image_id: PhotoId
    thumbnail_url: Annotated[str, Field(examples=["thumbnail/7?v=0123456789abcdef"])]
    similarity: Share
    tags: TagList
    shared: list[str]
    """What both have in common, for neighbours by metadata."""
    by: str
    off: bool
    """Whether it is excluded."""
    file_name: FileName


class Neighbours(Answer):
    """The photos that are shown beside one."""

    looks: list[Neighbour]
    metadata: list[Neighbour]
    model: list[Neighbour] | None
    note: str
    has_learnt_order: bool
    has_tag_statistics: bool
    has_detections: bool
    late_sources: list[str]


class RuledOrder(Answer):
    """The kept tags as the project's order rules save them."""

    kept: TagList
    tags: TagList
    reasons: dict[str, str]
    """Tag -> the rule that decides about it."""


class PhotoField(Answer):
    """A field of a photo beside its tags."""

    name: Annotated[str, Field(examples=["title"])]
    kind: Literal["text", "choice"]
    choices: list[str]
    value: str
    """What a person has written; empty: nothing yet."""
    proposed: str
    """By a plain rule, from the first tags."""


class Proposals(Answer):
    """Proposals for the rest of a list, best first."""

    proposals: list[ProposedTag]
    num_expected: int
    """How many of them are expected to be kept; 0 where this is not shown."""
    neighbours: Neighbours
    tagger: str
    """What proposed, by name and version."""
    fields: list[PhotoField]
    order: RuledOrder | None
    """None without order rules."""


class SentBack(Answer):
    """A reviewer's note on a photo that is to be tagged again."""

    by: User
    note: str
    at: Time


class Photo(Proposals):
    """A photo with its list, its proposals and its state, as one person sees it."""

    image_id: PhotoId
    image_url: Annotated[str, Field(examples=["image/7?v=0123456789abcdef"])]
    full_url: str
    thumbnail_url: str
    file_name: FileName
    paths: list[str]
    width: int
    height: int
    format: str
    taken_at: str | None
    camera: str | None
    place: str | None
    caption: str | None
    keywords: list[str]
    hierarchies: list[str]
    position: int
    revision: Revision
    """To be sent with the next save of this photo."""
    state: State
    kept: TagList
    """The draft, or else the saved list."""
    saved: TagList
    dropped: list[str]
    """Proposals that were refused."""
    notes: list[str]
    changed_at: Time | None
    read_only: bool
    asked_of: int
    locked: str | bool | None
    """Why this person cannot change it now; true: it is assigned to somebody else; null or false: they can."""
    save_as: Literal["save", "accept"]
    sent_back: SentBack | None
    held_by: list[str]
    assigned_to: str | None
    is_random_sample: bool
    probe: str | None


class UndonePhoto(Photo):
    """The photo whose save was taken back."""

    undone: Sentence


class QueueStrategy(Answer):
    """A query strategy that can be chosen."""

    name: str
    label: str


class QueueState(Answer):
    """How the next photo is chosen."""

    strategy: str
    random_share: Share
    probe_share: Share
    is_ready: bool
    note: str
    strategies: list[QueueStrategy]


class SidecarProblems(Answer):
    """How many sidecars are not in step."""

    num_changed: int
    num_failed: int


class DemoSpace(Answer):
    """A visitor's space of the hosted demo."""

    ends_at: float
    idle_minutes: float
    num_photos: int
    max_photos: int
    max_photo_bytes: int
    is_full: bool


class SavedSearch(Answer):
    """A search that is kept under a name."""

    query: str
    state: str
    sort: str


class SavedSearches(Answer):
    """Every search that is kept, by name."""

    saved_searches: dict[str, SavedSearch]


class StateAnswer(Answer):
    """The project's name, counts, progress, keys, taggers and queue."""

    project: Annotated[str, Field(examples=["holiday"])]
    num_images: int
    num_saved: int
    num_unreadable: int
    unread_types: dict[str, int]
    ingest: IngestProgress
    detections: DetectionProgress
    vlm: VisionProgress
    text: TextProgress
    backbone: str
    keys: dict[str, list[str]]
    show_expected: bool
    never_proposed: list[str]
    saved_searches: dict[str, SavedSearch]
    user: User
    may_annotate: bool
    may_review: bool
    may_administer: bool
    may_open_projects: bool
    """Whether other projects can be opened from the page."""
    states: dict[str, int]
    tagger: str
    taggers: list[TaggerChoice]
    notices: list[str]
    """What of the project could not be loaded, and what it does without."""
    word_vectors: str
    tags_without_vector: str
    queue: QueueState
    sidecars: SidecarProblems | None
    version: str
    demo: DemoSpace | None = None
    """In the hosted demo only."""


class Recent(Answer):
    """A project that was opened on this machine."""

    folder: Annotated[str, Field(examples=["/home/anna/.local/share/annotator/holiday-1a2b3c4d"])]
    name: Annotated[str, Field(examples=["holiday"])]
    photos: list[str]
    """Its folders of photos."""
    opened_at: Time
    is_here: bool
    """Whether it is the project of this server."""
    is_running: bool
    """Whether it is served by a process that this server has started."""


class RecentProjects(Answer):
    """The projects that were opened on this machine, the newest first."""

    recent: list[Recent]
    start: Annotated[str, Field(examples=["/home/anna/Pictures"])]
    """A folder to begin with."""


class Subfolder(Answer):
    """A folder in another one."""

    name: Annotated[str, Field(examples=["holiday"])]
    path: Annotated[str, Field(examples=["/home/anna/Pictures/holiday"])]
    is_project: bool


class Folder(Answer):
    """A folder of the server's machine."""

    path: Annotated[str, Field(examples=["/home/anna/Pictures"])]
    parent: str | None
    is_project: bool
    num_photos: int
    """Files that look like photos, in this folder itself."""
    folders: list[Subfolder]


class OpeningProject(Answer):
    """How far the server of another project is."""

    state: Literal["ready", "starting", "failed", "here"]
    address: Annotated[str, Field(examples=["http://127.0.0.1:40123"])]
    """Where its page is; empty unless it is ready."""
    problem: str
    """Why it failed, in a sentence."""


class ClosingProject(Answer):
    """How far the end of the server of another project is."""

    state: Literal["ending", "ended"]


class NothingLeft(StateAnswer):
    """No photo is left to work on."""

    done: Literal[True]


class StripItem(Answer):
    """A photo of the strip."""

    image_id: PhotoId
    thumbnail_url: str
    state: State
    current: bool


class Strip(Answer):
    """The photos around one, in folder order."""

    items: list[StripItem]


class FoundPhoto(Answer):
    """A photo that was found."""

    image_id: PhotoId
    thumbnail_url: str
    file_name: FileName
    state: State
    tags: TagList


class FoundPhotos(Answer):
    """One page of the photos that match a search."""

    total: int
    items: list[FoundPhoto]
    meant: list[str]
    """Tags that were found by their meaning."""


class FacetValue(Answer):
    """A value, and how many of the found photos have it."""

    value: str
    num_photos: int


class Facets(Answer):
    """What the found photos have in common; at most 100 values each, the most frequent first, dates in order."""

    num_tags: int
    """All tags that were asked for."""
    tags: list[FacetValue]
    folders: list[FacetValue]
    """Each with the folders below it."""
    dates: list[FacetValue]
    """Years."""
    people: list[FacetValue]


class FoundIds(Answer):
    """All photos of a search, in its order."""

    image_ids: list[int]


class PlacedCompletion(Answer):
    """One completion of a typed text."""

    tag: Tag
    score: float | None
    source: Annotated[str, Field(examples=["project"])]
    place: str
    """Class and levels in the imported vocabulary; empty: none."""


class Completions(Answer):
    """Completions of a typed text, best first."""

    completions: list[PlacedCompletion]


class Explanation(Answer):
    """How the model scores a tag without the photo's neighbours or metadata."""

    text: Sentence


class FoundBox(Answer):
    """An object that the detector found."""

    label: Tag
    score: Share
    box: Annotated[list[float], Field(examples=[[0.1, 0.2, 0.5, 0.9]])]
    """Left, top, right, bottom as shares of the photo's sides."""


class HeatMap(Answer):
    """Where a tag is seen in a photo."""

    grid: list[list[float]] | None
    """Rows of values in [0, 1]."""
    box: list[float] | None
    """The part of the photo that the grid covers: left, top, right, bottom as shares of its sides."""
    found: list[FoundBox]


class RespelledTag(Answer):
    """A tag that was saved in another spelling, or under its present name."""

    typed: Tag
    saved: Tag
    num_photos: int
    was_saved: bool
    """Whether the photo had it before, in that spelling."""


class SavedList(Answer):
    """A list was saved; it is on disk."""

    revision: Revision
    now_common: list[str]
    """Tags that have just become frequent."""
    respelled: list[RespelledTag]
    next: Photo | NothingLeft | None


class LookAlike(Answer):
    """An open photo that looks like another one."""

    image_id: PhotoId
    thumbnail_url: str
    file_name: FileName
    similarity: Share
    is_near: bool
    revision: Revision


class LookAlikes(Answer):
    """Open photos that look like one, the most similar first."""

    items: list[LookAlike]
    num_near: int
    note: str | None
    """Why this photo cannot be saved with others; null: it can."""


class GroupProposals(Answer):
    """Proposals that are joined from several photos."""

    proposals: list[ProposedTag]
    num_joined: int
    num_heard: Annotated[int, Field(deprecated=True)]
    """Former name of num_joined, until version 0.3."""


class LeftOut(Answer):
    """A photo of a group that was not saved."""

    image_id: PhotoId
    reason: Sentence
    file_name: FileName


class SavedGroup(Answer):
    """The photos that were saved with another one."""

    saved: list[int]
    left_out: list[LeftOut]


class SavedGroupList(SavedList):
    """One list was saved for several photos."""

    group: SavedGroup


# Reviews and history


class ProposalOfTag(Answer):
    """The proposal that an added tag was."""

    rank: int
    source: str
    score: float


class AddedTag(Answer):
    """A tag that came to a list; places count from 1."""

    tag: Tag
    place: int
    proposal: ProposalOfTag | None


class MovedTag(Answer):
    """A tag whose order changed; places count from 1."""

    tag: Tag
    from_: int = Field(alias="from")
    to: int


class ListChanges(Answer):
    """How a list changed."""

    added: list[AddedTag]
    removed: list[str]
    moved: list[MovedTag]


class TimelineEntry(Answer):
    """One entry of a photo's time line."""

    id: Annotated[str, Field(examples=["event:3"])]
    kind: Annotated[str, Field(examples=["save"])]
    user: User
    at: Time
    revision: Revision
    tags: list[str] | None
    dropped: list[str]
    is_saved: bool
    changes: ListChanges | None
    tagger: str
    seconds: float
    note: str
    people: list[str]
    is_current: bool
    can_restore: bool


class TimelineAnswer(Answer):
    """Who did what when to a photo, oldest first."""

    entries: list[TimelineEntry]
    revision: Revision


class LogEvent(Answer):
    """One entry of the correction log."""

    event_id: int
    kind: Annotated[str, Field(examples=["save"])]
    user_name: User
    created_at: Time
    revision: Revision
    before_tags: list[str]
    after_tags: TagList
    is_saved: bool
    edit_script: list[Any]
    dropped: list[str]
    undoes: int | None
    tagger: str | None
    shown: list[JsonObject]
    actions: list[list[Any]]
    seconds: float | None
    num_keys: int | None
    num_clicks: int | None


class History(Answer):
    """The log entries of a photo, oldest first."""

    events: list[LogEvent]


class StateCounts(Answer):
    """Number of photos in each state."""

    states: dict[str, int]


class Asked(StateCounts):
    """Several people were asked about photos."""

    num_asked: int


class GivenResponse(Answer):
    """One person's response to a photo."""

    user: User
    revision: Revision
    answered_at: str
    tags: TagList
    dropped: list[str]
    is_sent_back: bool


class PairOfResponses(Answer):
    """How far two responses agree; measures without data are null."""

    users: list[str]
    tau_b: float | None
    rbo: float | None
    ndcg: float | None
    jaccard: float | None


class Decision(Answer):
    """A reviewer's decision."""

    review_id: int
    user_name: User
    created_at: Time
    verdict: str
    note: str
    people: list[str]
    event_id: int | None


class ReviewedPhoto(Answer):
    """The responses to a photo side by side."""

    image_id: PhotoId
    image_url: str
    file_name: FileName
    state: str
    place: int
    num_in_review: int
    asked_of: int
    revision: Revision
    revisions: dict[str, int]
    accepted: list[str] | None
    answers: list[GivenResponse]
    pairs: list[PairOfResponses]
    mean: dict[str, float | None]
    tags: list[TagAgreement]
    places: list[PlaceAgreement]
    decisions: list[Decision]


class NothingToReview(StateCounts):
    """No photo is in review."""

    done: Literal[True]


class AgreementReport(Answer):
    """How far people agree with the accepted lists and with one another."""

    num_answers: int
    num_accepted: int
    people: list[JsonObject]
    pairs: list[JsonObject]
    tags: list[JsonObject]


class Assigned(Answer):
    """Photos were assigned, or given back to everybody."""

    assigned: dict[str, int]
    num_given_back: int
    before: dict[str, list[int]] | None = None
    """Person -> photos that they had, "" for those of everybody; if that was asked for."""


class PutOff(Answer):
    """Photos were put off, or taken up again."""

    image_ids: list[int]
    """Those that were."""
    num_left_out: int


# Tags on many photos, sidecars


class PhotoWithoutTag(Answer):
    """A saved photo that may lack a tag."""

    image_id: PhotoId
    image_url: str
    file_name: FileName
    kept: TagList
    dropped: list[str]
    revision: Revision


class MissingTags(Answer):
    """Saved photos that may lack a tag, the likeliest first."""

    tag: Tag
    num_examples: int
    num_likely: int
    note: str
    items: list[PhotoWithoutTag]


class TagChangeEntry(Answer):
    """A tag was renamed, merged, split, aliased, deleted, or put below another one."""

    change_id: int
    kind: Annotated[str, Field(examples=["rename"])]
    old_tag: Tag
    new_tag: Tag
    changed_at: Time
    user_name: User
    is_undone: bool


class TagChangesAnswer(Answer):
    """All changes of tags, oldest first."""

    changes: list[TagChangeEntry]


class ChangedTag(Answer):
    """A tag was changed on so many photos; `undo_change` takes the change back."""

    num_photos: int
    now_common: list[str]
    change_id: int


class ListedTag(Answer):
    """A tag of the project."""

    tag: Tag
    num_photos: int
    """Saved photos that carry it."""
    aliases: list[str]
    """Other words for it, and its former names; at most 20."""
    parent: str
    """The tag above it; empty: none."""
    is_never_proposed: bool


class ListedTags(Answer):
    """One page of the project's tags."""

    total: int
    """Tags that were found."""
    num_in_use: int
    """Tags that a saved photo carries."""
    items: list[ListedTag]


class ExamplePhoto(Answer):
    """A saved photo with a tag."""

    image_id: PhotoId
    thumbnail_url: str
    file_name: FileName


class SimilarTag(Answer):
    """A tag in use that may be the same as another one."""

    tag: Tag
    reason: Literal["form", "accents", "word_order", "spelling", "meaning"]
    why: Sentence
    num_photos: int


class TagDetails(Answer):
    """What is known of one tag."""

    tag: Tag
    num_photos: int
    aliases: list[str]
    parent: str
    above: list[str]
    """The tags above it, the highest first."""
    below: list[str]
    """The tags whose parent it is; at most 20."""
    is_never_proposed: bool
    examples: list[ExamplePhoto]
    similar: list[SimilarTag]
    """The surest first."""
    has_word_vectors: bool
    """Whether tags of similar meaning were looked for."""


class ChangedList(Answer):
    """A list before and after a change."""

    name: FileName
    before: TagList
    after: TagList


class TagChangePreview(Answer):
    """What a change of a tag would do; nothing was changed."""

    old: Tag
    new: str
    num_photos: int
    """Photos whose tags change."""
    num_refusals: int
    """Photos on which only the refused tags change."""
    num_emptied: int
    """Photos that are left without tags."""
    rows: list[ChangedList]
    """The first three."""
    notes: list[str]
    seen_event: int
    """To be sent with the change."""


class PredictedResult(Answer):
    """One result of a prediction, in Label Studio's form."""

    id: str
    from_name: Annotated[str, Field(examples=["tags"])]
    to_name: Annotated[str, Field(examples=["image"])]
    type: Annotated[str, Field(examples=["choices"])]
    value: Annotated[JsonObject, Field(examples=[{"choices": ["cat", "sofa"]}])]


class Prediction(Answer):
    """The prediction for a task; without results where the project has no such photo."""

    model_version: str
    score: Share
    result: list[PredictedResult]


class Predictions(Answer):
    """A prediction for each task, in their order."""

    results: list[Prediction]


class TroubledSidecar(Answer):
    """A sidecar that is not in step with the saved list."""

    image_id: PhotoId
    file_name: FileName
    state: str
    saved: TagList
    found: TagList
    reason: str


class SidecarsAnswer(Answer):
    """How many sidecars are in step, and those that are not."""

    profile: str
    num_written: int
    num_changed: int
    num_failed: int
    num_waiting: int
    items: list[TroubledSidecar]


# Formats of other programs, order rules, fields


class FormatOption(Answer):
    """An option of a format."""

    name: str
    default: str | bool | int | float
    what: Sentence


class FormatSurvival(Answer):
    """What of a list can be read back from a format: yes, no or partly."""

    order: str
    scores: str
    who: str
    dropped: str
    hierarchy: str


class FormatEntry(Answer):
    """A format of another program."""

    name: Annotated[str, Field(examples=["captions"])]
    summary: str
    reads: bool
    writes: bool
    layout: str
    survives: FormatSurvival
    options: list[FormatOption]


class FormatsAnswer(Answer):
    """Every format."""

    formats: list[FormatEntry]


class PhotoProblem(Answer):
    """Why a photo is left out, or what a person should know of it."""

    photo: FileName
    reason: Sentence


class FoundNames(Answer):
    """The photos that names mean."""

    image_ids: list[int]
    missing: list[PhotoProblem]


class PreviewRow(Answer):
    """One of the first photos; of suggestions: one of some that are spread over all, with its thumbnail."""

    name: FileName
    tags: TagList
    thumbnail_url: str = ""


class WrittenText(Answer):
    """A file as it would be written; its text is empty where it is no text."""

    name: str
    text: str


class ExportPreview(Answer):
    """How many photos are chosen, and the first five as they would be written."""

    num_photos: int
    rows: list[PreviewRow]
    files: list[WrittenText]
    num_left_out: int
    left_out: list[PhotoProblem]
    num_notes: int
    notes: list[PhotoProblem]


class TransferState(Answer):
    """How far an export or import is; what follows `problem` is there once it is known."""

    transfer_id: str
    kind: Literal["export", "import"]
    state: Literal["open", "running", "ready", "done", "failed", "cancelled"]
    num_done: int
    num_photos: int | None
    problem: str
    num_left_out: int = 0
    left_out: list[PhotoProblem] = []
    num_notes: int = 0
    notes: list[PhotoProblem] = []
    num_written: int = 0
    file_name: str = ""
    num_bytes: int = 0
    num_planned: int = 0
    rows: list[PreviewRow] = []
    change_id: int | None = None
    change_ids: list[int] = []
    """The changes that it made, oldest first; all are undone to undo it."""


class ManyChanged(Answer):
    """A change of many photos."""

    change_id: int
    kind: Annotated[str, Field(examples=["accepted"])]
    source: str
    user: User
    changed_at: Time
    num_photos: int
    is_undone: bool


class ChangesAnswer(Answer):
    """The changes of many photos, oldest first."""

    changes: list[ManyChanged]


class UndoneChange(Answer):
    """A change of many photos was undone."""

    change_id: int
    num_undone: int
    num_kept: int


class WrittenField(Answer):
    """A field was written."""

    value: str


class OrderRulesAnswer(Answer):
    """The rules of the project; empty: none."""

    order_rules: JsonObject


class ReorderedRow(Answer):
    """A list before and after the rules."""

    name: FileName
    before: TagList
    after: TagList


class Reordered(Answer):
    """How many lists the rules change."""

    num_photos: int
    num_changed: int
    is_dry_run: bool
    change_id: int | None
    """For `undo_change`; null if nothing was written."""
    rows: list[ReorderedRow]


class EditedTags(Answer):
    """What an edit of many photos changes, or would change."""

    num_photos: int
    """Chosen photos."""
    num_lists: int
    """Saved lists that change."""
    num_drafts: int
    """Photos without a saved list whose draft changes."""
    num_closed: int
    """Photos that stay, as this person may not change them or several people are asked about them."""
    is_dry_run: bool
    change_id: int | None
    """For `undo_change`; null if nothing was written."""
    rows: list[ReorderedRow]


# The project


class UnreadableFile(Answer):
    """A file that could not be read."""

    path: FileName
    reason: Sentence


class UnreadableFiles(Answer):
    """A page of the files that could not be read, and the number of all by type."""

    total: int
    types: dict[str, int]
    items: list[UnreadableFile]


class EffortReport(Answer):
    """What tagging has cost, and how often proposals were kept; means without data are null."""

    num_saves: int
    num_photos: int
    mean_actions: float | None
    median_seconds: float | None
    over_time: list[JsonObject]
    by_model: list[JsonObject]
    acceptance_by_rank: list[JsonObject]
    tags_added: list[JsonObject]
    tags_dropped: list[JsonObject]
    order: JsonObject
    queue: JsonObject
    repeats: list[JsonObject]
    probes: list[JsonObject]


class Findings(Answer):
    """What a check of the project found; empty: nothing."""

    findings: list[Finding]


class WebhookEntry(Answer):
    """A webhook, and how far it was told."""

    webhook_id: int
    url: Annotated[str, Field(examples=["https://example.org/hook"])]
    added_at: Time
    num_delivered: int
    num_waiting: int
    problem: str
    """Why the next event could not be delivered yet; empty: nothing is wrong."""


class WebhooksAnswer(Answer):
    """The webhooks of the project."""

    webhooks: list[WebhookEntry]


class ChosenTagger(Answer):
    """The tagger that proposes now."""

    tagger: str


class QueueAnswer(Answer):
    """How the next photo is chosen now."""

    queue: QueueState


class ShowExpected(Answer):
    """Whether the expected line is drawn."""

    show_expected: bool


class NeverProposed(Answer):
    """The tags that are never proposed."""

    never_proposed: TagList


class Keys(Answer):
    """Actions and their keys."""

    keys: dict[str, list[str]]


# Learning


class Training(Answer):
    """One training."""

    run_id: int
    cause: str
    user: User
    started_at: Time
    ended_at: Time | None
    state: str
    sentence: Sentence
    num_corrections: int


class TrainingInFull(Training):
    """One training with its settings and its report."""

    settings: JsonObject
    report: JsonObject


class ModelEntry(Answer):
    """One model, live or not."""

    model_id: int
    name: str
    tagger: str
    parent_id: int | None
    run_id: int | None
    created_at: Time
    num_fresh: int | None
    num_replayed: int | None
    new_tags: list[Any]
    actions_per_photo: float | None
    ndcg: float | None
    verdict: str
    label: str
    is_live: bool


class PlaceInQueue(Answer):
    """In the hosted demo: the place of a training that waits."""

    position: int
    seconds: float


class ModelsAnswer(Answer):
    """The models, the trainings, and which model is live."""

    is_training: bool
    run_id: int | None
    progress: JsonObject | None
    num_new: int
    can_learn: bool
    why_not: str
    last: Training | None
    live_id: int
    models: list[ModelEntry]
    settings: LoopSettings
    waiting: PlaceInQueue | None = None
    problem: str = ""
    by_hand_only: bool = False


class StartedTraining(Answer):
    """The training that was started or cancelled; null in the hosted demo."""

    run_id: int | None


class LiveModel(Answer):
    """The model that proposes now."""

    live_id: int
    name: str


class LoopSettingsAnswer(Answer):
    """The settings of the loop."""

    train_after: int
    train_every_minutes: float
    promotes: bool
    gold_share: float
    newest_share: float
    least_photos: int
    most_photos: int
    confidence: float
    gold_margin: float
    num_threads: int
    niceness: int


ANSWERS: Mapping[str, Any] = {
    "state": StateAnswer,
    "open": Photo | NothingLeft,
    "step": Photo,
    "strip": Strip,
    "browse": FoundPhotos,
    "facets": Facets,
    "found_ids": FoundIds,
    "save_search": SavedSearches,
    "edit_tags": EditedTags,
    "hold": Done,
    "leave": Done,
    "skip": Photo | NothingLeft,
    "put_off": PutOff,
    "propose": Proposals,
    "complete": Completions,
    "explain": Explanation,
    "heat_map": HeatMap,
    "save": SavedList,
    "undo": UndonePhoto,
    "look_alikes": LookAlikes,
    "propose_group": GroupProposals,
    "save_group": SavedGroupList,
    "timeline": TimelineAnswer,
    "history": History,
    "restore": Photo,
    "ask": Asked,
    "review": ReviewedPhoto | NothingToReview,
    "accept": SavedList,
    "send_back": StateCounts,
    "agreement": AgreementReport,
    "assign": Assigned,
    "end_lease": Done,
    "missing_tags": MissingTags,
    "tag_changes": TagChangesAnswer,
    "change_tag": ChangedTag,
    "list_tags": ListedTags,
    "tag_details": TagDetails,
    "preview_tag_change": TagChangePreview,
    "predict_tasks": Predictions,
    "sidecars": SidecarsAnswer,
    "settle_sidecar": SidecarsAnswer,
    "formats": FormatsAnswer,
    "find_photos": FoundNames,
    "preview_export": ExportPreview,
    "start_export": TransferState,
    "transfer": TransferState,
    "cancel_transfer": TransferState,
    "begin_import": TransferState,
    "plan_import": TransferState,
    "plan_suggestions": TransferState,
    "carry_out_import": TransferState,
    "changes": ChangesAnswer,
    "undo_change": UndoneChange,
    "set_field": WrittenField,
    "order_rules": OrderRulesAnswer,
    "set_order_rules": OrderRulesAnswer,
    "reorder": Reordered,
    "unreadable": UnreadableFiles,
    "webhooks": WebhooksAnswer,
    "effort_report": EffortReport,
    "check": Findings,
    "set_tagger": ChosenTagger,
    "set_strategy": QueueAnswer,
    "set_show_expected": ShowExpected,
    "set_never_proposed": NeverProposed,
    "projects": RecentProjects,
    "list_folder": Folder,
    "open_project": OpeningProject,
    "close_project": ClosingProject,
    "set_keys": Keys,
    "models": ModelsAnswer,
    "training_run": TrainingInFull,
    "train_now": StartedTraining,
    "submit_model": StartedTraining,
    "cancel_training": StartedTraining,
    "promote_model": LiveModel,
    "roll_back": LiveModel,
    "set_loop": LoopSettingsAnswer,
}
"""Operation -> what it answers."""

ERRORS: Mapping[str, Sequence[type[AnnotatorError]]] = {
    "open": [UnknownImageError],
    "step": [UnknownImageError],
    "strip": [UnknownImageError],
    "hold": [UnknownImageError, LeaseError, ReviewError],
    "leave": [UnknownImageError],
    "skip": [UnknownImageError, LeaseError],
    "put_off": [TagError],
    "propose": [UnknownImageError, LeaseError, ReviewError, TagError],
    "browse": [UnknownImageError],
    "found_ids": [UnknownImageError],
    "save_search": [ConfigError],
    "edit_tags": [ConfigError, TagError, StaleRevisionError],
    "complete": [UnknownImageError],
    "explain": [UnknownImageError],
    "heat_map": [UnknownImageError],
    "save": [UnknownImageError, StaleRevisionError, ReviewError, TagError, LeaseError],
    "undo": [StaleRevisionError, ReviewError],
    "look_alikes": [UnknownImageError],
    "propose_group": [UnknownImageError, TagError],
    "save_group": [UnknownImageError, StaleRevisionError, ReviewError, TagError, LeaseError],
    "timeline": [UnknownImageError],
    "history": [UnknownImageError],
    "restore": [UnknownImageError, StaleRevisionError, ReviewError, LeaseError],
    "ask": [UnknownImageError, ReviewError, AccountError],
    "review": [UnknownImageError, ReviewError],
    "accept": [UnknownImageError, StaleRevisionError, ReviewError, TagError, LeaseError],
    "send_back": [UnknownImageError, StaleRevisionError, ReviewError, LeaseError],
    "assign": [UnknownImageError, AccountError],
    "end_lease": [UnknownImageError],
    "missing_tags": [TagError],
    "change_tag": [TagError, StaleRevisionError],
    "tag_details": [TagError],
    "preview_tag_change": [TagError],
    "predict_tasks": [ConfigError],
    "settle_sidecar": [UnknownImageError, ConfigError, LeaseError, ReviewError],
    "preview_export": [ConfigError, TagError],
    "start_export": [ConfigError, TagError],
    "transfer": [ConfigError],
    "cancel_transfer": [ConfigError],
    "plan_import": [ConfigError],
    "plan_suggestions": [ConfigError, TagError],
    "carry_out_import": [ConfigError],
    "set_field": [UnknownImageError, ConfigError, LeaseError, ReviewError],
    "set_order_rules": [ConfigError],
    "reorder": [ConfigError, TagError, StaleRevisionError],
    "set_tagger": [ConfigError],
    "set_strategy": [ConfigError],
    "set_never_proposed": [TagError, ConfigError],
    "projects": [ConfigError],
    "list_folder": [ConfigError],
    "open_project": [ConfigError],
    "close_project": [ConfigError],
    "set_keys": [ConfigError],
    "training_run": [ConfigError],
    "train_now": [TrainingError],
    "submit_model": [CheckpointError, TrainingError],
    "cancel_training": [TrainingError],
    "promote_model": [ConfigError],
    "roll_back": [ConfigError],
    "set_loop": [ConfigError],
}
"""Operation -> the errors that it answers, besides those that every operation may answer."""
