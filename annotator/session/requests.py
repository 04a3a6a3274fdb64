"""The shape and limits of every request to a session.

Pydantic refuses unknown fields, wrong types and values out of range. Knows nothing of what answers a request.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from annotator.collaboration.responses import MOST_PEOPLE
from annotator.proposals.proposer import Exclusions
from annotator.session.edited_list import EditedList
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
    """Open an image; null opens the one to work on now."""

    image_id: ImageId | None = None


class StepRequest(ImageRequest):
    """The image before or after one."""

    by: Literal[-1, 1]


class StripRequest(ImageRequest):
    """The images around one."""

    num_before: Annotated[int, Field(ge=0, le=100)] = 3
    num_after: Annotated[int, Field(ge=0, le=100)] = 12


class ListRequest(ImageRequest):
    """The list as it stands."""

    kept: Tags
    dropped: Tags = []
    revision: Annotated[int, Field(ge=0, le=2**31 - 2)] = 0


class ExclusionsRequest(Payload):
    """What is not evidence this time."""

    without_neighbours: Annotated[list[ImageId], Field(max_length=1000)] = []
    without_sources: Annotated[list[Annotated[str, StringConstraints(max_length=40)]], Field(max_length=40)] = []

    def exclusions(self) -> Exclusions:
        """Return it as the ranking takes it."""
        return Exclusions(frozenset(self.without_neighbours), frozenset(self.without_sources))


class ProposeRequest(ListRequest, ExclusionsRequest):
    """The list as it stands, and what is not evidence this time."""


class TagRequest(ImageRequest):
    """A request about one tag of one image."""

    tag: Text


class ExplainRequest(TagRequest, ExclusionsRequest):
    """Why a tag is proposed, without what is excluded."""


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
    """Which photo comes next; null leaves a share as it is."""

    strategy: Annotated[str, StringConstraints(max_length=100)]
    random_share: Share | None = None
    probe_share: Share | None = None


class AssignRequest(Payload):
    """Photos, named or found, and to whom they are assigned."""

    users: Annotated[list[Annotated[str, StringConstraints(max_length=80)]], Field(max_length=1000)]
    image_ids: Annotated[list[ImageId], Field(max_length=1_000_000)] = []
    query: Annotated[str, StringConstraints(max_length=500)] = ""
    state: Literal["all", "saved", "unsaved"] = "unsaved"


class AskRequest(AssignRequest):
    """Photos, named or found, and how many people are asked about each; users restricts who."""

    people: Annotated[int, Field(ge=0, le=MOST_PEOPLE)]
    users: Annotated[list[Annotated[str, StringConstraints(max_length=80)]], Field(max_length=1000)] = []
    share: Share = 1.0
    added_too: bool = False


class CompleteRequest(ImageRequest):
    """What is being typed."""

    text: Text
    kept: Tags = []


class ShownTag(Payload):
    """One line of the list first shown."""

    tag: Text
    score: float
    source: Annotated[str, StringConstraints(max_length=40)]


class SaveRequest(ListRequest):
    """A list to save, and what it cost."""

    shown: Annotated[list[ShownTag], Field(max_length=200)] = []
    tagger: Annotated[str, StringConstraints(max_length=200)] = ""
    seconds: Annotated[float, Field(ge=0, le=1e7)] = 0.0
    num_keys: Annotated[int, Field(ge=0, le=10**6)] = 0
    num_clicks: Annotated[int, Field(ge=0, le=10**6)] = 0
    actions: Annotated[list[list[Text | int | float | None]], Field(max_length=5000)] = []

    def edited_list(self) -> EditedList:
        """Return it as the services take it."""
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
    """A list to save, what it cost, and whether the next photo comes with the answer."""

    brings_next: bool = True


class ProposeGroupRequest(ProposeRequest):
    """The list as it stands, and the other photos that it is to fit."""

    members: Annotated[list[ImageId], Field(max_length=MOST_PHOTOS)] = []


class GroupMember(ImageRequest):
    """A photo to save along, and the revision that was seen of it."""

    revision: Annotated[int, Field(ge=0, le=2**31 - 2)]


class SaveGroupRequest(SaveRequest):
    """A list to save to several photos, and what it cost."""

    members: Annotated[list[GroupMember], Field(max_length=MOST_PHOTOS)] = []


Revisions = Annotated[dict[Name, Annotated[int, Field(ge=1, le=2**31 - 2)]], Field(max_length=1000)]


class ReviewRequest(Payload):
    """A photo to review; null takes the next one in review after another."""

    image_id: ImageId | None = None
    after: ImageId | None = None


class AcceptRequest(SaveRequest):
    """A list to accept, what it cost, and the revisions of the responses that were looked at."""

    seen: Revisions | None = None


class SendBackRequest(ImageRequest):
    """A photo that people are to respond to again, and why; nobody named means everybody."""

    people: Annotated[list[Name], Field(max_length=1000)] = []
    note: Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)]
    revision: Annotated[int, Field(ge=0, le=2**31 - 2)] = 0
    seen: Revisions | None = None


class RestoreRequest(ImageRequest):
    """An entry of a photo's time line whose list is to be current again."""

    entry_id: Annotated[str, StringConstraints(max_length=40)]
    revision: Annotated[int, Field(ge=0, le=2**31 - 2)]


class PageRequest(Payload):
    """A window on a list."""

    offset: Annotated[int, Field(ge=0, le=2**31)] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class BrowseRequest(PageRequest):
    """A window on the photos that match."""

    query: Annotated[str, StringConstraints(max_length=500)] = ""
    state: Literal["all", "saved", "unsaved", "new", "draft", "in_review", "accepted"] = "all"


class KeysRequest(Payload):
    """Actions and their keys."""

    keys: Annotated[
        dict[str, Annotated[list[Annotated[str, StringConstraints(max_length=60)]], Field(max_length=8)]],
        Field(max_length=100),
    ]


class RunRequest(Payload):
    """A training."""

    run_id: Annotated[int, Field(ge=1, le=2**31 - 1)]


class ModelRequest(Payload):
    """A model to let propose."""

    model_id: Annotated[int, Field(ge=1, le=2**31 - 1)]


class RollBackRequest(Payload):
    """A model to go back to; null is the one before."""

    model_id: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None


class LoopSettingsRequest(Payload):
    """Settings of the loop to change; null leaves one as it is."""

    train_after: int | None = None
    train_every_minutes: float | None = None
    promotes: bool | None = None
    gold_share: float | None = None
    newest_share: float | None = None
    least_photos: int | None = None
    gold_margin: float | None = None


class ChangeTagRequest(Payload):
    """A tag to rename, merge, split or alias."""

    kind: Literal["rename", "merge", "split", "alias"]
    old: Text
    new: Text
    where: Text = ""


class ShowExpectedRequest(Payload):
    """Whether the expected line is drawn."""

    shown: bool
