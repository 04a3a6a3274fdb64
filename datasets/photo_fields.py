"""Fields of a photo beside its tags (title, description, category): their kinds, and what is proposed for each.

The proposal follows a plain rule, so that a person knows what to expect. Knows nothing of projects.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotator.datasets.tags import tag_key
from annotator.errors import ConfigError, DataError

KINDS = ("text", "choice")
MAX_FIELDS = 20
MAX_CHOICES = 500
MAX_NAME = 40
MAX_VALUE = 2_000
"""Most characters of a value."""
TITLE, DESCRIPTION, CATEGORY = "title", "description", "category"
"""Names that the formats of stock sites and XMP know."""
TITLE_TAGS = 5
"""Tags of a proposed title."""
DESCRIPTION_TAGS = 10


@dataclass(frozen=True)
class FieldSpec:
    """One field of a project's photos."""

    name: str
    kind: str = "text"
    """text, or choice: one of `choices`."""
    choices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or len(self.name) > MAX_NAME:
            raise ConfigError(f"A field needs a name of at most {MAX_NAME} characters; got {str(self.name)[:60]!r}.")
        if self.kind not in KINDS:
            raise ConfigError(f"The field {self.name} must be of the kind {' or '.join(KINDS)}; got {self.kind!r}.")
        choices = self.choices
        if not isinstance(choices, list | tuple) or not all(isinstance(one, str) and one.strip() for one in choices):
            raise ConfigError(f"The choices of the field {self.name} must be a list of texts.")
        object.__setattr__(self, "choices", tuple(dict.fromkeys(choices)))
        if (self.kind == "choice") != bool(self.choices) or len(self.choices) > MAX_CHOICES:
            raise ConfigError(f"The field {self.name} needs 1 to {MAX_CHOICES} choices if it is a choice, else none.")

    def clean(self, value: str) -> str:
        """Return a value as it is stored; empty: none.

        Raises:
            DataError: It is too long, holds control characters, or is none of the choices.
        """
        text = " ".join(value.split())
        if len(text) > MAX_VALUE:
            raise DataError(f"The {self.name} has {len(text):,} characters; at most {MAX_VALUE:,} are kept.")
        if not all(letter.isprintable() for letter in text):
            raise DataError(f"The {self.name} holds a control character.")
        if self.kind == "choice" and text and text not in self.choices:
            raise DataError(f"The {self.name} {text[:60]!r} is none of the choices: {', '.join(self.choices[:10])}.")
        return text

    def proposed(self, tags: Sequence[str], caption: str, levels: Mapping[str, Sequence[str]]) -> str:
        """Return what is proposed for a photo.

        A title: the first tags. A description: the photo's caption, else more tags. A choice: the first that is one of
        the tags, or stands above one, in the order of the tags.

        Args:
            tags: Most important first.
            caption: Of the photo's metadata; may be empty.
            levels: Tag key -> the tags above it.
        """
        if self.kind == "choice":
            choices = {tag_key(choice): choice for choice in self.choices}
            for tag in tags:
                for name in (tag, *reversed(levels.get(tag_key(tag), ()))):
                    if tag_key(name) in choices:
                        return choices[tag_key(name)]
            return ""
        if self.name == TITLE:
            return _sentence(tags[:TITLE_TAGS], " ")
        if self.name == DESCRIPTION:
            return " ".join(caption.split())[:MAX_VALUE] or _sentence(tags[:DESCRIPTION_TAGS], ", ")
        return ""


def fields_from(values: Iterable[FieldSpec | Mapping[str, Any]]) -> tuple[FieldSpec, ...]:
    """Return fields, also from JSON values.

    Raises:
        ConfigError: They are too many, two have one name, or one is of another form.
    """
    if not isinstance(values, list | tuple):
        raise ConfigError("fields must be a list.")
    try:
        found = tuple(one if isinstance(one, FieldSpec) else FieldSpec(**one) for one in values)
    except TypeError as error:
        raise ConfigError(f"A field must be an object with name, kind and choices: {error}.") from error
    if len(found) > MAX_FIELDS or len({one.name for one in found}) < len(found):
        raise ConfigError(f"At most {MAX_FIELDS} fields of different names can be kept.")
    return found


def parse_field(text: str) -> FieldSpec:
    """Return the field that a command line names: `title`, or `category:Animals|Food|Travel`.

    Raises:
        ConfigError: It is of another form.
    """
    name, colon, choices = text.partition(":")
    if not colon:
        return FieldSpec(name.strip())
    return FieldSpec(name.strip(), "choice", tuple(one.strip() for one in choices.split("|") if one.strip()))


def _sentence(words: Sequence[str], between: str) -> str:
    text = between.join(words)
    return text[:1].upper() + text[1:]
