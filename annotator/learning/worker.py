"""The training process: `python -m annotator.learning.worker FOLDER` trains a candidate and runs the promotion test.

learning/training_process.py starts it. It reads the job, the snapshot, the features and the live checkpoint, and writes
only below its folder, so that it can be killed at any time. It reports to stdout, one JSON object a line; the last one
is the result. It ends when stdout is closed. SIGTERM cancels it.
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

from annotator import carried_models
from annotator.errors import AnnotatorError, TrainingError
from annotator.learning.job import CANDIDATE_FOLDER, JOB_FILE, TRAINED_FILE, Job, hold_lock, read_trained
from annotator.storage.digested_json import with_digest

if TYPE_CHECKING:
    from annotator.learning.replay import ReplayedEvidence, ReplayedProposer
    from annotator.models.checkpoint import About, CheckpointInfo, LoadedTagger
    from annotator.models.reranker import Reranker
    from annotator.models.sequence.trained_tagger import TrainedTagger
    from annotator.trainer.finetuning.corrections import Correction, Division

SECONDS_BETWEEN_REPORTS = 0.2
MOST_NEW_TAGS = 100
"""Tags that the report of a checkpoint which was trained elsewhere names as new."""
MAX_CORRECTIONS, MAX_PLACES = 300, 6
"""Newest corrections, and places in each list, on which the re-ranker is trained; each place costs a proposal."""


class ProgressReporter:
    """Writes reports to stdout."""

    def __init__(self) -> None:
        self._said_at = 0.0

    def report(self, **values: Any) -> None:
        """Write a report."""
        print(json.dumps(values), flush=True)
        self._said_at = time.monotonic()

    def progress(self, **values: Any) -> None:
        """Write a report, unless the last one is less than `SECONDS_BETWEEN_REPORTS` old."""
        if time.monotonic() - self._said_at >= SECONDS_BETWEEN_REPORTS:
            self.report(**values)


def main(arguments: list[str]) -> int:
    """Run the job in a folder; return the exit code."""
    folder = Path(arguments[0])
    job = Job(**json.loads((folder / JOB_FILE).read_text(encoding="utf-8")))
    lower_priority(job.niceness, job.num_threads)
    cancelled = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: cancelled.set())
    reporter = ProgressReporter()
    try:
        with hold_lock(Path(job.lock_path)):
            report = _train_and_judge(folder, job, reporter, cancelled)
            reporter.report(phase="done", report=report)
        return 0
    except BrokenPipeError:
        # The server has ended; nothing would read the result.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except AnnotatorError as error:
        from annotator.trainer.finetuning.finetune import TrainingCancelledError

        is_cancelled = isinstance(error, TrainingCancelledError)
        reporter.report(phase="cancelled" if is_cancelled else "failed", sentence=str(error))
        return 1
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        reporter.report(phase="failed", sentence="The training ran out of memory; the model in use did not change.")
        return 1


def _is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that no memory is left; those of torch and onnxruntime have no type of their own."""
    signs = ("can't allocate memory", "out of memory", "failed to allocate memory", "bad_alloc", "bad allocation")
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in signs)


def lower_priority(niceness: int, num_threads: int) -> None:
    """Lower this process's priority and number of threads, in favour of the server."""
    with suppress(OSError):  # a process that has a lower priority already keeps it
        os.nice(niceness)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(num_threads)
    import torch

    torch.set_num_threads(num_threads)


