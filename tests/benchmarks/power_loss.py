"""Cut the power, and let file calls fail, while a project is written; then open what is left and count the saves.

    python tests/benchmarks/power_loss.py --cuts 300 --errors 300

A small library, compiled from io_faults.c by gcc, stands between a writing process and the system. It records every
write, flush, rename and deletion below the project's folder, in order. A power cut is a place in that record: what was
flushed before it is on the disk, and of what was not flushed any part may be, in any order, in sectors of 512 bytes;
the names of files are kept in their order, up to a random one after the last flush. For an I/O error one call fails, or
all from that one on, with EIO or ENOSPC (then half of it is written). Saves that were acknowledged are in the record,
too. Each state is opened: every acknowledged save must be there exactly once, or the project must be refused with a
sentence; then `annotator check --repair` is tried.
"""

import argparse
import ctypes
import errno
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from annotator.errors import AnnotatorError, StoreError
from annotator.maintenance.integrity import check
from annotator.maintenance.recovery import recover
from annotator.models.checkpoint import read_info
from annotator.models.checkpoint import write_atomically as write_checkpoint_file
from annotator.storage.correction_log import CorrectionLog, Effort, ListChange
from annotator.storage.database import Store
from annotator.storage.features import FeatureStore
from annotator.storage.images import ImageEntry, IngestedBatch
from annotator.storage.project import Project

SHIM = Path(__file__).with_name("io_faults.c")
STARTER = Path(__file__).parents[2] / "models" / "starter" / "zero_shot"
SECTOR = 512
ACKS = "acks"
LIBRARY = "IO_FAULTS"
NUM_IMAGES, FEATURE_SIZE = 40, 16


@dataclass(frozen=True)
class Call:
    """One recorded call."""

    kind: str
    path: str
    offset: int
    content: bytes


@dataclass
class Inode:
    """A file: what is on the disk, and the calls since that are not flushed."""

    content: bytearray = field(default_factory=bytearray)
    pending: list[Call] = field(default_factory=list)


def compile_shim(folder: Path) -> Path | None:
    """Compile the library; None where there is no gcc."""
    gcc = shutil.which("gcc")
    if gcc is None or not sys.platform.startswith("linux"):
        return None
    target = folder / "io_faults.so"
    subprocess.run([gcc, "-O2", "-shared", "-fPIC", "-o", target, SHIM, "-ldl"], check=True)
    return target


def begin(folder: Path) -> None:
    """Make a project with photos and features."""
    project = Project.open_or_create(folder, "power")
    store = Store(project.database_path)
    store.images.add(
        IngestedBatch(images=[(n, ImageEntry(f"{n:064x}", 640, 480, "JPEG")) for n in range(1, NUM_IMAGES)])
    )
    store.close()


