"""What asking several people costs in a large project, in processor time. Run by hand, never by CI.

    python tests/benchmarks/answers.py [--num 20000]

All of NUM made-up photos are asked of two people; one has answered the first half, another the first quarter. Measured:
opening the answers, the next photo for somebody who has answered half (from the start of the folder: the worst case;
from where they are: the usual one), one durable answer, and asking all photos of a third person.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from annotator.active_learning.queue import PhotoQueue
from annotator.collaboration.responses import Responses
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.images import ImageEntry, IngestedBatch

BATCH = 1000


def fill(store: Store, num: int) -> None:
    """Write photos, questions and answers."""
    for start in range(1, num + 1, BATCH):
        ids = range(start, min(start + BATCH, num + 1))
        store.images.add(IngestedBatch(images=[(i, ImageEntry(f"{i:064x}", 1, 1, "JPEG")) for i in ids]))
    Responses(store, CorrectionLog(store)).ask(range(1, num + 1), 2, [], "rita")
    with store.transaction() as cursor:
        for user, first, num_given in (("anna", 0, num // 2), ("ben", num, num // 4)):
            cursor.execute(
                "INSERT INTO answers SELECT ? + i, i, ?, 1, now()::TIMESTAMP, true, ['sea', 'sky'], [], '', '[]', "
                "'[]', 0, 0, 0 FROM range(1, ?) numbers(i)",
                [first, user, num_given + 1],
            )


def milliseconds(run: Callable[[], object], times: int) -> list[float]:
    """Return the processor time of each run, ascending."""
    found = []
    for _ in range(times):
        start = time.process_time()
        run()
        found.append(1000 * (time.process_time() - start))
    return sorted(found)


def measure(store: Store, num: int) -> Iterator[tuple[str, list[float]]]:
    """Yield what was done and its times."""
    opened: list[Responses] = []
    yield "open the answers", milliseconds(lambda: opened.append(Responses(store, CorrectionLog(store))), 3)
    answers = opened[-1]
    queue = PhotoQueue()
    queue.add(range(1, num + 1))

    def is_free(image_id: int) -> bool:
        return answers.is_open_to(image_id, "anna")

    yield "next photo, from the start", milliseconds(lambda: queue.next_open(None, is_free), 50)
    yield "next photo, from where they are", milliseconds(lambda: queue.next_open(num // 2, is_free), 50)
    unanswered = iter(range(num // 2 + 1, num + 1))
    yield (
        "one answer",
        milliseconds(
            lambda: answers.give(next(unanswered), "anna", revision=0, tags=["sea"], dropped=[], effort=Effort()),
            100,
        ),
    )
    yield "ask all of a third person", milliseconds(lambda: answers.ask(range(1, num + 1), 3, [], "rita"), 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What asking several people costs in a large project.")
    parser.add_argument("--num", type=int, default=20_000, help="photos (default: %(default)s)")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "project.duckdb")
        try:
            fill(store, parsed.num)
            for name, times in measure(store, parsed.num):
                print(f"{name:<34} p50 {times[len(times) // 2]:8.2f} ms  most {times[-1]:8.2f} ms  of {len(times)}")
        finally:
            store.close()


if __name__ == "__main__":
    main()
