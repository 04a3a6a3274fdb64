"""The copy of a database that is kept before its schema is changed: whole, beside the database, one a project.

Knows nothing of SQL or of what the tables hold.
"""

import os
import shutil
from pathlib import Path

from annotator.errors import ProjectError


def copy_path(database: Path, version: int) -> Path:
    """Return where the copy of a database with that schema lies."""
    return database.with_name(f"{database.stem}-schema-{version}{database.suffix}")


def keep_copy(database: Path, version: int) -> Path:
    """Copy a database that nobody writes to; a crash leaves either none or a whole copy.

    Args:
        database: The file, with everything in it and nothing in a log beside it.
        version: Its schema.

    Raises:
        ProjectError: The copy cannot be written.
    """
    target = copy_path(database, version)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(database, part)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    except OSError as error:
        raise ProjectError(
            f"The project's schema {version} must be changed for this version of annotator, and no copy could be kept "
            f"before that: {target} cannot be written ({error.strerror}). Nothing was changed."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return target


def forget_older(database: Path, kept: Path) -> None:
    """Delete the copies of earlier changes of the schema; only the last is kept."""
    for path in database.parent.glob(f"{database.stem}-schema-*{database.suffix}"):
        if path != kept:
            path.unlink(missing_ok=True)
