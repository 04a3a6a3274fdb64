"""Time of the library's calls: ``python tests/benchmarks/library.py [--photos N]``. Run by hand, never by CI.

Makes a project of N photos (without pictures) with ten tags each, opens it as a server does, and calls each operation
several times. Prints the median and the largest time in milliseconds, and the mean processor time of the calling thread.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from formats import make_project, save_lists

from annotator.exchange.selection import Selection
from annotator.exchange.tag_edits import TagEdit
from annotator.session.exporting import Chosen
from annotator.session.session import Session
from annotator.session.workspace import Workspace

REPEATS = 9
EDITED = 1_000


def times(call: Callable[[], object], repeats: int = REPEATS) -> str:
    """Call something several times; return the median and the largest time, and the mean processor time."""
    spent, cpu = [], time.thread_time()
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        spent.append(1000 * (time.perf_counter() - began))
    mean = 1000 * (time.thread_time() - cpu) / repeats
    return f"{statistics.median(spent):9.1f} {max(spent):9.1f} {mean:9.1f}"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=100_000)
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder) / "project", parsed.photos)
        save_lists(project, parsed.photos)
        session = Session.over(Workspace(project))
        navigation, library = session.navigation, session.library
        some = Chosen(Selection(state="all", image_ids=tuple(range(1, EDITED + 1))))
        every = Chosen(Selection(state="all"))
        edit = TagEdit(add=("word of the benchmark",))
        rows: list[tuple[str, Callable[[], object], int]] = [
            ("a page of all photos", lambda: navigation.browse("local", 5000, 200, "", "all"), REPEATS),
            ("a page of a tag's photos", lambda: navigation.browse("local", 0, 200, 'tag:"word 7"', "all"), REPEATS),
            ("a page without a tag", lambda: navigation.browse("local", 0, 200, '-tag:"word 7"', "all"), REPEATS),
            ("a page of a word's photos", lambda: navigation.browse("local", 0, 200, "word 7", "all"), REPEATS),
            ("a page by name", lambda: navigation.browse("local", 0, 200, "", "all", "name"), REPEATS),
            ("a page by newest save", lambda: navigation.browse("local", 0, 200, "", "all", "saved"), REPEATS),
            ("facets of all photos", lambda: library.facets("local", "", "all", ""), REPEATS),
            ("facets of a tag's photos", lambda: library.facets("local", 'tag:"word 7"', "all", ""), REPEATS),
            ("facets without a tag", lambda: library.facets("local", '-tag:"word 7"', "all", ""), REPEATS),
            ("ids of all photos", lambda: library.found_ids("local", "", "all", "folder", None), REPEATS),
            ("preview of 1,000", lambda: library.edit_tags("local", some, edit, is_dry_run=True), REPEATS),
            ("preview of all", lambda: library.edit_tags("local", every, edit, is_dry_run=True), 3),
            ("change of 1,000", lambda: library.edit_tags("local", some, edit, is_dry_run=False), 1),
            ("its undo", lambda: session.importing.undo_change("local", None), 1),
            ("change of all", lambda: library.edit_tags("local", every, edit, is_dry_run=False), 1),
            ("its undo", lambda: session.importing.undo_change("local", None), 1),
        ]
        print(f"{parsed.photos:,} photos{'':18} median ms    max ms    CPU ms")
        for name, call, repeats in rows:
            print(f"{name:30} {times(call, repeats)}", flush=True)
        session.close()


if __name__ == "__main__":
    main()
