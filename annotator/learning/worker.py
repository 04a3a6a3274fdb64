"""The training process: `python -m annotator.learning.worker JOB` reads a job, teaches a candidate and judges it.

It is started and watched by finetuner.py. It only reads the snapshot, the features and the live checkpoint, and only
writes below its own folder, so that it may be killed at any moment. What it has to say goes to stdout, a JSON object
a line; the last one says how it ended. When nobody reads that any more, it ends. SIGTERM cancels it.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotator.errors import AnnotatorError, TrainingError
from annotator.learning.job import CANDIDATE_FOLDER, JOB_FILE, TRAINED_FILE, Job, hold_lock, read_trained

if TYPE_CHECKING:
    from annotator.learning.replay import ReplayedEvidence, ReplayedProposer
    from annotator.models.reranker import Reranker
    from annotator.trainer.finetuning.corrections import Correction, Division

SAY_EVERY_SECONDS = 0.2
MOST_WEIGHED, MOST_PLACES = 300, 6
"""Corrections, the newest, and places of each, from which the re-ranker learns: every one costs a proposal."""


class ProgressReporter:
    """Says how far the process is; no more often than is worth reading."""

    def __init__(self) -> None:
        self._said_at = 0.0

    def say(self, **values: Any) -> None:
        """Say something now."""
        print(json.dumps(values), flush=True)
        self._said_at = time.monotonic()

    def progress(self, **values: Any) -> None:
        """Say something, unless something was said just now."""
        if time.monotonic() - self._said_at >= SAY_EVERY_SECONDS:
            self.say(**values)


def main(arguments: list[str]) -> int:
    """Run the job in a folder; return the exit code."""
    folder = Path(arguments[0])
    job = Job(**json.loads((folder / JOB_FILE).read_text(encoding="utf-8")))
    step_back(job.niceness, job.num_threads)
    cancelled = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: cancelled.set())
    voice = ProgressReporter()
    try:
        with hold_lock(Path(job.lock_path)):
            report = _train_and_judge(folder, job, voice, cancelled)
            voice.say(phase="done", report=report)
        return 0
    except BrokenPipeError:
        # The server is gone; nobody is left to take the candidate over.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except AnnotatorError as error:
        from annotator.trainer.finetuning.finetune import TrainingCancelledError

        is_cancelled = isinstance(error, TrainingCancelledError)
        voice.say(phase="cancelled" if is_cancelled else "failed", sentence=str(error))
        return 1
    except MemoryError:
        voice.say(phase="failed", sentence="The training ran out of memory; the model in use did not change.")
        return 1


def step_back(niceness: int, num_threads: int) -> None:
    """Give way to the page: lower this process's priority and use few threads."""
    with suppress(OSError):  # only ever lower: a process that was started lower stays there
        os.nice(niceness)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(num_threads)
    import torch

    torch.set_num_threads(num_threads)


def _train_and_judge(folder: Path, job: Job, voice: ProgressReporter, cancelled: threading.Event) -> dict[str, Any]:
    """Write the candidate below the folder and return what came of it."""
    # Imported here: torch takes seconds, and the lock and the priority come first.
    import numpy as np

    from annotator.learning.snapshot import read_snapshot
    from annotator.models import checkpoint
    from annotator.models.backbones.backbone import load_backbone
    from annotator.trainer.finetuning.corrections import divide
    from annotator.trainer.finetuning.exemplars import class_exemplars
    from annotator.trainer.finetuning.finetune import FinetuneSettings, finetune

    voice.say(phase="reading")
    info = checkpoint.read_info(job.live)
    settings = FinetuneSettings(**job.finetune)
    snapshot = read_snapshot(Path(job.snapshot_path), Path(job.features_path), info.feature_size)
    trained = read_trained(checkpoint.find(job.live))
    division = divide(snapshot.corrections, trained, gold_share=job.gold_share, newest_share=job.newest_share)
    if not division.fresh:
        raise TrainingError("There is no correction yet that the model has not learnt from. Tag some photos first.")
    vectors, note = _word_vectors(job.word_vectors)
    tuned = Path(job.backbone_weights) if job.backbone_weights else None
    backbone = load_backbone(job.backbone, num_threads=job.num_threads, weights_path=tuned)
    live = checkpoint.load(job.live, backbone=backbone)
    num_base = info.about.training.get("num_base", len(info.vocabulary))
    candidate = finetune(
        job.live,
        division.fresh,
        division.replay,
        settings,
        rehearsal=snapshot.untagged,
        exemplars=class_exemplars(backbone.class_weights, np.stack([item.features for item in snapshot.corrections])),
        word_vectors=vectors,
        num_base=num_base,
        progress=lambda now: voice.progress(phase="learning", **asdict(now)),
        should_stop=cancelled.is_set,
    )
    learnt = {item.content_hash: item.event_id for item in division.fresh}
    about = checkpoint.About(
        info.about.backbone,
        info.about.backbone_version,
        info.about.order,
        {"parent": info.version, "finetune": asdict(settings), "num_fresh": len(division.fresh),
         "num_replayed": len(division.replay), "num_base": num_base,
         "newest_event_id": max(learnt.values())},
    )  # fmt: skip
    evidence = _evidence(job, snapshot, backbone, vectors)

    def weighed(num_done: int, num_all: int) -> None:
        _check_cancelled(cancelled)
        voice.progress(phase="weighing", num_done=num_done, num_all=num_all)

    unknown = [item for item in division.fresh if item.content_hash not in trained]
    live_page = evidence.page(live)
    reranker = _learn_reranker(live_page, unknown, info.reranker, settings.seed, weighed)
    target = folder / CANDIDATE_FOLDER
    version = checkpoint.save(candidate, target, about, half=True, reranker=reranker)
    checkpoint.write_atomically(target / TRAINED_FILE, json.dumps(trained | learnt).encode())

    def judged(num_done: int, num_all: int) -> None:
        _check_cancelled(cancelled)
        voice.progress(phase="judging", num_done=num_done, num_all=num_all)

    voice.say(phase="judging", num_done=0, num_all=0)
    tuned_candidate = checkpoint.load(target, backbone=backbone)
    verdict = _judge(job, live_page, evidence.page(tuned_candidate), division, judged)
    return {
        "tagger": f"{candidate.name} {version}",
        "num_fresh": len(division.fresh),
        "num_replayed": len(division.replay),
        "new_tags": list(candidate.vocabulary.tags[len(info.vocabulary) :]),
        "reranker": reranker.to_json(),
        "note": note,
        "verdict": verdict,
    }


