"""A ranked list as one line of text, as trainers of diffusion models read it, and back.

Read in kohya-ss/sd-scripts, OneTrainer and TagGUI: a caption is one line, split at commas and stripped. Knows nothing
of files.
"""

import re
from dataclasses import dataclass

from annotator.datasets.formats.contract import check_choice
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.errors import ConfigError

KEEP_SEPARATOR = "|||"
"""What kohya's keep_tokens_separator is usually set to."""
_WEIGHT = re.compile(r"[(\[]+\s*([^()\[\]]+?)\s*(?::\s*\d+(?:\.\d+)?)?\s*[)\]]+")
_ESCAPED = re.compile(r"\\([()\[\]])")
_PAREN = re.compile(r"[()\[\]]")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_GENERATOR_LINES = ("negative prompt:", "steps:")


@dataclass(frozen=True)
class CaptionOptions:
    """Options of the caption formats."""

    trigger: str = ""
    """Words put before all tags, such as the name that a LoRA learns."""
    most: int = 0
    """Write only so many tags of each photo, the first ones; 0 writes all."""
    keep: int = 0
    """Put `|||` after so many tags, for kohya's keep_tokens_separator; 0 writes none."""
    spaces: str = "spaces"
    """How a space within a tag is written: spaces or underscores; reading with underscores gives spaces back."""
    escape: bool = False
    """Write brackets as `\\(`, so that they are no weights."""

    def __post_init__(self) -> None:
        check_choice("spaces", self.spaces, ("spaces", "underscores"))
        for name in ("most", "keep"):
            if getattr(self, name) < 0:
                raise ConfigError(f"The option {name} must be 0 or more; got {getattr(self, name)}.")
        if any(sign in self.trigger for sign in "\r\n"):
            raise ConfigError("The option trigger must be one line.")


def caption_problem(photo: TaggedPhoto, options: CaptionOptions) -> str | None:
    """Return why a photo's list cannot be a caption; None if it can."""
    if not photo.tags:
        return "it has no tags, and an empty caption stops a training"
    for tag in photo.tags[: options.most or None]:
        if "," in tag:
            return f"the tag {tag!r} holds a comma, at which trainers split"
        if KEEP_SEPARATOR in tag:
            return f"the tag {tag!r} holds {KEEP_SEPARATOR}, which parts the tags that are kept in place"
        if tag.startswith("\ufeff"):
            return f"the tag {tag!r} begins with a byte order mark"
        if not options.escape and _PAREN.search(tag) and parse_tag(tag) != tag:
            return f"the tag {tag!r} would be read as a weight; write brackets with escape=true"
        if options.spaces == "underscores" and "_" in tag and " " in tag:
            return f"the tag {tag!r} holds spaces and underscores, which would become the same"
    line = caption_line(photo, options)
    expected = [_plain(tag, options) for tag in photo.tags[: options.most or None]]
    if is_label_file(line) or [_plain(tag, options) for tag in parse_caption(line, options)] != expected:
        return "its list would be read as something else: numbers, a generator's settings, or words parted by spaces"
    return None


def _plain(tag: str, options: CaptionOptions) -> str:
    return tag.replace("_", " ") if options.spaces == "underscores" else tag


def caption_line(photo: TaggedPhoto, options: CaptionOptions) -> str:
    """Return the caption of a photo that `caption_problem` allows."""
    tags = [_written(tag, options) for tag in photo.tags[: options.most or None]]
    first = [options.trigger.strip()] if options.trigger.strip() else []
    if options.keep and len(tags) > options.keep:
        return ", ".join([*first, *tags[: options.keep]]) + f" {KEEP_SEPARATOR} " + ", ".join(tags[options.keep :])
    return ", ".join([*first, *tags])


def _written(tag: str, options: CaptionOptions) -> str:
    if options.escape:
        tag = _PAREN.sub(r"\\\g<0>", tag)
    return tag.replace(" ", "_") if options.spaces == "underscores" else tag


def parse_caption(text: str, options: CaptionOptions) -> list[str]:
    """Return the tags of a caption: without the trigger words, weights, escapes and a generator's settings."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    settings = next((at for at, line in enumerate(lines) if line.lower().startswith(_GENERATOR_LINES)), len(lines))
    line = lines[0] if settings else ""
    parts = [part.strip() for part in line.replace(KEEP_SEPARATOR, ",").split(",") if part.strip()]
    if len(parts) == 1 and "_" in line and len(line.split()) > 1:
        parts = line.split()  # a booru's list: parted by spaces, with underscores within tags
    trigger = [part.strip() for part in options.trigger.split(",") if part.strip()]
    if trigger and parts[: len(trigger)] == trigger:
        parts = parts[len(trigger) :]
    tags = [parse_tag(part) for part in parts]
    return [tag.replace("_", " ") for tag in tags] if options.spaces == "underscores" else tags


def parse_tag(text: str) -> str:
    """Return a tag without weight and escapes: `(red hat:1.2)` is `red hat`; brackets after a backslash stay."""
    weighted = _WEIGHT.fullmatch(text)
    if weighted and "\\" not in text:
        return weighted[1]
    return _ESCAPED.sub(r"\1", text)


def is_label_file(text: str) -> bool:
    """Return whether a text holds numbers only, as the labels of a detector beside its photos do."""
    words = text.replace(",", " ").split()
    return len(words) >= 5 and all(_NUMBER.fullmatch(word) for word in words)