def work(folder: Path, num: int) -> None:
    """Save, undo, skip, import; write features, settings and a checkpoint; note each save that was acknowledged."""
    project = Project.open(folder)
    acks = os.open(folder / ACKS, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    store = Store(project.database_path)
    log = CorrectionLog(store)
    features = FeatureStore(project.features_path, "net-1", FEATURE_SIZE, store.images.feature_rows("net-1"))
    generator = random.Random(0)
    for number in range(num):
        image_id = generator.randrange(1, NUM_IMAGES)
        tags = [f"save {number}", "x" * generator.randrange(1, 900)]
        saved = log.save(
            image_id, revision=log.annotation(image_id).revision, tags=tags, dropped=["no"], user_name="anna",
            effort=Effort(shown=[{"tag": "cat", "score": 0.5}] * generator.randrange(4)),
        )  # fmt: skip
        os.write(acks, json.dumps([image_id, saved.revision, tags]).encode() + b"\n")
        if number % 5 == 4:
            vectors = np.full((2, FEATURE_SIZE), number, np.float32)
            rows = features.append(vectors)
            pairs = [(1 + (number * 2 + place) % (NUM_IMAGES - 1), row) for place, row in enumerate(rows)]
            known = set(features.image_ids())
            pairs = [pair for pair in pairs if pair[0] not in known]
            store.images.add(IngestedBatch(backbone="net-1", feature_rows=pairs))
            features.commit(pairs)
        if number % 7 == 6:
            project.update_settings(least_probability=number / 1000)
        if number % 11 == 10:
            changes = [ListChange(log.annotation(i), (f"import {number}",), ()) for i in range(1, 4)]
            for one in log.record_many("import", changes, "ben"):
                os.write(acks, json.dumps([one.image_id, one.revision, list(one.tags)]).encode() + b"\n")
        if number % 13 == 12:
            for path in sorted(STARTER.iterdir()):
                (project.checkpoints_path / "mine").mkdir(exist_ok=True)
                write_checkpoint_file(project.checkpoints_path / "mine" / path.name, path.read_bytes())
        if number == num // 2:
            store.close()  # a checkpoint of the database
            store = Store(project.database_path)
            log = CorrectionLog(store)
    store.close()


def acknowledged(lines: bytes) -> list[tuple[int, int, list[str]]]:
    """Return (image, revision, tags) of the saves of a file of acknowledgements."""
    whole = lines[: lines.rfind(b"\n") + 1]
    return [(image_id, revision, tags) for image_id, revision, tags in map(json.loads, whole.splitlines())]


def read_record(path: Path) -> list[Call]:
    """Read what the library recorded."""
    data, place, calls = path.read_bytes(), 0, []
    while place < len(data):
        end = data.index(b"\n", place)
        kind, path_length, offset, length = data[place:end].split()
        start = end + 1
        name = data[start : start + int(path_length)].decode()
        content = data[start + int(path_length) : start + int(path_length) + int(length)]
        calls.append(Call(kind.decode(), name, int(offset), content))
        place = start + int(path_length) + int(length)
    return calls


def apply(content: bytearray, call: Call, sectors: random.Random | None = None) -> None:
    """Do a write or a cut; with ``sectors`` only a random part of a write's sectors reaches the disk."""
    if call.kind == "T":
        del content[call.offset :]
        content.extend(bytes(max(0, call.offset - len(content))))
        return
    end = call.offset + len(call.content)
    place = call.offset
    while place < end:
        stop = min(end, (place // SECTOR + 1) * SECTOR)
        if sectors is None or sectors.random() < 0.5:
            content.extend(bytes(max(0, stop - len(content))))
            content[place:stop] = call.content[place - call.offset : stop - call.offset]
        place = stop


def state_after(start: Path, calls: list[Call], cut: int, generator: random.Random) -> dict[str, bytes]:
    """Return the files (name -> content) that a power cut leaves.

    Args:
        start: The folder before the first call.
        calls: The record.
        cut: The number of calls that were made.
        generator: Chooses what of the unflushed reaches the disk.
    """
    root = str(start)
    names = {str(path): Inode(bytearray(path.read_bytes())) for path in start.rglob("*") if path.is_file()}
    on_disk = dict(names)
    changes: list[tuple[Call, Inode | None]] = []  # of names, since the last flush; with the file that was created
    inodes: list[Inode] = list(names.values())
    for call in calls[:cut]:
        if call.kind == "C":
            names[call.path] = Inode()
            inodes.append(names[call.path])
            changes.append((call, names[call.path]))
        elif call.kind == "R":
            names[call.content.decode()] = names.pop(call.path)
            changes.append((call, None))
        elif call.kind == "U":
            names.pop(call.path, None)
            changes.append((call, None))
        elif call.kind == "S":
            inode = names[call.path]
            for each in inode.pending:
                apply(inode.content, each)
            inode.pending.clear()
            on_disk, changes = dict(names), []  # the journal is written in its order
        else:
            names[call.path].pending.append(call)
    num_kept = generator.randrange(len(changes) + 1)
    on_disk = _renamed(on_disk, changes[:num_kept])
    for inode in inodes:
        keeps_all = generator.random() < 0.3
        for call in inode.pending:
            if keeps_all:
                apply(inode.content, call)
            elif generator.random() < 0.6:
                apply(inode.content, call, generator)
    return {os.path.relpath(path, root): bytes(inode.content) for path, inode in on_disk.items()}


def _renamed(on_disk: dict[str, Inode], changes: list[tuple[Call, Inode | None]]) -> dict[str, Inode]:
    """Return the names on the disk after the first changes since the last flush."""
    found = dict(on_disk)
    for call, created in changes:
        if created is not None:
            found[call.path] = created
        elif call.kind == "R" and call.path in found:
            found[call.content.decode()] = found.pop(call.path)
        elif call.kind == "U":
            found.pop(call.path, None)
    return found


def write_state(folder: Path, files: dict[str, bytes]) -> None:
    """Write files into a new folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def outcome(folder: Path, told: list[tuple[int, int, list[str]]]) -> tuple[str, str]:
    """Open a project and compare it with what was acknowledged.

    Returns:
        whole, refused and recovered, refused, incomplete after repair, or WRONG; and a sentence about it.
    """
    try:
        return ("whole", "") if _has_all(folder, told) else ("WRONG", "an acknowledged save is missing")
    except AnnotatorError as error:
        sentence = str(error)
    try:
        said = recover(Project(folder))
        return ("refused, then recovered whole" if _has_all(folder, told) else "refused, then recovered in part",
                f"{sentence} / {' '.join(said)}")  # fmt: skip
    except AnnotatorError as error:
        return "refused", f"{sentence} / {error}"


def _has_all(folder: Path, told: list[tuple[int, int, list[str]]]) -> bool:
    project = Project(folder)
    store = Store(project.database_path)
    try:
        rows = store.rows("SELECT image_id, revision, after_tags FROM events WHERE kind <> 'skip'")
        counted = Counter((int(image_id), int(revision), tuple(tags)) for image_id, revision, tags in rows)
        is_there = all(counted[(image_id, revision, tuple(tags))] == 1 for image_id, revision, tags in told)
        damage = [finding.what for finding in check(project, store) if finding.is_damage and not finding.is_repairable]
        features = FeatureStore(project.features_path, "net-1", FEATURE_SIZE, store.images.feature_rows("net-1"))
        lists = features.vectors(features.image_ids()) if len(features) else np.zeros((0, FEATURE_SIZE), np.float32)
        are_as_written = bool((lists == lists[:, :1]).all())
    finally:
        store.close()
    for path in project.checkpoints_path.glob("*/tagger.json"):
        read_info(path.parent)
    return is_there and are_as_written and not [what for what in damage if "checkpoint" not in what]


def run_preloaded(shim: Path, arguments: list[str]) -> str:
    """Run this file in a process under the library; return what it prints."""
    environment = {**os.environ, "LD_PRELOAD": str(shim), LIBRARY: str(shim)}
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def _arm(folder: Path, record: str, at: int, error: int, goes_on: bool) -> ctypes.CDLL:
    library = ctypes.CDLL(os.environ[LIBRARY])
    library.io_faults_calls.restype = ctypes.c_long
    library.io_faults_arm(
        os.fsencode(f"{folder}/"), record.encode(), ctypes.c_long(at), ctypes.c_int(error), ctypes.c_int(goes_on)
    )
    return library


def _worker_record(folder: Path, record: Path, num: int) -> None:
    """In a preloaded process: write a project and record every call."""
    _arm(folder, str(record), -1, 0, False)
    work(folder, num)


def _worker_errors(base: Path, num: int, num_errors: int, seed: int) -> None:
    """In a preloaded process: write a copy of a project for each error, in a child, and print how the child ended."""
    generator = random.Random(seed)
    counted = base.with_name("counted")
    shutil.copytree(base, counted)
    library = _arm(counted, "", -1, 0, False)
    work(counted, num)
    num_calls = library.io_faults_calls()
    context = multiprocessing.get_context("fork")
    for number in range(num_errors):
        folder = base.with_name(f"error {number}")
        shutil.copytree(base, folder)
        at, error = generator.randrange(num_calls), generator.choice([errno.EIO, errno.ENOSPC])
        child = context.Process(target=_fail_at, args=(folder, num, at, error, generator.random() < 0.5))
        child.start()
        child.join()
        print(json.dumps([str(folder), at, errno.errorcode[error], child.exitcode]), flush=True)


def _fail_at(folder: Path, num: int, at: int, error: int, goes_on: bool) -> None:
    _arm(folder, "", at, error, goes_on)
    try:
        work(folder, num)
    except (StoreError, AnnotatorError, OSError) as problem:
        (folder.with_name(f"{folder.name}.said")).write_text(str(problem))
        os._exit(3)
    os._exit(0)


def record_run(shim: Path, place: Path, num_saves: int) -> tuple[Path, list[Call]]:
    """Write a project and record every call; return the folder before the first call, and the calls with its paths."""
    folder, record = place / "project", place / "record"
    begin(folder)
    start = place / "start" / "project"
    shutil.copytree(folder, start)
    run_preloaded(shim, ["--record", str(folder), str(record), str(num_saves)])
    calls = [
        Call(call.kind, call.path.replace(str(folder), str(start), 1), call.offset,
             call.content.replace(str(folder).encode(), str(start).encode(), 1) if call.kind == "R" else call.content)
        for call in read_record(record)
    ]  # fmt: skip
    return start, calls


def outcome_of_cut(place: Path, start: Path, calls: list[Call], cut: int, generator: random.Random) -> tuple[str, str]:
    """Open what a power cut after some calls leaves; see `outcome`."""
    told = acknowledged(b"".join(c.content for c in calls[:cut] if c.kind == "W" and c.path.endswith(f"/{ACKS}")))
    target = place / "cut"
    write_state(target, state_after(start, calls, cut, generator))
    try:
        return outcome(target, told)
    finally:
        shutil.rmtree(target)


def cut_power(shim: Path, place: Path, num_saves: int, num_cuts: int, seed: int) -> Counter[str]:
    """Record one run, cut it at random places, and count the outcomes; those that are not whole are printed."""
    start, calls = record_run(shim, place, num_saves)
    generator, outcomes = random.Random(seed), Counter[str]()
    for number in range(num_cuts):
        cut = generator.randrange(1, len(calls) + 1)
        kind, sentence = outcome_of_cut(place, start, calls, cut, generator)
        outcomes[kind] += 1
        if kind not in ("whole", "refused, then recovered whole"):
            print(f"cut {number} after call {cut:,} of {len(calls):,}: {kind}: {sentence}", flush=True)
    return outcomes


def fail_calls(shim: Path, place: Path, num_saves: int, num_errors: int, seed: int) -> Counter[str]:
    """Let one call fail, or all from one on, in many runs; count the outcomes; WRONG ones are printed."""
    base, outcomes = place / "base", Counter[str]()
    begin(base)
    printed = run_preloaded(shim, ["--fail", str(base), str(num_saves), str(num_errors), str(seed)])
    for line in printed.splitlines():
        name, at, error, code = json.loads(line)
        folder = Path(name)
        path = folder / ACKS
        kind, sentence = outcome(folder, acknowledged(path.read_bytes()) if path.exists() else [])
        how = {0: "went on", 3: "was refused in a sentence"}.get(code, f"ended with {code}")
        outcomes[f"{how}; then {kind}"] += 1
        if "WRONG" in kind or code not in (0, 3):
            print(f"{error} in call {at}: {how}, {kind}: {sentence}", flush=True)
        shutil.rmtree(folder)
    return outcomes


def main(arguments: list[str]) -> None:
    """Run what is asked, or what a preloaded process is started for."""
    if arguments[:1] == ["--record"]:
        _worker_record(Path(arguments[1]), Path(arguments[2]), int(arguments[3]))
        return
    if arguments[:1] == ["--fail"]:
        _worker_errors(Path(arguments[1]), *map(int, arguments[2:]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=300, help="power cuts")
    parser.add_argument("--errors", type=int, default=300, help="runs with a failing call")
    parser.add_argument("--saves", type=int, default=40, help="saves of each run")
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="annotator-power-") as folder:
        shim = compile_shim(Path(folder))
        if shim is None:
            raise SystemExit("This needs gcc, on Linux.")
        for title, run, number in (
            ("power cuts", cut_power, parsed.cuts),
            ("failing calls", fail_calls, parsed.errors),
        ):
            place = Path(folder) / title
            place.mkdir()
            outcomes = run(shim, place, parsed.saves, number, parsed.seed)
            print(f"{sum(outcomes.values()):,} {title}:")
            for kind, count in outcomes.most_common():
                print(f"  {count:5,} {kind}")


if __name__ == "__main__":
    main(sys.argv[1:])
