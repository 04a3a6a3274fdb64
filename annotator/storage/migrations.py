"""The database's schema as numbered migrations, each applied once, in its own transaction.

Knows nothing of what the tables are used for. A migration that has been released is never edited: add another.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from annotator.errors import ProjectError
from annotator.storage.event_digests import fill_digests
from annotator.storage.queries import Cursor

Statement = str | Callable[[Cursor], None]

MIGRATIONS: tuple[tuple[int, str, tuple[Statement, ...]], ...] = (
    (
        1,
        "images, paths, features, events, annotations, drafts",
        (
            """CREATE TABLE images (
                image_id INTEGER PRIMARY KEY,
                content_hash VARCHAR NOT NULL UNIQUE,
                width INTEGER NOT NULL,
                height INTEGER NOT NULL,
                format VARCHAR NOT NULL,
                keywords VARCHAR[] NOT NULL,
                user_tags VARCHAR[] NOT NULL,
                path_words VARCHAR[] NOT NULL,
                caption VARCHAR,
                taken_at VARCHAR,
                camera VARCHAR,
                latitude DOUBLE,
                longitude DOUBLE,
                notes VARCHAR[] NOT NULL,
                added_at TIMESTAMP NOT NULL
            )""",
            "CREATE TABLE roots (root_id INTEGER PRIMARY KEY, path VARCHAR NOT NULL UNIQUE)",
            # A path either shows an image or could not be read, for a reason. No index: rows are only ever
            # found by scanning a whole root, and an index would be written at every ingest.
            """CREATE TABLE paths (
                root_id INTEGER NOT NULL,
                path VARCHAR NOT NULL,
                image_id INTEGER,
                reason VARCHAR,
                file_size BIGINT NOT NULL,
                modified_ns BIGINT NOT NULL
            )""",
            """CREATE TABLE features (
                backbone VARCHAR NOT NULL,
                image_id INTEGER NOT NULL,
                feature_row INTEGER NOT NULL
            )""",
            # The log: append-only. The tables below it can be derived from it.
            """CREATE TABLE events (
                event_id BIGINT PRIMARY KEY,
                kind VARCHAR NOT NULL,
                image_id INTEGER NOT NULL,
                user_name VARCHAR NOT NULL,
                created_at TIMESTAMP NOT NULL,
                revision INTEGER NOT NULL,
                before_tags VARCHAR[] NOT NULL,
                after_tags VARCHAR[] NOT NULL,
                is_saved BOOLEAN NOT NULL,
                edit_script JSON NOT NULL,
                dropped VARCHAR[] NOT NULL,
                undoes BIGINT,
                tagger VARCHAR,
                shown JSON,
                actions JSON,
                seconds DOUBLE,
                num_keys INTEGER,
                num_clicks INTEGER
            )""",
            """CREATE TABLE annotations (
                image_id INTEGER PRIMARY KEY,
                revision INTEGER NOT NULL,
                tags VARCHAR[] NOT NULL,
                dropped VARCHAR[] NOT NULL,
                is_saved BOOLEAN NOT NULL,
                user_name VARCHAR NOT NULL,
                saved_at TIMESTAMP NOT NULL,
                event_id BIGINT NOT NULL
            )""",
            """CREATE TABLE drafts (
                image_id INTEGER NOT NULL,
                user_name VARCHAR NOT NULL,
                revision INTEGER NOT NULL,
                kept VARCHAR[] NOT NULL,
                dropped VARCHAR[] NOT NULL,
                updated_at TIMESTAMP NOT NULL,
                PRIMARY KEY (image_id, user_name)
            )""",
        ),
    ),
    (
        2,
        "detections",
        (
            # One row for each photo that a detector was run on, also if it found nothing. Boxes: left, top, right,
            # bottom as fractions of the upright photo.
            """CREATE TABLE detections (
                image_id INTEGER PRIMARY KEY,
                detector VARCHAR NOT NULL,
                labels VARCHAR[] NOT NULL,
                scores DOUBLE[] NOT NULL,
                boxes DOUBLE[4][] NOT NULL
            )""",
        ),
    ),
    (
        3,
        "why a photo came up, and anchoring probes",
        (
            # One row for each save. With a probe, `proposals` are those of the model, in its order.
            """CREATE TABLE selections (
                event_id BIGINT PRIMARY KEY,
                strategy VARCHAR NOT NULL,
                is_random BOOLEAN NOT NULL,
                probe VARCHAR,
                proposals VARCHAR[]
            )""",
        ),
    ),
    (
        4,
        "models, training runs, changes of the live model, changes of tags",
        (
            """CREATE TABLE models (
                model_id INTEGER PRIMARY KEY,
                name VARCHAR NOT NULL UNIQUE,
                tagger VARCHAR NOT NULL,
                parent_id INTEGER,
                run_id INTEGER,
                created_at TIMESTAMP NOT NULL
            )""",
            """CREATE TABLE training_runs (
                run_id INTEGER PRIMARY KEY,
                cause VARCHAR NOT NULL,
                user_name VARCHAR NOT NULL,
                started_at TIMESTAMP NOT NULL,
                ended_at TIMESTAMP,
                state VARCHAR NOT NULL,
                sentence VARCHAR NOT NULL,
                base_id INTEGER NOT NULL,
                newest_event_id BIGINT NOT NULL,
                num_corrections INTEGER NOT NULL,
                settings JSON NOT NULL,
                report JSON
            )""",
            # Append-only: which model went live when, by whom and why.
            """CREATE TABLE model_changes (
                change_id INTEGER PRIMARY KEY,
                model_id INTEGER NOT NULL,
                changed_at TIMESTAMP NOT NULL,
                user_name VARCHAR NOT NULL,
                reason VARCHAR NOT NULL
            )""",
            # Append-only: tags renamed, merged, or given another spelling; the newest change of a tag counts.
            """CREATE TABLE tag_changes (
                change_id INTEGER PRIMARY KEY,
                kind VARCHAR NOT NULL,
                old_tag VARCHAR NOT NULL,
                new_tag VARCHAR NOT NULL,
                changed_at TIMESTAMP NOT NULL,
                user_name VARCHAR NOT NULL
            )""",
        ),
    ),
    (
        5,
        "users, sessions, API tokens, assignments",
        (
            """CREATE TABLE users (
                user_name VARCHAR PRIMARY KEY,
                password_hash VARCHAR NOT NULL,
                role INTEGER NOT NULL,
                is_disabled BOOLEAN NOT NULL,
                created_at TIMESTAMP NOT NULL
            )""",
            # Ids and tokens are stored as hashes: nobody can log in with what is in the file.
            """CREATE TABLE sessions (
                session_hash VARCHAR PRIMARY KEY,
                user_name VARCHAR NOT NULL,
                created_at TIMESTAMP NOT NULL,
                used_at TIMESTAMP NOT NULL
            )""",
            """CREATE TABLE api_tokens (
                token_hash VARCHAR PRIMARY KEY,
                user_name VARCHAR NOT NULL,
                role INTEGER NOT NULL,
                created_at TIMESTAMP NOT NULL,
                expires_at TIMESTAMP NOT NULL
            )""",
            # Photos assigned to one person; the others are open to everybody.
            "CREATE TABLE assignments (image_id INTEGER PRIMARY KEY, user_name VARCHAR NOT NULL)",
        ),
    ),
    (
        6,
        "photos asked of several people, their answers, reviews",
        (
            # How many people are asked about a photo, and who (empty: anybody).
            """CREATE TABLE asked (
                image_id INTEGER PRIMARY KEY,
                num_people INTEGER NOT NULL,
                people VARCHAR[] NOT NULL,
                asked_by VARCHAR NOT NULL,
                asked_at TIMESTAMP NOT NULL
            )""",
            # Append-only: a person's response under its own revision; is_given is false where it was taken back.
            """CREATE TABLE answers (
                answer_id BIGINT PRIMARY KEY,
                image_id INTEGER NOT NULL,
                user_name VARCHAR NOT NULL,
                revision INTEGER NOT NULL,
                created_at TIMESTAMP NOT NULL,
                is_given BOOLEAN NOT NULL,
                tags VARCHAR[] NOT NULL,
                dropped VARCHAR[] NOT NULL,
                tagger VARCHAR NOT NULL,
                shown JSON NOT NULL,
                actions JSON NOT NULL,
                seconds DOUBLE NOT NULL,
                num_keys INTEGER NOT NULL,
                num_clicks INTEGER NOT NULL
            )""",
            # Append-only: accepted (`people`: whose response was accepted unchanged, if one was) or sent_back to
            # `people`. Responses after `answer_id` are newer; the event is the effect on the shared list.
            """CREATE TABLE reviews (
                review_id BIGINT PRIMARY KEY,
                image_id INTEGER NOT NULL,
                user_name VARCHAR NOT NULL,
                created_at TIMESTAMP NOT NULL,
                verdict VARCHAR NOT NULL,
                note VARCHAR NOT NULL,
                people VARCHAR[] NOT NULL,
                answer_id BIGINT NOT NULL,
                event_id BIGINT
            )""",
        ),
    ),
    (
        7,
        "digests of pixels, changed photos, files that are gone, sidecars that were read",
        (
            # Of the newest decoded pixels, with the scheme by which it is computed (datasets/pixel_digest.py); NULL
            # until the file was decoded. An image that another program wrote into is found by it.
            "ALTER TABLE images ADD COLUMN pixel_digest VARCHAR",
            # The EXIF orientation of these pixels, 1 to 8; NULL with the digest.
            "ALTER TABLE images ADD COLUMN orientation INTEGER",
            # Of the file whose pixels are shown, where that is not `content_hash`, which stays the image's identity.
            "ALTER TABLE images ADD COLUMN shown_hash VARCHAR",
            # When ingest found other pixels at the image's path; NULL: never.
            "ALTER TABLE images ADD COLUMN changed_at TIMESTAMP",
            # Of the file's bytes; NULL: those of the image.
            "ALTER TABLE paths ADD COLUMN content_hash VARCHAR",
            # Names, sizes and times of the sidecars that were read; NULL: as an older version read them.
            "ALTER TABLE paths ADD COLUMN sidecars VARCHAR",
            # The file is no longer there; the row is the image's last known path.
            "ALTER TABLE paths ADD COLUMN is_gone BOOLEAN DEFAULT false",
        ),
    ),
    (
        8,
        "hierarchical keywords",
        ("ALTER TABLE images ADD COLUMN hierarchies VARCHAR[] DEFAULT []",),
    ),
    (
        9,
        "changes of many photos at once (imports, order rules), sidecars kept in step",
        (
            """CREATE TABLE bulk_changes (
                change_id INTEGER PRIMARY KEY,
                kind VARCHAR NOT NULL,
                source VARCHAR NOT NULL,
                user_name VARCHAR NOT NULL,
                changed_at TIMESTAMP NOT NULL,
                undone_at TIMESTAMP
            )""",
            # One row for each photo: the event that changed its list, or (drafts, keywords) what was there before.
            """CREATE TABLE bulk_change_photos (
                change_id INTEGER NOT NULL,
                image_id INTEGER NOT NULL,
                event_id BIGINT,
                before_tags VARCHAR[] NOT NULL,
                after_tags VARCHAR[] NOT NULL
            )""",
            # The keywords of each sidecar as it was last written, and those that were found instead.
            """CREATE TABLE sidecars (
                path VARCHAR PRIMARY KEY,
                image_id INTEGER NOT NULL,
                state VARCHAR NOT NULL,
                revision INTEGER NOT NULL,
                written VARCHAR[] NOT NULL,
                found VARCHAR[] NOT NULL,
                reason VARCHAR NOT NULL
            )""",
        ),
    ),
    (
        10,
        "answers of vision-language models, imported vocabulary",
        (
            # One row for each photo that a model was asked about in one wording (`prompt`). `told`: the project's tags
            # that the question named. `problem`: why the answer is of no use; empty where it is. A row is also what
            # was paid for, so rows of models that are not used any more stay.
            """CREATE TABLE vision_answers (
                image_id INTEGER NOT NULL,
                model VARCHAR NOT NULL,
                prompt VARCHAR NOT NULL,
                told VARCHAR[] NOT NULL,
                tags VARCHAR[] NOT NULL,
                problem VARCHAR NOT NULL,
                num_tokens BIGINT NOT NULL,
                seconds DOUBLE NOT NULL,
                asked_at TIMESTAMP NOT NULL,
                PRIMARY KEY (image_id, model, prompt)
            )""",
            # The tags of the vocabulary file that was imported last, in its order.
            "CREATE TABLE vocabulary (place INTEGER PRIMARY KEY, tag VARCHAR NOT NULL, aliases VARCHAR[] NOT NULL)",
        ),
    ),
    (
        11,
        "webhooks",
        (
            # `position`: the newest event that was delivered. `problem`: why the next one could not be delivered yet;
            # empty: nothing is wrong.
            """CREATE TABLE webhooks (
                webhook_id INTEGER PRIMARY KEY,
                url VARCHAR NOT NULL,
                secret VARCHAR NOT NULL,
                added_at TIMESTAMP NOT NULL,
                position BIGINT NOT NULL,
                num_delivered BIGINT NOT NULL,
                problem VARCHAR NOT NULL
            )""",
        ),
    ),
    (
        12,
        "the order of answers and events",
        (
            # The newest event when the answer was written: clocks may be set back, so times do not order them.
            "ALTER TABLE answers ADD COLUMN after_event BIGINT DEFAULT 0",
            """UPDATE answers SET after_event = (
                SELECT coalesce(max(event_id), 0) FROM events WHERE events.created_at <= answers.created_at
            )""",
        ),
    ),
    (
        13,
        "levels and classes of a vocabulary, fields of photos",
        (
            # `levels`: the tags above one, the highest first. `class` is empty where a tag has none.
            "ALTER TABLE vocabulary ADD COLUMN levels VARCHAR[] DEFAULT []",
            "ALTER TABLE vocabulary ADD COLUMN class VARCHAR DEFAULT ''",
            "ALTER TABLE vocabulary ADD COLUMN is_forbidden BOOLEAN DEFAULT false",
            # What a person has written of a photo beside its tags: title, description, category.
            """CREATE TABLE field_values (
                image_id INTEGER NOT NULL,
                field VARCHAR NOT NULL,
                value VARCHAR NOT NULL,
                user_name VARCHAR NOT NULL,
                changed_at TIMESTAMP NOT NULL,
                PRIMARY KEY (image_id, field)
            )""",
            # Fields that a change of many photos has written, for its undo.
            """CREATE TABLE bulk_change_fields (
                change_id INTEGER NOT NULL,
                image_id INTEGER NOT NULL,
                field VARCHAR NOT NULL,
                before_value VARCHAR NOT NULL,
                after_value VARCHAR NOT NULL
            )""",
        ),
    ),
    (
        14,
        "running digest of the log",
        # See event_digests.py.
        ("ALTER TABLE events ADD COLUMN digest VARCHAR", fill_digests),
    ),
    (
        15,
        "changes of tags that can be undone",
        # The change of many photos that a change of a tag was; none for those before this migration. It tells whether
        # the change was undone.
        ("ALTER TABLE tag_changes ADD COLUMN bulk_change_id INTEGER",),
    ),
)

NEWEST_VERSION = MIGRATIONS[-1][0]
CREATE_MIGRATIONS = "CREATE TABLE IF NOT EXISTS migrations (version INTEGER, name VARCHAR, applied_at TIMESTAMP)"


def pending(cursor: Cursor) -> tuple[int, list[int]]:
    """Return the schema a database has (0 for a new one) and the versions it lacks.

    Raises:
        ProjectError: The database was written by a newer version of the program.
    """
    cursor.execute(CREATE_MIGRATIONS)
    cursor.execute("SELECT version FROM migrations")
    known = {row[0] for row in cursor.fetchall()}
    newest_known = max(known, default=0)
    if newest_known > NEWEST_VERSION:
        raise ProjectError(
            f"This project has schema {newest_known}, newer than the {NEWEST_VERSION} this version of annotator "
            "knows. Update annotator to open it."
        )
    return newest_known, [version for version, _, _ in MIGRATIONS if version not in known]


def migrate(cursor: Cursor) -> list[int]:
    """Bring a database to the newest schema; return the versions applied now.

    Args:
        cursor: An open connection that may write.

    Raises:
        ProjectError: The database was written by a newer version of the program.
    """
    _, wanted = pending(cursor)
    for version, name, statements in MIGRATIONS:
        if version not in wanted:
            continue
        cursor.execute("BEGIN")
        for statement in statements:
            run(cursor, statement)
        cursor.execute("INSERT INTO migrations VALUES (?, ?, now()::TIMESTAMP)", [version, name])
        cursor.execute("COMMIT")
    return wanted


def run(cursor: Cursor, statement: Statement) -> None:
    """Run one statement of a migration."""
    if isinstance(statement, str):
        cursor.execute(statement)
    else:
        statement(cursor)


def copy_path(database: Path, version: int) -> Path:
    """Return the path of the copy of a database with that schema."""
    return database.with_name(f"{database.stem}-schema-{version}{database.suffix}")


def keep_copy(database: Path, version: int) -> Path:
    """Copy a database that nobody writes to; after a crash there is a complete copy or none.

    Args:
        database: The file, after a checkpoint: nothing is left in the write-ahead log.
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
    """Delete the copies made before earlier migrations; only the last is kept."""
    for path in database.parent.glob(f"{database.stem}-schema-*{database.suffix}"):
        if path != kept:
            path.unlink(missing_ok=True)
