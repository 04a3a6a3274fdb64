"""The commands. Each is a thin layer over the library: it parses, calls, prints.

Exit codes: 0 done, 1 a foreseeable error (one sentence on stderr), 2 a wrong command line.
"""

import argparse
import json
import logging
import os
import sys
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from annotator import __version__
from annotator.cli.agreement import add_agreement
from annotator.cli.detector import add_detector, choose_detector
from annotator.cli.durability import add_durability
from annotator.cli.evaluate import add_evaluate
from annotator.cli.hosted import add_hosted_options, add_space, check_without_demo, serve_demo, server_config
from annotator.cli.models import add_model_commands
from annotator.cli.report import add_report
from annotator.cli.server_client import ServerClient
from annotator.cli.simulate import add_simulate
from annotator.cli.train import add_train
from annotator.cli.users import add_assign, add_users
from annotator.cli.wordnet import add_wordnet
from annotator.errors import AnnotatorError, ProjectError, UnreadableImageError
from annotator.exchange.export import FORMATS, export_lines
from annotator.ingest.project_backbone import choose_backbone, choose_tagger
from annotator.settings import DETECTOR_CHOICES, STRATEGIES, IngestConfig, ServerConfig
from annotator.storage.project import Project, default_folder, is_project

Command = Callable[[argparse.Namespace], int]

