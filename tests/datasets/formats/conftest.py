"""Photos with odd tags, and a writer and reader that fail loudly."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from annotator.datasets.formats import registry
from annotator.datasets.formats.contract import Report
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.datasets.formats.writing import write_format

Write = Callable[..., Report]
Read = Callable[..., list[TaggedPhoto]]


@pytest.fixture
def write() -> Write:
    """Write photos in a format, with its options by name."""

    def run(
        format: str,
        photos: Iterable[TaggedPhoto],
        out: Path,
        /,
        *,
        leave_out: bool = False,
        overwrite: bool = False,
        **options: Any,
    ) -> Report:
        found = registry.find(format)
        return write_format(found, photos, out, found.configure(options), leave_out=leave_out, overwrite=overwrite)

    return run


@pytest.fixture
def read() -> Read:
    """Read a file or folder in a format; a photo that cannot be read fails the test."""

    def run(format: str, source: Path, report: Report | None = None, **options: Any) -> list[TaggedPhoto]:
        found = registry.find(format)
        assert found.read is not None
        kept = Report() if report is None else report
        photos = list(found.read(source, found.configure(options), kept))
        assert report is not None or kept.problems == []
        return photos

    return run
