"""`annotator simulate`: counts the keys and clicks needed to tag photos."""

import argparse
import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotator.cli.command import add_command
from annotator.errors import ConfigError, DataError
from annotator.models.backbones.backbone import DEFAULT_BACKBONE
from annotator.settings import STRATEGIES

if TYPE_CHECKING:
    from annotator.datasets.record import Record
    from annotator.simulation.simulated_annotator import Arm

ARMS = ("typing", "static", "prefix", "loop")
QUERY_STRATEGIES = tuple(name for name in STRATEGIES if name not in ("in_order", "random"))
"""Each is also the name of an arm."""
KEYS: dict[str, dict[str, Any]] = {
    "down_to": {"can_take_down_to": False},
    "completion_digits": {"num_completion_digits": 0},
    "words": {"can_complete_words": False},
    "expected_line": {"can_accept": False},
    "take_and_save": {"can_take_and_save": False},
}
"""Keys of the page that the simulation can leave out, with their settings."""


def add_simulate(commands: Any) -> argparse.ArgumentParser:
    """Add `annotator simulate` to the parser of commands."""
    parser = add_command(
        commands,
        "simulate",
        _simulate,
        "count the keys and clicks that a person would need to tag photos",
        "annotator simulate --data photos --tagger my_tagger --split validation --limit 200 --json",
        ", by a simulation that tags a project with each record's own tags and always chooses the cheapest key.",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="holds records.jsonl and its photos")
    parser.add_argument("--tagger", default="", metavar="NAME",
                        help="as for `annotator serve` (default: the starter's)")  # fmt: skip
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE, metavar="NAME",
                        help="network that sees the photos (default: %(default)s)")  # fmt: skip
    parser.add_argument("--split", choices=("all", "validation"), default="all",
                        help="validation: the photos that its training held back (default: %(default)s)")  # fmt: skip
    parser.add_argument("--only", metavar="FIELD", help="records in which this field is true")
    parser.add_argument("--arms", nargs="+", choices=(*ARMS, *QUERY_STRATEGIES), metavar="ARM",
                        help="typing: the add box alone; static: the first list of each photo; prefix: proposals "
                        "that follow each edit; loop: the same, and the model learns --rounds times; "
                        f"{', '.join(QUERY_STRATEGIES)}: as loop (as prefix without --rounds), and photos come as "
                        "the strategy asks for them (default: typing, static, prefix, with --rounds loop)")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=0, metavar="R",
                        help="trainings in between, as in a served project (default: %(default)s)")  # fmt: skip
    parser.add_argument("--start", type=int, default=0, metavar="N",
                        help="photos tagged at the beginning, not counted (default: %(default)s)")  # fmt: skip
    parser.add_argument("--strategy", choices=tuple(STRATEGIES), default="random",
                        help="in which order photos are tagged: in_order, random, or the name of a query "
                        "strategy, which adds its arm to the others at random (default: %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the order and of the intervals (default: %(default)s)")
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="leave out the first photos of that order")
    parser.add_argument("--limit", type=int, metavar="N", help="most photos, those of --start included")
    parser.add_argument("--without", nargs="+", choices=list(KEYS), default=[], metavar="KEY",
                        help=f"keys that the person does not use: {', '.join(KEYS)}")  # fmt: skip
    parser.add_argument("--no-word-vectors", action="store_true", help="as where none are installed")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a plot (PNG)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where features are kept (default: user cache)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of the backbone (default: all)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser


def _simulate(parsed: argparse.Namespace) -> int:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from annotator.models.backbones.backbone import load_backbone
    from annotator.simulation import report as simulation_report
    from annotator.simulation import simulated_annotator as simulation
    from annotator.trainer.feature_cache import features_of

    records = ordered_records(parsed)
    backbone = load_backbone(parsed.backbone, num_threads=parsed.threads)
    extracted = features_of(records, backbone, parsed.cache)
    if parsed.start >= len(extracted.records):
        raise ConfigError(f"--start {parsed.start} leaves no photo of {len(extracted.records):,} to be counted.")
    setting = simulation.Setting(
        extracted.records,
        extracted.features,
        parsed.tagger,
        not parsed.no_word_vectors,
        parsed.start,
        parsed.rounds,
        backbone=backbone.name,
    )
    arms = wanted_arms(parsed)
    with threadpool_limits(1, user_api="blas"):  # as in a served project
        runs = {arm.name: simulation.run_arm(arm, setting, _show_progress) for arm in arms}
    found = {"data": str(parsed.data), "tagger": parsed.tagger, "backbone": backbone.name, "split": parsed.split,
             "start": parsed.start, "strategy": parsed.strategy, "seed": parsed.seed, "without": parsed.without,
             "word_vectors": not parsed.no_word_vectors, "num_rounds": parsed.rounds,
             **simulation_report.report(runs, parsed.start, parsed.seed)}  # fmt: skip
    if parsed.plot:
        simulation_report.plot(found, parsed.plot)
    print(json.dumps(found, indent=1, ensure_ascii=False) if parsed.json else simulation_report.table(found))
    return 0


def ordered_records(parsed: argparse.Namespace) -> "list[Record]":
    """Return the photos in the order of tagging.

    Raises:
        ConfigError: A number is out of range.
        DataError: No photo is left, or the tagger has no split.
    """
    from annotator.cli.evaluate import records_of

    for name, least in (("start", 0), ("skip", 0), ("limit", 1)):
        value = getattr(parsed, name)  # an argparse.Namespace has no declared attributes
        if value is not None and value < least:
            raise ConfigError(f"--{name} must be at least {least}, got {value}.")
    if parsed.split == "validation" and not parsed.tagger:
        raise ConfigError("--split validation needs the --tagger whose training held photos back.")
    records = records_of(parsed.data, parsed.split, parsed.tagger)
    if parsed.only:
        records = [record for record in records if record.extra.get(parsed.only)]
    if parsed.strategy != "in_order":
        random.Random(parsed.seed).shuffle(records)
    records = records[parsed.skip :][: parsed.limit]
    if not records:
        raise DataError("No photo is left to tag: look at --only, --skip and --split.")
    return records


def wanted_arms(parsed: argparse.Namespace) -> "list[Arm]":
    """Return the arms to run.

    Raises:
        ConfigError: An option that an arm needs is missing.
    """
    from annotator.simulation import simulated_annotator as simulation

    if parsed.rounds < 0:
        raise ConfigError(f"--rounds must be at least 0, got {parsed.rounds}.")
    names = list(parsed.arms or (ARMS if parsed.rounds else ARMS[:-1]))
    if parsed.strategy in QUERY_STRATEGIES:
        names.append(parsed.strategy)
    if "loop" in names and not parsed.rounds:
        raise ConfigError("The arm loop needs --rounds: how often the model learns.")
    known = {arm.name: arm for arm in (simulation.TYPING, simulation.STATIC, simulation.PREFIX, simulation.LOOP)}
    arms = []
    for name in dict.fromkeys(names):
        arm = known.get(name) or simulation.Arm(name, learns=parsed.rounds > 0, strategy=name)
        for key in parsed.without:
            arm = simulation.without_keys(arm, **KEYS[key])
        arms.append(arm)
    return arms


def _show_progress(arm: str, num_done: int, num_all: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{arm}: {num_done:,} of {num_all:,}", end="\n" if num_done == num_all else "", file=sys.stderr)
