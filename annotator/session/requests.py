"""The shape and limits of every request to a session.

Pydantic refuses unknown fields, wrong types and values out of range. Knows nothing of the handlers.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from annotator.collaboration.responses import MOST_PEOPLE
from annotator.datasets.tags import MAX_TAG_LENGTH
from annotator.exchange.selection import Selection
from annotator.exchange.tag_edits import TagEdit
from annotator.proposals.proposer import Exclusions
from annotator.session.edited_list import EditedList
from annotator.session.exporting import Chosen
from annotator.session.photo_groups import MOST_PHOTOS
from annotator.storage.correction_log import Effort

Text = Annotated[str, StringConstraints(max_length=20_000)]
Tags = Annotated[list[Text], Field(max_length=1000)]
ImageId = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Payload(BaseModel):
    """Base of all requests: unknown fields and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class EmptyRequest(Payload):
    """A request without parameters."""


class ImageRequest(Payload):
    """A request about one image."""

    image_id: ImageId


class OpenRequest(Payload):
    """Open an image; null opens the next one to tag."""

    image_id: ImageId | None = None


class StepRequest(ImageRequest):
    """The image a number of steps before or after one."""

    by: Literal[-1, 1]


class StripRequest(ImageRequest):
    """The images before and after one."""

    num_before: Annotated[int, Field(ge=0, le=100)] = 3
    num_after: Annotated[int, Field(ge=0, le=100)] = 12


class SettleSidecarRequest(ImageRequest):
    """Whose list of a photo counts: the saved one, or that of its sidecar, which another program has changed."""

    take: Literal["ours", "theirs"]


class ListRequest(ImageRequest):
    """The current list of an image."""

    kept: Tags
    dropped: Tags = []
    revision: Annotated[int, Field(ge=0, le=2**31 - 2)] = 0


class ExclusionsRequest(Payload):
    """Evidence to leave out."""

    without_neighbours: Annotated[list[ImageId], Field(max_length=1000)] = []
    without_sources: Annotated[list[Annotated[str, StringConstraints(max_length=40)]], Field(max_length=40)] = []

    def exclusions(self) -> Exclusions:
        """Return it in the form of the ranking."""
        return Exclusions(frozenset(self.without_neighbours), frozenset(self.without_sources))


class ProposeRequest(ListRequest, ExclusionsRequest):
    """The current list of an image, and evidence to leave out."""


class TagRequest(ImageRequest):
    """A request about one tag of one image."""

    tag: Text


class ExplainRequest(TagRequest, ExclusionsRequest):
    """Why a tag is proposed, with evidence left out."""


class MissingTagsRequest(Payload):
    """A tag to look for among the saved photos that lack it."""

    tag: Text
    limit: Annotated[int, Field(ge=1, le=200)] = 200


class ChooseTaggerRequest(Payload):
    """A tagger to choose."""

    tagger: Annotated[str, StringConstraints(max_length=4000)]


Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, StringConstraints(max_length=80)]


class QueueRequest(Payload):
    """The query strategy and its shares; null leaves a share as it is."""

    strategy: Annotated[str, StringConstraints(max_length=100)]
    random_share: Share | None = None
    probe_share: Share | None = None


class AssignRequest(Payload):
    """Photos, by id or by search, and the users to assign them to."""

    users: Annotated[list[Annotated[str, StringConstraints(max_length=80)]], Field(max_length=1000)]
    image_ids: Annotated[list[ImageId], Field(max_length=1_000_000)] = []
    query: Annotated[str, StringConstraints(max_length=500)] = ""
    state: Literal["all", "saved", "unsaved"] = "unsaved"


class AssignToRequest(AssignRequest):
    """The same, and whether the answer tells who had the photos before."""

    tells_before: bool = False


class AskRequest(AssignRequest):
    """Photos, by id or by search, and how many people to ask about each; users restricts who is asked."""

    people: Annotated[int, Field(ge=0, le=MOST_PEOPLE)]
    users: Annotated[list[Annotated[str, StringConstraints(max_length=80)]], Field(max_length=1000)] = []
    share: Share = 1.0
    added_too: bool = False