def _train_and_judge(folder: Path, job: Job, reporter: ProgressReporter, cancelled: threading.Event) -> dict[str, Any]:
    """Write the candidate below the folder and return the report."""
    # Imported here: torch takes seconds to load, and the lock and the priority come first.
    import numpy as np

    from annotator.learning.snapshot import read_snapshot
    from annotator.models import checkpoint
    from annotator.models.backbones.backbone import load_backbone
    from annotator.trainer.finetuning.corrections import divide
    from annotator.trainer.finetuning.exemplars import class_exemplars
    from annotator.trainer.finetuning.finetune import FinetuneSettings, finetune

    reporter.report(phase="reading")
    if job.models_path:
        carried_models.use(Path(job.models_path))
    info = checkpoint.read_info(job.live)
    settings = FinetuneSettings(**job.finetune)
    snapshot = read_snapshot(Path(job.snapshot_path), Path(job.features_path), info.feature_size)
    trained = read_trained(checkpoint.find(job.live))
    by_theirs = read_trained(Path(job.submitted)) if job.submitted else {}
    known = trained | by_theirs
    # Where nothing is trained here, every list that neither model has seen judges.
    newest_share = 1.0 if job.submitted else job.newest_share
    division = divide(snapshot.corrections, known, gold_share=job.gold_share, newest_share=newest_share)
    if not division.fresh and not job.submitted:
        raise TrainingError("There is no correction yet that the model has not learnt from. Tag some photos first.")
    vectors, note = _word_vectors(job.word_vectors)
    tuned = Path(job.backbone_weights) if job.backbone_weights else None
    backbone = load_backbone(job.backbone, num_threads=job.num_threads, weights_path=tuned)
    live = checkpoint.load(job.live, backbone=backbone)
    # Whether by training or for the re-ranker, the candidate learns from these, and no later test may use them.
    used = [*division.fresh, *(item for item in division.replay if item.content_hash not in trained)]
    learnt = {item.content_hash: item.event_id for item in used}
    candidate: TrainedTagger | LoadedTagger
    if job.submitted:
        theirs = checkpoint.read_info(job.submitted)
        candidate, about = checkpoint.load(job.submitted, backbone=backbone), _about_submitted(theirs, info.version)
        num_fresh, num_replayed = len(by_theirs), 0
    else:
        num_base = info.about.training.get("num_base", len(info.vocabulary))
        candidate = finetune(
            job.live,
            division.fresh,
            division.replay,
            settings,
            rehearsal=snapshot.untagged,
            exemplars=class_exemplars(
                backbone.class_weights, np.stack([item.features for item in snapshot.corrections])
            ),
            word_vectors=vectors,
            num_base=num_base,
            progress=lambda now: reporter.progress(phase="learning", **asdict(now)),
            should_stop=cancelled.is_set,
        )
        num_fresh, num_replayed = len(division.fresh), len(division.replay)
        about = checkpoint.About(
            info.about.backbone,
            info.about.backbone_version,
            info.about.order,
            {"parent": info.version, "finetune": asdict(settings), "num_fresh": num_fresh,
             "num_replayed": num_replayed, "num_base": num_base, "newest_event_id": max(learnt.values())},
        )  # fmt: skip
    evidence = _evidence(job, snapshot, backbone, vectors)

    def fitting(num_done: int, num_all: int) -> None:
        _check_cancelled(cancelled)
        reporter.progress(phase="weighing", num_done=num_done, num_all=num_all)

    unknown = [item for item in used if item.content_hash not in trained]
    live_proposer = evidence.proposer_of(live)
    reranker = _fit_reranker(live_proposer, unknown, info.reranker, settings.seed, fitting)
    target = folder / CANDIDATE_FOLDER
    version = checkpoint.save(candidate, target, about, half=True, reranker=reranker)
    checkpoint.write_atomically(target / TRAINED_FILE, json.dumps(with_digest(known | learnt)).encode())

    def judging(num_done: int, num_all: int) -> None:
        _check_cancelled(cancelled)
        reporter.progress(phase="judging", num_done=num_done, num_all=num_all)

    reporter.report(phase="judging", num_done=0, num_all=0)
    tuned_candidate = checkpoint.load(target, backbone=backbone)
    verdict = _judge(job, live_proposer, evidence.proposer_of(tuned_candidate), division, judging)
    return {
        "tagger": f"{candidate.name} {version}",
        "num_fresh": num_fresh,
        "num_replayed": num_replayed,
        "new_tags": _new_tags(info, candidate, MOST_NEW_TAGS if job.submitted else None),
        "reranker": reranker.to_json(),
        "note": note,
        "verdict": verdict,
    }


def _about_submitted(info: "CheckpointInfo", parent: str) -> "About":
    """Return the provenance of a checkpoint that was trained elsewhere, as that of a candidate of the live model."""
    num_base = info.about.training.get("num_base", len(info.vocabulary))
    return replace(
        info.about, training={**info.about.training, "parent": parent, "submitted": info.version, "num_base": num_base}
    )