def _word_vectors(source: str) -> tuple[Any, str]:
    from annotator.errors import WordVectorError
    from annotator.models.word_vectors.word_vectors import load_word_vectors
    from annotator.proposals.vocabulary.similar_tags import choose_source

    try:
        return load_word_vectors(choose_source(source)), ""
    except WordVectorError as error:
        return None, f"New tags started from the mean of all tags: {error}"


def _check_cancelled(cancelled: threading.Event) -> None:
    from annotator.trainer.finetuning.finetune import TrainingCancelledError

    if cancelled.is_set():
        raise TrainingCancelledError("The training was cancelled; the model in use did not change.")


def _evidence(job: Job, snapshot: Any, backbone: Any, word_vectors: Any) -> "ReplayedEvidence":
    """Return what the page shows beside any model."""
    from annotator.learning.replay import PageSources, ReplayedEvidence
    from annotator.learning.snapshot import read_feature_rows
    from annotator.models.taggers.cold_start import ColdStartTagger
    from annotator.proposals.tagger_catalog import load_open_vocabulary
    from annotator.storage.features import FeatureStore

    features_path = Path(job.features_path)
    features = FeatureStore(
        features_path.parent, features_path.stem, backbone.feature_size, read_feature_rows(Path(job.snapshot_path))
    )
    if not job.is_detector_heard:
        snapshot = replace(snapshot, detections={})
    opened = load_open_vocabulary(backbone)
    sources = PageSources(ColdStartTagger(backbone), opened, word_vectors, job.aliases, job.show_expected)
    return ReplayedEvidence(snapshot, features, sources)


def _learn_reranker(
    page: "ReplayedProposer",
    unknown: "Sequence[Correction]",
    before: "Reranker",
    seed: int,
    progress: Callable[[int, int], None],
) -> "Reranker":
    """Learn what each source is worth, from corrections of photos that the live model has not learnt from.

    Weighed is the live model's word, not the candidate's: that one knows these lists.
    """
    import numpy as np

    from annotator.datasets.tags import tag_key
    from annotator.trainer.finetuning.reranker_fit import Place, fit_reranker

    rng = np.random.default_rng(seed)
    chosen = [item for item in unknown if item.tags][-MOST_WEIGHED:]
    places = []
    for number, item in enumerate(chosen, start=1):
        lengths = rng.permutation(len(item.tags))[:MOST_PLACES]
        for length in sorted(lengths.tolist()):
            tags, features = page.open_tags(item.image_id, item.tags[:length])
            keys = [tag_key(tag) for tag in tags]
            if (key := tag_key(item.tags[length])) in keys:
                places.append(Place(features, keys.index(key)))
        progress(number, len(chosen))
    return fit_reranker(places, before)


def _judge(
    job: Job,
    live: "ReplayedProposer",
    candidate: "ReplayedProposer",
    division: "Division",
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    from annotator.learning.replay import PAGE
    from annotator.trainer.finetuning.promotion_test import PromotionRule, judge

    rule = PromotionRule(least_photos=job.least_photos, confidence=job.confidence, gold_margin=job.gold_margin)
    gold, newest = division.gold, division.newest
    # The newest of each, in the shares in which there are.
    num = len(gold) + len(newest)
    num_gold = round(len(gold) * min(1.0, job.most_photos / max(num, 1)))
    num_newest = min(len(newest), job.most_photos - num_gold)
    verdict = judge(
        live,
        candidate,
        gold[len(gold) - num_gold :],
        newest[len(newest) - num_newest :],
        rule,
        costs=PAGE,
        progress=progress,
    )
    return verdict.to_json()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