class CompleteRequest(ImageRequest):
    """A typed text to complete; none longer than a tag has a completion."""

    text: Annotated[str, StringConstraints(max_length=4 * MAX_TAG_LENGTH)]
    kept: Tags = []


class ShownTag(Payload):
    """One proposal of the list that was shown first."""

    tag: Text
    score: float
    source: Annotated[str, StringConstraints(max_length=40)]


class SaveRequest(ListRequest):
    """A list to save, and the effort spent on it."""

    shown: Annotated[list[ShownTag], Field(max_length=200)] = []
    tagger: Annotated[str, StringConstraints(max_length=200)] = ""
    seconds: Annotated[float, Field(ge=0, le=1e7)] = 0.0
    num_keys: Annotated[int, Field(ge=0, le=10**6)] = 0
    num_clicks: Annotated[int, Field(ge=0, le=10**6)] = 0
    actions: Annotated[list[list[Text | int | float | None]], Field(max_length=5000)] = []

    def edited_list(self) -> EditedList:
        """Return it in the form of the services."""
        effort = Effort(
            tagger=self.tagger,
            shown=[shown.model_dump() for shown in self.shown],
            actions=self.actions,
            seconds=self.seconds,
            num_keys=self.num_keys,
            num_clicks=self.num_clicks,
        )
        return EditedList(self.image_id, self.revision, self.kept, self.dropped, effort)


class SaveOneRequest(SaveRequest):
    """A list to save, the effort spent on it, and whether the answer brings the next photo."""

    brings_next: bool = True


class ProposeGroupRequest(ProposeRequest):
    """The current list of an image, and the other photos to propose for."""

    members: Annotated[list[ImageId], Field(max_length=MOST_PHOTOS)] = []


class GroupMember(ImageRequest):
    """Another photo to save the list for, and the revision that the client has of it."""

    revision: Annotated[int, Field(ge=0, le=2**31 - 2)]


class SaveGroupRequest(SaveRequest):
    """A list to save for several photos, and the effort spent on it."""

    members: Annotated[list[GroupMember], Field(max_length=MOST_PHOTOS)] = []


Revisions = Annotated[dict[Name, Annotated[int, Field(ge=1, le=2**31 - 2)]], Field(max_length=1000)]


class ReviewRequest(Payload):
    """A photo to review; null takes the next one in review after another."""

    image_id: ImageId | None = None
    after: ImageId | None = None


class AcceptRequest(SaveRequest):
    """A list to accept, the effort spent on it, and the revisions of the responses that were shown."""

    seen: Revisions | None = None


class SendBackRequest(ImageRequest):
    """A photo to send back, the people who respond again (empty: everybody), and a note."""

    people: Annotated[list[Name], Field(max_length=1000)] = []
    note: Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)]
    revision: Annotated[int, Field(ge=0, le=2**31 - 2)] = 0
    seen: Revisions | None = None


class RestoreRequest(ImageRequest):
    """An entry of a photo's time line to restore."""

    entry_id: Annotated[str, StringConstraints(max_length=40)]
    revision: Annotated[int, Field(ge=0, le=2**31 - 2)]


class PageRequest(Payload):
    """One page of a list: offset and limit."""

    offset: Annotated[int, Field(ge=0, le=2**31)] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class PredictTask(Payload):
    """The data of a task of Label Studio; the labelling interface names the key of the photo's link."""

    data: Annotated[dict[Text, Any], Field(max_length=1000)]


class PredictTasksRequest(Payload):
    """Tasks of Label Studio, and the labelling interface that they belong to."""

    label_config: Annotated[str, StringConstraints(max_length=1_000_000)]
    tasks: Annotated[list[PredictTask], Field(max_length=1000)]


FoundState = Literal["all", "saved", "unsaved", "empty", "changed", "new", "draft", "in_review", "accepted"]
Query = Annotated[str, StringConstraints(max_length=500)]


