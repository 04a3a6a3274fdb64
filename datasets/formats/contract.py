"""What every format declares, and the report of a writing or reading run.

A format is a module with a constant `FORMAT`. Its writer takes a stream of photos and a path that does not exist yet;
`datasets/formats/writing.py` makes sure that the result appears as a whole or not at all. Knows nothing of projects.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.errors import ConfigError

MOST_KEPT = 1_000
"""Most problems and most notes of a run that are kept with their text; the others are only counted."""
Survives = Literal["yes", "no", "partly"]


@dataclass(frozen=True)
class Survival:
    """What of a saved list can be read back from the format."""

    order: Survives
    scores: Survives
    who: Survives
    """Who saved the list."""
    dropped: Survives
    """Proposals that were refused."""
    hierarchy: Survives
    """Levels of tags, where the other program has them."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one photo."""

    photo: str
    reason: str


@dataclass
class Report:
    """What became of the photos of one run."""

    num_photos: int = 0
    """Photos written or read."""
    num_problems: int = 0
    """Photos that break a rule of the format."""
    problems: list[Problem] = field(default_factory=list)
    num_notes: int = 0
    notes: list[Problem] = field(default_factory=list)
    """What a person should know of a photo that is written or read all the same."""

    def refuse(self, photo: str, reason: str) -> None:
        """Note that a photo breaks a rule of the format."""
        self.num_problems += 1
        if len(self.problems) < MOST_KEPT:
            self.problems.append(Problem(photo, reason))

    def note(self, photo: str, sentence: str) -> None:
        """Note a fact about a photo."""
        self.num_notes += 1
        if len(self.notes) < MOST_KEPT:
            self.notes.append(Problem(photo, sentence))


@dataclass(frozen=True)
class NoOptions:
    """Options of a format that has none."""


@dataclass(frozen=True)
class Place:
    """Where a writer writes."""

    path: Path
    """The file or folder to write, which will be renamed."""
    final: Path
    """What it will be called; of a format that merges, the existing files lie there."""


Writer = Callable[[Iterable[TaggedPhoto], Place, Any, Report], None]
"""(photos, place, options, report). Photos that break a rule are refused through the report and not written."""
Reader = Callable[[Path, Any, Report], Iterator[TaggedPhoto]]
"""(file or folder, options, report). Raises DataError where the source is not of the format."""


@dataclass(frozen=True)
class Format:
    """A format of another program."""

    name: str
    summary: str
    survival: Survival
    layout: Literal["file", "folder", "tree"] = "file"
    """What is written: one file; a new folder; or a tree of small files, which may lie among the photos."""
    write: Writer | None = None
    read: Reader | None = None
    options: type = NoOptions
    """A frozen dataclass; each field has a default and a sentence below it."""
    merges: bool = False
    """Of a tree: existing files are merged, not replaced."""
    suffix: str = ""
    """Of a file: how its name ends."""
    takes_photos: bool = False
    """Whether the result can hold the photos' files, so that the writer reads them."""

    def configure(self, values: Mapping[str, Any]) -> Any:
        """Return the format's options.

        Raises:
            ConfigError: There is no such option, or a value is not allowed.
        """
        fields = {found.name: found for found in dataclasses.fields(self.options)}
        unknown = [name for name in values if name not in fields]
        if unknown:
            known = ", ".join(fields) or "none"
            raise ConfigError(f"The format {self.name} has no option {unknown[0]!r}. Its options: {known}.")
        for name, value in values.items():
            wanted = type(fields[name].default)
            if type(value) is not wanted and not (wanted is str and isinstance(value, int | float | bool)):
                raise ConfigError(f"The option {name} must be of type {wanted.__name__}; got {value!r}.")
        wanted_text = {n: str(v) if isinstance(fields[n].default, str) else v for n, v in values.items()}
        return self.options(**wanted_text)


def check_choice(option: str, value: str, choices: Iterable[str]) -> None:
    """Check an option that is one of several words.

    Raises:
        ConfigError: It is another.
    """
    if value not in (known := tuple(choices)):
        raise ConfigError(f"The option {option} must be one of {', '.join(known)}; got {value!r}.")