TAGGER_HELP = (
    "cold_start, starter, a tagger of the starter such as zero_shot, or a folder that `annotator train` wrote "
    "(default: the project's, else starter)"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; None takes the process's own.

    Returns:
        The exit code.
    """
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO if parsed.verbose else logging.WARNING, format="%(message)s")
    command: Command = parsed.command
    try:
        code = command(parsed)
        sys.stdout.flush()
        return code
    except AnnotatorError as error:
        print(f"annotator: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output has seen enough (`| head`); Python would try to write the rest when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="annotator",
        description="Rank the tags of your photos, with a model in the loop.",
        epilog="example: annotator serve ~/Pictures/holiday --open",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"annotator {__version__}")
    parser.add_argument("--verbose", action="store_true", help="say more on stderr")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = _add(commands, "serve", _serve, "open the tagging page for a folder of photos",
                 "annotator serve ~/Pictures/holiday --open")  # fmt: skip
    serve.add_argument("photos", type=Path, nargs="?", metavar="PHOTOS",
                       help="a folder of photos, or a project folder; with --demo: sample photos")  # fmt: skip
    serve.add_argument("--project", type=Path, metavar="DIR", help="where the project lies (default: user data)")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=int, default=7860, help="0 takes a free one (default: %(default)s)")
    serve.add_argument("--allow-host", action="append", default=[], metavar="NAME",
                       help="a further host name the page may be asked under")  # fmt: skip
    serve.add_argument("--trusted-proxy", action="append", default=[], metavar="NETWORK",
                       help="a proxy before this server, as an address or network, whose X-Forwarded-For and -Proto "
                       "are believed; without it all callers have its address; needs accounts or --demo")  # fmt: skip
    serve.add_argument("--open", action="store_true", help="open the page in the browser")
    serve.add_argument("--tagger", metavar="NAME", help=TAGGER_HELP)
    serve.add_argument("--strategy", choices=tuple(STRATEGIES),
                       help="which photo comes next (default: the project's own, at first in_order)")  # fmt: skip
    serve.add_argument("--word-vectors", metavar="NAME|PATH",
                       help="what tells words near in meaning: glove, wordnet (see `annotator wordnet build`) or a "
                       "word2vec, GloVe, fastText or gensim file (default: the project's own)")  # fmt: skip
    serve.add_argument("--detector", choices=DETECTOR_CHOICES,
                       help="what finds things in photos (default: nanodet if it is there)")  # fmt: skip
    _add_ingest_options(serve)
    add_hosted_options(serve)

    add = _add(commands, "add", _add_photos, "bring photos into a project without serving it",
               "annotator add PROJECT ~/Pictures/2026 --json")  # fmt: skip
    add.add_argument("project", type=Path, metavar="PROJECT", help="the project folder, made when missing")
    add.add_argument("photos", type=Path, nargs="+", metavar="PHOTOS", help="folders of photos")
    add.add_argument("--json", action="store_true", help="print the summary as JSON")
    _add_ingest_options(add)

    suggest = _add(commands, "suggest", _suggest, "print ranked tags for photos, without a project",
                   "annotator suggest cat.jpg --json")  # fmt: skip
    suggest.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    suggest.add_argument("--num", type=int, default=10, help="tags for each photo (default: %(default)s)")
    suggest.add_argument("--tagger", metavar="NAME", default="", help=TAGGER_HELP)
    suggest.add_argument("--json", action="store_true", help="print a JSON list")

    export = _add(commands, "export", _export, "print the saved tags of a project",
                  "annotator export PROJECT --format csv > tags.csv")  # fmt: skip
    export.add_argument("project", type=Path, metavar="PROJECT")
    export.add_argument("--format", choices=sorted(FORMATS), default="jsonl", help="default: %(default)s")

    unreadable = _add(commands, "unreadable", _unreadable, "list the files that could not be read, and why",
                      "annotator unreadable PROJECT --json")  # fmt: skip
    unreadable.add_argument("project", type=Path, metavar="PROJECT")
    unreadable.add_argument("--json", action="store_true", help="print a JSON list")

    doctor = _add(commands, "doctor", _doctor, "tell what is installed, what is missing and how to get it",
                  "annotator doctor --json")  # fmt: skip
    doctor.add_argument("--json", action="store_true", help="print a JSON object")

    demo = _add(commands, "demo", _demo, "serve a small project of photos that come with the packages",
                "annotator demo --open")  # fmt: skip
    demo.add_argument("folder", type=Path, nargs="?", default=Path("demo"), metavar="DIR",
                      help="where the demo's photos and project lie (default: %(default)s)")  # fmt: skip
    demo.add_argument("--port", type=int, default=7860, help="0 takes a free one (default: %(default)s)")
    demo.add_argument("--open", action="store_true", help="open the page in the browser")
    add_train(commands)
    add_evaluate(commands)
    add_model_commands(commands)
    add_users(commands)
    add_assign(commands)
    add_report(commands)
    add_agreement(commands)
    add_detector(commands)
    add_wordnet(commands)
    add_durability(commands)
    add_simulate(commands)
    add_space(commands)
    return parser


def _add(commands: Any, name: str, command: Command, summary: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example: {example}",
    )
    parser.set_defaults(command=command)
    return parser


def _add_ingest_options(parser: argparse.ArgumentParser) -> None:
    defaults = IngestConfig()
    parser.add_argument("--decode-threads", type=int, default=defaults.num_decode_threads, metavar="N",
                        help="threads that read photos (default: %(default)s)")  # fmt: skip
    parser.add_argument("--backbone", metavar="NAME",
                        help="network whose features are used, see `annotator doctor`; a project that had another "
                        "computes its features anew")  # fmt: skip
    parser.add_argument("--network-threads", type=int, default=defaults.num_network_threads, metavar="N",
                        help="threads of the backbone (default: %(default)s)")  # fmt: skip


def _ingest_config(parsed: argparse.Namespace) -> IngestConfig:
    return IngestConfig(num_decode_threads=parsed.decode_threads, num_network_threads=parsed.network_threads)


def _serve(parsed: argparse.Namespace) -> int:
    if parsed.demo:
        return serve_demo(parsed)
    if parsed.photos is None and parsed.project and is_project(parsed.project.expanduser()):
        parsed.photos, parsed.project = parsed.project, None
    check_without_demo(parsed)
    photos = parsed.photos.expanduser().resolve()
    if is_project(photos) and parsed.project is None:
        project, folders = Project.open(photos), None
    else:
        _check_folder(photos)
        folder = parsed.project or default_folder(photos)
        project, folders = Project.open_or_create(folder, photos.name or "photos"), [photos]
    if parsed.backbone:
        choose_backbone(project, parsed.backbone)
    if parsed.tagger:
        switched = choose_tagger(project, _tagger_name(parsed.tagger))
        if switched:
            print(switched, file=sys.stderr)
        project.update_settings(tagger=_tagger_name(parsed.tagger))
    if parsed.strategy:
        project.update_settings(strategy=parsed.strategy)
    if parsed.word_vectors:
        project.update_settings(word_vectors=_check_word_vectors(parsed.word_vectors, project))
    if parsed.detector:
        choose_detector(project, parsed.detector)
    config = server_config(parsed)
    _run_server(project, folders, config, _ingest_config(parsed), parsed.open)
    return 0


def _tagger_name(name: str) -> str:
    """Return a tagger's name as settings keep it: checkpoints by their full path."""
    from annotator.models.checkpoint import STARTER, STARTER_TAGGER, starter_names

    if name == STARTER:
        return f"{STARTER}/{STARTER_TAGGER}"
    if name in starter_names() and not Path(name).is_dir():
        return f"{STARTER}/{name}"
    is_folder = name and name != "cold_start" and not name.startswith(f"{STARTER}/")
    return str(Path(name).expanduser().resolve()) if is_folder else name


def _check_word_vectors(source: str, project: Project) -> str:
    """Return word vectors as settings keep them, files by their full path, once it is seen that they can be loaded.

    Prints how many of the project's tags they lack.
    """
    from annotator.models.word_vectors.word_vectors import full_source, load_word_vectors
    from annotator.storage.correction_log import CorrectionLog
    from annotator.storage.database import Store

    source = full_source(source)
    vectors = load_word_vectors(source)
    store = Store(project.database_path)
    try:
        tags = sorted({tag for _, given in CorrectionLog(store).saved() for tag in given})
    finally:
        store.close()
    note = vectors.describe_unknown(tags, "tags in use")
    if note:
        print(note, file=sys.stderr)
    return source


def _choose_backbone(project: Project, name: str | None) -> None:
    from annotator.models.backbones.pretrained import find_architecture

    if name is not None and name != project.settings.backbone:
        find_architecture(name)
        # A tagger belongs to the features it was taught on.
        project.update_settings(backbone=name, tagger="")


def _demo(parsed: argparse.Namespace) -> int:
    from annotator.datasets.demo_photos import copy_demo_photos

    photos = parsed.folder.resolve() / "photos"
    copy_demo_photos(photos)
    project = Project.open_or_create(parsed.folder / "project", "demo")
    _run_server(project, [photos], ServerConfig(port=parsed.port), IngestConfig(), parsed.open)
    return 0


def _run_server(
    project: Project,
    folders: list[Path] | None,
    config: ServerConfig,
    ingest_config: IngestConfig,
    open_browser: bool,
) -> None:
    from annotator.web.server import serve

    def ready(address: str) -> None:
        print(f"Tagging page: {address}\nProject:      {project.folder}\nEnd with Ctrl+C.", flush=True)
        if open_browser:
            webbrowser.open(address)

    print("Starting ...", file=sys.stderr, flush=True)
    serve(project, folders, config, ingest_config, ready)


def _check_folder(photos: Path) -> None:
    if not photos.exists():
        raise ProjectError(f"There is no folder {photos}.")
    if not photos.is_dir():
        raise ProjectError(f"{photos} is not a folder. Name the folder that holds the photos.")


def _add_photos(parsed: argparse.Namespace) -> int:
    from annotator.web.server import Workspace

    folders = [folder.expanduser().resolve() for folder in parsed.photos]
    for folder in folders:
        _check_folder(folder)
    project = Project.open_or_create(parsed.project, parsed.project.resolve().name)
    if parsed.backbone:
        choose_backbone(project, parsed.backbone)
    opened = Workspace(project, _ingest_config(parsed))
    try:
        progress = opened.ingest.run(folders)
        summary = {
            "num_found": progress.num_found,
            "num_new": progress.num_new,
            "num_images": len(opened.features),
            "num_unreadable": opened.store.images.unreadable(limit=0)[0],
            "photos_per_second": progress.photos_per_second,
        }
    finally:
        opened.close()
    if parsed.json:
        print(json.dumps(summary))
    else:
        print(
            f"{summary['num_found']:,} files, {summary['num_new']:,} new photos at "
            f"{summary['photos_per_second']}/s, {summary['num_unreadable']:,} unreadable "
            f"(see: annotator unreadable {parsed.project})."
        )
    return 0


def _suggest(parsed: argparse.Namespace) -> int:
    from annotator.datasets.image_folder import display_name
    from annotator.proposals.without_project import suggest_files

    if parsed.num < 1:
        raise AnnotatorError(f"--num must be at least 1, got {parsed.num}.")
    results, failed = [], False
    for path, outcome in suggest_files(parsed.photos, parsed.num, _tagger_name(parsed.tagger)):
        if isinstance(outcome, UnreadableImageError):
            print(f"annotator: {display_name(path)}: {outcome}", file=sys.stderr)
            failed = True
            continue
        results.append({"image": display_name(path), "tags": outcome})
        if not parsed.json:
            print(display_name(path))
            for tag in outcome:
                print(f"  {tag['score']:5.2f}  {tag['tag']:<24} {tag['source']}{_origin(tag)}")
    if parsed.json:
        print(json.dumps(results, ensure_ascii=False, indent=2))
    return 1 if failed else 0


def _origin(tag: dict[str, Any]) -> str:
    """Return who within the tagger named a tag, in words; empty where it does not tell."""
    if "of" in tag:
        return f", near {tag['of']}"
    return {"tagger_net": ", own tag", "detector": ", detector"}.get(tag.get("from", ""), "")


def _export(parsed: argparse.Namespace) -> int:
    project = Project.open(parsed.project)
    for line in _export_lines(project, parsed.format):
        sys.stdout.write(line)
    return 0


def _export_lines(project: Project, format: str) -> Iterator[str]:
    from annotator.storage.correction_log import CorrectionLog
    from annotator.storage.database import Store

    try:
        store = Store(project.database_path)
    except ProjectError:
        # A server has the database open; it can export too.
        lines = _export_from_server(project, format)
        if lines is None:
            raise
        yield from lines
        return
    try:
        yield from export_lines(CorrectionLog(store).export_rows(), format)
    finally:
        store.close()


def _export_from_server(project: Project, format: str) -> Iterator[str] | None:
    try:
        response = ServerClient(project).open(f"export?format={format}")
    except AnnotatorError:
        return None
    return (line.decode() for line in response)


def _unreadable(parsed: argparse.Namespace) -> int:
    from annotator.storage.database import Store

    store = Store(Project.open(parsed.project).database_path)
    try:
        _, items = store.images.unreadable(limit=2**31)
    finally:
        store.close()
    if parsed.json:
        print(json.dumps([{"path": path, "reason": reason} for path, reason in items], ensure_ascii=False))
    else:
        for path, reason in items:
            print(f"{path}: {reason}")
        print(f"{len(items):,} files could not be read.", file=sys.stderr)
    return 0


def _doctor(parsed: argparse.Namespace) -> int:
    from annotator.maintenance.doctor import examine

    report = examine()
    if parsed.json:
        print(json.dumps(report, indent=2))
    else:
        for section, values in report.items():
            print(f"{section}:" if values else f"{section}: none")
            for name, value in values.items() if isinstance(values, dict) else enumerate(values):
                print(f"  {name}: {value}" if isinstance(values, dict) else f"  - {value}")
    return 1 if report["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
