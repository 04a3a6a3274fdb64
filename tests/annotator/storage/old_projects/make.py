"""Make the database of a project as each released schema left it: `schema_N.duckdb.gz` beside this file.

    git archive 43fd3b9 | tar x -C RELEASE_1        # the version that first had a schema: it had 1 alone
    (cd RELEASE_1 && PYTHONPATH=$PWD python .../old_projects/make.py one PHOTOS FOLDER)
    python tests/annotator/old_projects/make.py others FOLDER
    python tests/annotator/old_projects/make.py six FOLDER
    python tests/annotator/old_projects/make.py seven FOLDER
    python tests/annotator/old_projects/make.py eight FOLDER
    python tests/annotator/old_projects/make.py on-six FOLDER 9        # and 10 to 15

Schema 1 is written by that version itself: three demo photos added, saved, saved again, undone, put off, a draft left.
Each later one is the one before with the next migration applied and rows put into the tables that came with it. The
numbers were given out before they were merged, so one more existed: 1 and 5 without those between. Schema 6 was written
by the version that came with it, on top of schema 5: answers, notes, an accepted list. Schema 7 is schema 6 with a
photo whose pixels changed, one that is gone, and one that another program wrote into. Schema 8 is schema 7 with a
hierarchical keyword. Schemas 9 to 12, 14 and 15 are schema 6 with that migration alone and rows in its tables; 13
needs the tables of 9 and 10, so it is schema 6 with these three.
Never made anew once released.
"""

import gzip
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROWS = {
    2: ["INSERT INTO detections VALUES (1, 'nanodet-1', ['cat'], [0.9], [[0.1, 0.2, 0.8, 0.9]]::DOUBLE[4][])"],
    3: ["INSERT INTO selections VALUES (1, 'entropy', true, 'hidden', ['cat', 'sofa'])"],
    4: [
        "INSERT INTO models VALUES (1, 'starter', 'jvsp', NULL, NULL, now()::TIMESTAMP)",
        "INSERT INTO training_runs VALUES (1, 'button', 'anna', now()::TIMESTAMP, now()::TIMESTAMP, 'kept', "
        "'It saved nobody an action.', 1, 2, 2, '{}', NULL)",
        "INSERT INTO model_changes VALUES (1, 1, now()::TIMESTAMP, 'anna', 'the first')",
        "INSERT INTO tag_changes VALUES (1, 'alias', 'kitty', 'cat', now()::TIMESTAMP, 'anna')",
    ],
    5: [
        "INSERT INTO users VALUES ('anna', 'not a hash', 4, false, now()::TIMESTAMP)",
        "INSERT INTO sessions VALUES ('not a hash', 'anna', now()::TIMESTAMP, now()::TIMESTAMP)",
        "INSERT INTO api_tokens VALUES ('not a hash', 'anna', 1, now()::TIMESTAMP, now()::TIMESTAMP)",
        "INSERT INTO assignments VALUES (3, 'anna')",
    ],
    9: [
        "INSERT INTO bulk_changes VALUES (1, 'draft', 'csv: tags.csv', 'anna', now()::TIMESTAMP, NULL)",
        "INSERT INTO bulk_change_photos VALUES (1, 3, NULL, [], ['half'])",
        "INSERT INTO sidecars VALUES ('cat.png.xmp', 1, 'changed', 3, ['cat'], ['tabby'], '')",
    ],
    10: [
        "INSERT INTO vision_answers VALUES (1, 'tiny', 'wording', ['cat'], ['cat', 'sofa'], '', 100, 1.5, "
        "now()::TIMESTAMP)",
        "INSERT INTO vocabulary (place, tag, aliases) VALUES (0, 'lighthouse', ['beacon'])",
    ],
    11: ["INSERT INTO webhooks VALUES (1, 'http://127.0.0.1:9/', 'not a secret', now()::TIMESTAMP, 2, 2, '')"],
    12: [],
    13: [
        "INSERT INTO field_values VALUES (1, 'title', 'A cat', 'anna', now()::TIMESTAMP)",
        "INSERT INTO bulk_change_fields VALUES (1, 3, 'title', '', 'Half')",
    ],
    15: ["UPDATE tag_changes SET bulk_change_id = 1"],
}


def make_one(photos: Path, folder: Path) -> None:
    """Write schema 1 with the version of the program that is imported."""
    from annotator.session.session import Session
    from annotator.session.workspace import Workspace
    from annotator.storage.correction_log import Draft, Effort
    from annotator.storage.project import Project

    opened = Session.over(Workspace(Project.open_or_create(folder / "project", "holiday")))
    opened.workspace.ingest.run([photos])

    def save(image_id: int, revision: int, *tags: str) -> None:
        opened.workspace.log.save(
            image_id, revision=revision, tags=tags, dropped=("dog",), user_name="anna", effort=Effort()
        )

    save(1, 0, "cat", "sofa")
    save(1, 1, "sofa", "cat", "caf\u00e9")
    save(2, 0, "rocket")
    save(2, 1, "rocket", "a mistake")
    opened.workspace.log.undo("anna")
    opened.workspace.log.skip(3, "anna")
    opened.workspace.log.save_draft(3, "anna", Draft(0, ("half",)))
    opened.close()
    shutil.move(folder / "project" / "project.duckdb", folder / "schema_1.duckdb")


