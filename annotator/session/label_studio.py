"""Proposals in the form of Label Studio's ML-backend protocol: predictions for its tasks.

A task means the photo of this project that has the name in its link; nothing is fetched from there. Knows nothing of
HTTP. Protocol: label-studio-ml-backend, label_studio_ml/api.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree.ElementTree import Element

from defusedxml import ElementTree  # type: ignore[import-untyped]
from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]

from annotator.datasets.formats.labelstudio import LabelStudioOptions, name_of
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.datasets.tags import tag_key
from annotator.errors import ConfigError
from annotator.exchange.matching import PhotoFinder
from annotator.json_types import JsonObject
from annotator.session.photo_view import PhotoView
from annotator.session.workspace import Workspace

ControlKind = Literal["Choices", "Taxonomy", "TextArea"]
CONTROLS: tuple[ControlKind, ...] = ("Choices", "Taxonomy", "TextArea")
"""Tags of a labelling interface that can hold a list of tags, the most fitting first."""


@dataclass(frozen=True)
class Control:
    """Where a labelling interface takes tags of a photo."""

    kind: ControlKind
    from_name: str
    to_name: str
    data_key: str
    """Key of the photo's link in the data of a task."""
    choices: tuple[str, ...] = ()
    """The tags that it offers; empty: any."""
    is_single: bool = False

    def value(self, tags: Sequence[str]) -> JsonObject:
        """Return the value of a result with these tags, in this order."""
        if self.kind == "Taxonomy":
            return {"taxonomy": [[tag] for tag in tags]}
        return {"text" if self.kind == "TextArea" else "choices": list(tags)}

    def offered(self, tags: Sequence[str]) -> list[str]:
        """Return the tags that the interface offers, in its spelling."""
        spelled = {tag_key(choice): choice for choice in self.choices}
        found = [spelled[tag_key(tag)] for tag in tags if tag_key(tag) in spelled] if spelled else list(tags)
        return found[:1] if self.is_single else found


class LabelStudio:
    """Answers the requests of a Label Studio server.

    Args:
        workspace: The open project.
        view: Answers about photos.
    """

    def __init__(self, workspace: Workspace, view: PhotoView) -> None:
        self._workspace = workspace
        self._view = view
        self._finder: tuple[int, PhotoFinder] | None = None
        """(number of photos, finder)."""

    def predict(self, user: str, label_config: str, tasks: Sequence[Mapping[str, Any]]) -> JsonObject:
        """Return a prediction for each task, in their order; one without results where the project has no such photo.

        A saved photo is answered with its saved list, others with the proposals that are expected to be kept.

        Args:
            user: Who asks.
            label_config: The labelling interface, XML.
            tasks: Each with its ``data``.

        Raises:
            ConfigError: The labelling interface is no XML, or has no place for tags of a photo.
        """
        control = control_of(label_config)
        return {"results": [self._prediction(user, control, task) for task in tasks]}

    def _prediction(self, user: str, control: Control, task: Mapping[str, Any]) -> JsonObject:
        image_id = self._image_of(control, task)
        if image_id is None:
            return {"model_version": self.model_version(), "score": 0.0, "result": []}
        tags, scores, version = self._tags_of(user, image_id)
        offered = control.offered(tags)
        result = {
            "id": f"tags-{image_id}",
            "from_name": control.from_name,
            "to_name": control.to_name,
            "type": control.kind.lower(),
            "value": control.value(offered),
        }
        score = max((scores.get(tag_key(tag), 0.0) for tag in offered), default=0.0)
        return {"model_version": version, "score": score, "result": [result] if offered else []}

    def _tags_of(self, user: str, image_id: int) -> tuple[list[str], dict[str, float], str]:
        """Return (tags, tag key -> score, what they are from)."""
        workspace = self._workspace
        annotation = workspace.review_rules.list_of(user, image_id)
        if annotation.is_saved:
            return list(annotation.tags), {tag_key(tag): 1.0 for tag in annotation.tags}, "saved"
        entry = workspace.store.images.entry(image_id)
        found = self._view.proposals(user, image_id, entry, annotation.tags, annotation.dropped)
        proposals = found["proposals"][: max(1, found["num_expected"])]
        scores = {tag_key(item["tag"]): item["score"] for item in proposals}
        return [item["tag"] for item in proposals], scores, found["tagger"]

    def _image_of(self, control: Control, task: Mapping[str, Any]) -> int | None:
        data = task.get("data")
        link = data.get(control.data_key) if isinstance(data, Mapping) else None
        if not isinstance(link, str) or not link:
            return None
        num_photos = len(self._workspace.queue)
        if self._finder is None or self._finder[0] != num_photos:
            self._finder = num_photos, PhotoFinder.of(self._workspace.store)
        found = self._finder[1].find(TaggedPhoto(name_of(link, LabelStudioOptions()), ())).image_id
        return found if found is not None and found in self._workspace.queue else None

    def model_version(self) -> str:
        """Return what predicts now."""
        return self._workspace.catalog.chosen


def control_of(label_config: str) -> Control:
    """Return where a labelling interface takes tags of a photo.

    Raises:
        ConfigError: It is no XML, or has no such place.
    """
    try:
        root: Element = ElementTree.fromstring(label_config)
    except (ElementTree.ParseError, DefusedXmlException, ValueError) as error:
        raise ConfigError(f"The labelling interface cannot be read: {error}.") from error
    images = {
        one.get("name", ""): one.get("value", "").removeprefix("$") for one in root.iter("Image") if one.get("value")
    }
    for kind in CONTROLS:
        for one in root.iter(kind):
            to_name = one.get("toName", "")
            if to_name in images and one.get("name"):
                choices = tuple(
                    choice.get("value", "") for choice in one.iter("Choice") if choice.get("value") and not len(choice)
                )
                single = kind == "Choices" and one.get("choice", "single") != "multiple"
                return Control(kind, one.get("name", ""), to_name, images[to_name], choices, single)
    raise ConfigError(f"The labelling interface has no {' or '.join(CONTROLS)} for an Image.")