def _new_tags(info: "CheckpointInfo", candidate: Any, most: int | None) -> list[str]:
    """Return the tags that a candidate knows and the live model does not, at most so many."""
    known = set(info.vocabulary.tags)
    return [tag for tag in candidate.vocabulary.tags if tag not in known][:most]


def _word_vectors(source: str) -> tuple[Any, str]:
    from annotator.errors import WordVectorError
    from annotator.models.word_vectors.word_vectors import choose_source, load_word_vectors

    try:
        return load_word_vectors(choose_source(source)), ""
    except WordVectorError as error:
        return None, f"New tags started from the mean of all tags: {error}"


def _check_cancelled(cancelled: threading.Event) -> None:
    from annotator.trainer.finetuning.finetune import TrainingCancelledError

    if cancelled.is_set():
        raise TrainingCancelledError("The training was cancelled; the model in use did not change.")


def _evidence(job: Job, snapshot: Any, backbone: Any, word_vectors: Any) -> "ReplayedEvidence":
    """Return the evidence that the replays of all models share."""
    from annotator.learning.replay import ReplayedEvidence, ReplaySources
    from annotator.learning.snapshot import read_feature_rows
    from annotator.models.backbones.backbone import load_text_tower
    from annotator.models.backbones.text_index import TextIndex, default_cache_path
    from annotator.models.taggers.cold_start import ColdStartTagger
    from annotator.proposals.tagger_catalog import load_open_vocabulary
    from annotator.storage.features import FeatureStore
    from annotator.storage.vocabulary import ImportedVocabulary

    features_path = Path(job.features_path)
    features = FeatureStore(
        features_path.parent, features_path.stem, backbone.feature_size, read_feature_rows(Path(job.snapshot_path))
    )
    if not job.uses_detections:
        snapshot = replace(snapshot, detections={})
    open_vocabulary = load_open_vocabulary(backbone)
    tower = load_text_tower(job.backbone, job.num_threads)
    sources = ReplaySources(
        ColdStartTagger(backbone),
        open_vocabulary,
        word_vectors,
        job.aliases,
        job.show_expected,
        job.least_probability,
        tuple(job.never_proposed),
        dict(job.log_losses),
        job.vision_language_model,
        None if tower is None else TextIndex(tower, job.prompts, default_cache_path()),
        ImportedVocabulary(
            job.vocabulary_tags, job.vocabulary_aliases, job.vocabulary, forbidden=job.vocabulary_forbidden
        ),
    )
    return ReplayedEvidence(snapshot, features, sources)


def _fit_reranker(
    proposer: "ReplayedProposer",
    unknown: "Sequence[Correction]",
    before: "Reranker",
    seed: int,
    progress: Callable[[int, int], None],
) -> "Reranker":
    """Fit a re-ranker to corrections that the live model was not trained on.

    The features come from the live model, since the candidate was trained on these lists.

    Args:
        proposer: Of the live model.
        unknown: The corrections, oldest first.
        before: The live model's re-ranker.
        seed: Of the sample of places.
        progress: Called with (corrections done, corrections in all).
    """
    import numpy as np

    from annotator.datasets.tags import tag_key
    from annotator.trainer.finetuning.reranker_fit import Place, fit_reranker

    rng = np.random.default_rng(seed)
    chosen = [item for item in unknown if item.tags][-MAX_CORRECTIONS:]
    places = []
    for number, item in enumerate(chosen, start=1):
        lengths = rng.permutation(len(item.tags))[:MAX_PLACES]
        for length in sorted(lengths.tolist()):
            tags, features = proposer.reranker_features(item.image_id, item.tags[:length])
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
    from annotator.learning.replay import PAGE_COSTS
    from annotator.trainer.finetuning.promotion_test import PromotionRule, judge

    rule = PromotionRule(least_photos=job.least_photos, confidence=job.confidence, gold_margin=job.gold_margin)
    gold, newest = division.gold, division.newest
    # The newest of each group, in proportion to their numbers.
    num = len(gold) + len(newest)
    num_gold = round(len(gold) * min(1.0, job.most_photos / max(num, 1)))
    num_newest = min(len(newest), job.most_photos - num_gold)
    verdict = judge(
        live,
        candidate,
        gold[len(gold) - num_gold :],
        newest[len(newest) - num_newest :],
        rule,
        costs=PAGE_COSTS,
        progress=progress,
    )
    return verdict.to_json()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
