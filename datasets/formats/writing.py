"""Writes a format so that its result appears as a whole or not at all.

The result is written beside its place and then renamed. A tree among existing files (sidecars, captions) is prepared
in a temporary folder first; then file after file is put into place, each atomically, so that a killed process leaves
whole files only, and the same run can be repeated. Knows nothing of any one format.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from annotator.datasets.formats.contract import Format, Place, Report
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.errors import ConfigError, DataError

SHOWN_PROBLEMS = 20


def write_format(
    format: Format,
    photos: Iterable[TaggedPhoto],
    out: Path,
    options: Any,
    *,
    leave_out: bool = False,
    overwrite: bool = False,
) -> Report:
    """Write photos in a format.

    Args:
        format: One with a writer.
        photos: A stream; read once.
        out: The file or folder to write.
        options: From `Format.configure`.
        leave_out: Leave out the photos that break a rule of the format; otherwise one refuses everything.
        overwrite: Replace what is there.

    Returns:
        What was written, left out and noted.

    Raises:
        ConfigError: The format is only read.
        DataError: Something is in the place already, a photo breaks a rule, no photo is left, or the disk refuses;
            nothing was written.
    """
    if format.write is None:
        raise ConfigError(f"The format {format.name} is read only.")
    _check_free(format, out, overwrite)
    report = Report()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _staged(out, format.layout) as staged:
            if format.layout == "tree":
                staged.mkdir()
            format.write(_counted(photos), Place(staged, out), options, report)
            _check_problems(report, leave_out)
            _put_in_place(format, staged, out, overwrite)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{out} could not be written: {reason}. Nothing there was replaced.") from error
    return report


def _counted(photos: Iterable[TaggedPhoto]) -> Iterator[TaggedPhoto]:
    seen: set[str] = set()
    for photo in photos:
        if photo.name in seen:
            raise DataError(f"Two photos are called {photo.name!r}. Export one folder of photos at a time.")
        seen.add(photo.name)
        yield photo


def _check_free(format: Format, out: Path, overwrite: bool) -> None:
    if format.layout == "tree":
        if out.exists() and not out.is_dir():
            raise DataError(f"{out} is a file; {format.name} writes into a folder.")
    elif out.exists():
        is_empty = out.is_dir() and not any(out.iterdir())
        if out.is_dir() != (format.layout == "folder") and not is_empty:
            kind = "folder" if format.layout == "folder" else "file"
            raise DataError(f"{out} is in the way: {format.name} writes a {kind} of that name.")
        if not overwrite and not is_empty:
            raise DataError(f"{out} exists already. Name another place, or replace it with --overwrite.")


def _check_problems(report: Report, leave_out: bool) -> None:
    noun = "photo breaks" if report.num_problems == 1 else "photos break"
    broken = f"{report.num_problems:,} {noun} a rule of the format"
    if report.num_problems and not leave_out:
        raise DataError(_with_reasons(f"{broken}; nothing was written (--leave-out writes the others):", report))
    if not report.num_photos and report.num_problems:
        raise DataError(_with_reasons(f"No photo is left to write: {broken}:", report))
    if not report.num_photos:
        raise DataError("No photo is selected, so nothing was written.")


def _with_reasons(sentence: str, report: Report) -> str:
    """Return a sentence, and a line for each photo that breaks a rule, with the reason."""
    lines = [f"{problem.photo}: {problem.reason}" for problem in report.problems[:SHOWN_PROBLEMS]]
    more = report.num_problems - len(lines)
    return "\n".join([sentence, *lines, *([f"... and {more:,} more."] if more else [])])


@contextlib.contextmanager
def _staged(out: Path, layout: str) -> Iterator[Path]:
    """Yield a free path beside the result (of a tree: inside of its folder), and remove it at the end."""
    name = f".annotator-{secrets.token_hex(4)}.part"
    if layout == "tree":
        is_new = not out.exists()
        out.mkdir(exist_ok=True)
        staged = out / name
    else:
        is_new, staged = False, out.with_name(name)
    try:
        yield staged
    finally:
        _remove(staged)
        if is_new:
            with contextlib.suppress(OSError):  # it holds the result
                out.rmdir()


def _put_in_place(format: Format, staged: Path, out: Path, overwrite: bool) -> None:
    if format.layout == "tree":
        _move_tree(format, staged, out, overwrite)
        return
    _flush_all(staged)
    old = out.with_name(f".annotator-{secrets.token_hex(4)}.old")
    if out.is_dir():
        os.rename(out, old)
        try:
            os.rename(staged, out)
        except OSError:
            os.rename(old, out)
            raise
        _remove(old)
    else:
        os.replace(staged, out)


def _move_tree(format: Format, staged: Path, out: Path, overwrite: bool) -> None:
    files = [path for path in sorted(staged.rglob("*")) if path.is_file()]
    targets = [out / path.relative_to(staged) for path in files]
    taken = [target for target in targets if os.path.lexists(target)] if not (overwrite or format.merges) else []
    if taken:
        raise DataError(
            f"{len(taken):,} files exist already, the first is {taken[0]}. Name another folder, or replace them with "
            "--overwrite."
        )
    for path in files:
        _flush(path)
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
    for path, target in zip(files, targets, strict=True):
        os.replace(path, target)


def _flush_all(path: Path) -> None:
    for file in (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]:
        if not file.is_symlink():
            _flush(file)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_small(folder: Path, name: str, data: bytes) -> None:
    """Write a small file below a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


Check = Callable[[TaggedPhoto], str | None]
"""Returns why a photo breaks a rule of a format; None if it does not."""


def passing(photos: Iterable[TaggedPhoto], check: Check, report: Report) -> Iterator[TaggedPhoto]:
    """Yield the photos that break no rule and count them; the others are refused through the report."""
    for photo in photos:
        reason = check(photo)
        if reason is None:
            report.num_photos += 1
            yield photo
        else:
            report.refuse(photo.name, reason)