def make_others(folder: Path) -> None:
    """Write all but the first, with the present migrations, and pack them."""
    for name, before, version in (("2", "1", 2), ("3", "2", 3), ("4", "3", 4), ("5", "4", 5), ("1_and_5", "1", 5)):
        path = folder / f"schema_{name}.duckdb"
        shutil.copyfile(folder / f"schema_{before}.duckdb", path)
        apply(path, version)
    for path in sorted(folder.glob("schema_*.duckdb")):
        (HERE / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def apply(path: Path, version: int) -> None:
    """Apply one migration of the program, and put rows into the tables that come with it."""
    import duckdb

    from annotator.storage.migrations import MIGRATIONS

    title, statements = next((title, part) for number, title, part in MIGRATIONS if number == version)
    with duckdb.connect(str(path)) as connection:
        for statement in (*statements, *ROWS.get(version, ())):
            if callable(statement):
                statement(connection)
            else:
                connection.execute(statement)
        connection.execute("INSERT INTO migrations VALUES (?, ?, now()::TIMESTAMP)", [version, title])
        connection.execute("CHECKPOINT")


def make_six(folder: Path) -> None:
    """Write schema 6: photo 1 is answered by two, sent back and accepted; photo 3 is sent back and awaited."""
    from annotator.collaboration.responses import Responses
    from annotator.storage.correction_log import CorrectionLog, Effort
    from annotator.storage.database import Store

    path = folder / "schema_6.duckdb"
    path.write_bytes(gzip.decompress((HERE / "schema_5.duckdb.gz").read_bytes()))
    store = Store(path)
    log = CorrectionLog(store)
    answers = Responses(store, log)

    def give(image_id: int, revision: int, *tags: str) -> None:
        answers.give(image_id, "ben", revision=revision, tags=tags, dropped=("dog",), effort=Effort(seconds=2.5))

    answers.ask([1], 2, ["anna", "ben"], "rita")  # Anna's saved list is her answer
    give(1, 0, "cat")
    answers.send_back(log.annotation(1), ["ben"], "And the caf\u00e9?", "rita", {"anna": 2, "ben": 1})
    give(1, 1, "cat", "caf\u00e9")
    accepted = ("sofa", "cat", "caf\u00e9")
    answers.accept(log.annotation(1), accepted, (), "rita", Effort(), {"anna": 2, "ben": 2}, "anna")
    answers.ask([3], 1, [], "rita")
    give(3, 0, "fish")
    answers.send_back(log.annotation(3), [], "Which fish?", "rita", None)
    store.close()
    (HERE / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def make_seven(folder: Path) -> None:
    """Write schema 7: photo 1 has changed, the file of photo 2 is gone, photo 3 has other bytes and the same pixels."""
    from annotator.storage.database import Store

    path = folder / "schema_7.duckdb"
    path.write_bytes(gzip.decompress((HERE / "schema_6.duckdb.gz").read_bytes()))
    store = Store(path, keeps_copy=False)
    with store.transaction() as cursor:
        for statement in (
            "UPDATE images SET pixel_digest = '1-320:' || image_id, orientation = 1",
            "UPDATE images SET shown_hash = repeat('c', 64), changed_at = now()::TIMESTAMP WHERE image_id = 1",
            "UPDATE paths SET content_hash = repeat('c', 64), sidecars = 'a.txt:1:1' WHERE image_id = 1",
            "UPDATE paths SET is_gone = true WHERE image_id = 2",
            "UPDATE paths SET content_hash = repeat('d', 64), sidecars = '' WHERE image_id = 3",
        ):
            cursor.execute(statement)
    store.close()
    (HERE / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def make_eight(folder: Path) -> None:
    """Write schema 8: photo 1 has a hierarchical keyword."""
    from annotator.storage.database import Store

    path = folder / "schema_8.duckdb"
    path.write_bytes(gzip.decompress((HERE / "schema_7.duckdb.gz").read_bytes()))
    store = Store(path, keeps_copy=False)
    with store.transaction() as cursor:
        cursor.execute("UPDATE images SET keywords = ['cat'], hierarchies = ['animal|cat'] WHERE image_id = 1")
    store.close()
    (HERE / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def make_on_six(folder: Path, version: int) -> None:
    """Write schema 9 (an import of drafts, a sidecar that another program has changed), 10 (an answer of a
    vision-language model, a vocabulary), 11 (a webhook), 12 (answers in the order of events), 13 (a title), 14
    (digests of events) or 15 (a change of a tag that can be undone).
    """
    path = folder / f"schema_{version}.duckdb"
    path.write_bytes(gzip.decompress((HERE / "schema_6.duckdb.gz").read_bytes()))
    for number in (9, 10, 13) if version == 13 else (version,):
        apply(path, number)
    (HERE / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))


if __name__ == "__main__":
    if sys.argv[1] == "one":
        make_one(Path(sys.argv[2]), Path(sys.argv[3]))
    elif sys.argv[1] == "six":
        make_six(Path(sys.argv[2]))
    elif sys.argv[1] == "seven":
        make_seven(Path(sys.argv[2]))
    elif sys.argv[1] == "eight":
        make_eight(Path(sys.argv[2]))
    elif sys.argv[1] == "on-six":
        make_on_six(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        make_others(Path(sys.argv[2]))