class FoundRequest(Payload):
    """What the library shows: the photos of a search."""

    query: Query = ""
    state: FoundState = "all"


class SortedRequest(FoundRequest):
    """The photos of a search in an order."""

    sort: Literal["folder", "name", "date", "saved", "queue", "alike"] = "folder"
    alike_to: ImageId | None = None


class BrowseRequest(PageRequest, SortedRequest):
    """One page of the photos that match a search."""


class SaveSearchRequest(FoundRequest):
    """A search to keep under a name; without `kept` it is forgotten."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=80)]
    sort: Literal["folder", "name", "date", "saved", "queue", "alike"] = "folder"
    kept: bool = True


class FolderRequest(Payload):
    """A folder of the server's machine."""

    path: Annotated[str, StringConstraints(max_length=4_000)]


class OpenProjectRequest(Payload):
    """A project or a folder of photos to open, or the demo."""

    path: Annotated[str, StringConstraints(max_length=4_000)] = ""
    demo: bool = False


class FacetsRequest(FoundRequest):
    """The facets of the photos of a search; `tag` is a text in the tags to return."""

    tag: Query = ""


class KeysRequest(Payload):
    """Actions and their keys."""

    keys: Annotated[
        dict[str, Annotated[list[Annotated[str, StringConstraints(max_length=60)]], Field(max_length=8)]],
        Field(max_length=100),
    ]


class RunRequest(Payload):
    """A training."""

    run_id: Annotated[int, Field(ge=1, le=2**31 - 1)]


class SubmitRequest(Payload):
    """A checkpoint to test that was trained elsewhere and copied into the project."""

    submission: Annotated[str, Field(max_length=16)]
    """Name of its folder; `annotator models PROJECT submit` makes it."""
    unseen: bool = False
    """It was trained on no list of this project."""


class ModelRequest(Payload):
    """A model to promote."""

    model_id: Annotated[int, Field(ge=1, le=2**31 - 1)]


class RollBackRequest(Payload):
    """A model to roll back to; null is the previous one."""

    model_id: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None


class LoopSettingsRequest(Payload):
    """Settings of the training loop to change; null leaves a setting as it is."""

    train_after: int | None = None
    train_every_minutes: float | None = None
    promotes: bool | None = None
    gold_share: float | None = None
    newest_share: float | None = None
    least_photos: int | None = None
    gold_margin: float | None = None


class ListTagsRequest(PageRequest):
    """One page of the project's tags: those that hold a text, in order."""

    query: Annotated[str, StringConstraints(max_length=500)] = ""
    order: Literal["count", "name"] = "count"


class TagDetailsRequest(Payload):
    """A tag to learn more of."""

    tag: Text


class PreviewTagChangeRequest(Payload):
    """A tag to rename, merge, alias, delete or put below another one, and what it becomes; delete takes nothing."""

    kind: Literal["rename", "merge", "alias", "delete", "parent"]
    old: Text
    new: Text = ""


class ChangeTagRequest(Payload):
    """A tag to rename, merge, split, alias, delete or put below another one.

    `seen_event` is that of the preview: if a photo was saved since, nothing is changed.
    """

    kind: Literal["rename", "merge", "split", "alias", "delete", "parent"]
    old: Text
    new: Text = ""
    where: Text = ""
    seen_event: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None


OptionValues = Annotated[
    dict[
        Annotated[str, StringConstraints(max_length=80)],
        Annotated[str, StringConstraints(max_length=2000)] | bool | int | float,
    ],
    Field(max_length=50),
]
FormatName = Annotated[str, StringConstraints(max_length=40)]
TransferId = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class SelectionRequest(Payload):
    """Chosen photos: by text, tag and state, of those with these ids, and of those that the browse view shows."""

    query: Annotated[str, StringConstraints(max_length=500)] = ""
    tag: Annotated[str, StringConstraints(max_length=200)] = ""
    state: Literal["all", "saved", "unsaved", "empty"] = "saved"
    image_ids: Annotated[list[ImageId], Field(max_length=1_000_000)] | None = None
    found: FoundRequest | None = None

    def chosen(self) -> Chosen:
        """Return it in the form of the services."""
        image_ids = None if self.image_ids is None else tuple(self.image_ids)
        found = None if self.found is None else (self.found.query, self.found.state)
        return Chosen(Selection(self.query, self.tag, self.state, image_ids), found)


class FindPhotosRequest(Payload):
    """Names of photos: paths, the ends of paths, or names without suffix."""

    names: Annotated[list[Annotated[str, StringConstraints(max_length=4000)]], Field(max_length=1_000_000)]


class ExportRequest(SelectionRequest):
    """Photos to export, the format and its options."""

    format: FormatName
    options: OptionValues = {}


class ExportLinesRequest(SelectionRequest):
    """Photos whose tags are downloaded line by line, as jsonl or csv."""

    format: FormatName = "jsonl"
    detailed: bool = False
    found: None = None
    """What the library shows is downloaded by `start_export`."""


class TransferRequest(Payload):
    """An export or import that was begun."""

    transfer_id: TransferId


class PlanImportRequest(TransferRequest):
    """What to import: sent files, or a path of this machine; the format, and what the lists become."""

    path: Annotated[str, StringConstraints(max_length=4000)] = ""
    format: FormatName
    options: OptionValues = {}
    kind: Literal["accepted", "draft", "proposal"] = "accepted"
    replaces: bool = False
    leaves_out: bool = False


class PlanSuggestionsRequest(TransferRequest):
    """Photos that get their suggestions, the least probability of one, and whether these become drafts or lists."""

    photos: SelectionRequest
    least: Annotated[float, Field(ge=0.05, le=1)]
    kind: Literal["draft", "suggested"] = "draft"


class UndoChangeRequest(Payload):
    """A change of many photos to undo; null is the newest."""

    change_id: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None


class FieldRequest(ImageRequest):
    """A field of a photo, what to write there, and what the person saw there."""

    field: Annotated[str, StringConstraints(max_length=40)]
    value: Annotated[str, StringConstraints(max_length=2_000)]
    was: Annotated[str, StringConstraints(max_length=2_000)] = ""


RuleTags = Annotated[list[Annotated[str, StringConstraints(max_length=200)]], Field(max_length=5_000)]


class OrderRulesRequest(Payload):
    """Rules for the order of a list that is saved; without any, lists stay as they are."""

    pinned: RuleTags = []
    classes: Annotated[list[RuleTags], Field(max_length=200)] = []
    before: Annotated[
        list[Annotated[list[Annotated[str, StringConstraints(max_length=200)]], Field(min_length=2, max_length=2)]],
        Field(max_length=1_000),
    ] = []
    most: Annotated[int, Field(ge=0, le=1000)] = 0


class ReorderRequest(OrderRulesRequest):
    """Rules, the photos whose saved lists they change, and whether that is only shown."""

    photos: SelectionRequest = SelectionRequest()
    is_dry_run: bool = True


class PutOffRequest(Payload):
    """Photos to put off until no other is left; with `back`, to take up again."""

    photos: SelectionRequest
    back: bool = False


class EditTagsRequest(Payload):
    """An edit of the tags of many photos, and whether that is only shown."""

    photos: SelectionRequest
    add: Annotated[list[Text], Field(max_length=100)] = []
    remove: Annotated[list[Text], Field(max_length=100)] = []
    replace: Annotated[dict[Text, Text], Field(max_length=100)] = {}
    first: Annotated[list[Text], Field(max_length=100)] = []
    is_dry_run: bool = True

    def edit(self) -> TagEdit:
        """Return it in the form of the services.

        Raises:
            ConfigError: It names no tag.
        """
        return TagEdit(tuple(self.add), tuple(self.remove), self.replace, tuple(self.first))


class NeverProposedRequest(Payload):
    """A tag that is never proposed in this project, or that is proposed again."""

    tag: Text
    never: bool = True


class ShowExpectedRequest(Payload):
    """Whether the expected line is drawn."""

    shown: bool
