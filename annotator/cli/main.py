"""The program `annotator` and its commands. Each command parses, calls the library, and prints.

Exit codes: 0 success, 1 a known error (one sentence on stderr), 2 a wrong command line.
"""

import argparse
import errno
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO, cast

from annotator import __version__
from annotator.cli.add import add_add, add_unreadable
from annotator.cli.agreement import add_agreement
from annotator.cli.backbone import add_backbone
from annotator.cli.command import Command
from annotator.cli.convert import add_convert
from annotator.cli.detector import add_detector
from annotator.cli.doctor import add_doctor
from annotator.cli.durability import add_durability
from annotator.cli.embed import add_embed
from annotator.cli.evaluate import add_evaluate
from annotator.cli.export import add_export, add_formats
from annotator.cli.hosted import add_space
from annotator.cli.import_tags import add_import
from annotator.cli.mcp import add_mcp
from annotator.cli.models import add_model_commands
from annotator.cli.order import add_order
from annotator.cli.push import add_push
from annotator.cli.report import add_report
from annotator.cli.serve import add_demo, add_serve
from annotator.cli.sidecars import add_sidecars
from annotator.cli.simulate import add_simulate
from annotator.cli.starter import add_starter
from annotator.cli.suggest import add_suggest
from annotator.cli.terminal import PlainStream
from annotator.cli.train import add_train
from annotator.cli.users import add_assign, add_users
from annotator.cli.webhooks import add_webhooks
from annotator.cli.wordnet import add_wordnet
from annotator.errors import AnnotatorError

_DISK_TROUBLE = {
    errno.ENOSPC: "The disk is full:{what} cannot be written. Free some space.",
    errno.EDQUOT: "Your share of the disk is used up:{what} cannot be written. Free some space.",
    errno.EROFS: "The disk is read-only:{what} cannot be written.",
}
"""Number of a system error -> the sentence about it, wherever it came up."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; None takes the process's own.

    Returns:
        The exit code.
    """
    with plain_streams():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
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
        # The reader closed the pipe (`| head`); without this, Python would try to write the rest on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in _DISK_TROUBLE:
            raise
        what = f" {error.filename}" if error.filename else ""
        print(f"annotator: {_DISK_TROUBLE[error.errno].format(what=what)} Nothing was lost.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


@contextmanager
def plain_streams() -> Iterator[None]:
    """Write plain text to standard error, which is also a log, and to standard output where that is a terminal.

    What goes into a file or another program is not changed.
    """
    out, err = sys.stdout, sys.stderr
    sys.stderr = cast("TextIO", PlainStream(err))
    if out.isatty():
        sys.stdout = cast("TextIO", PlainStream(out))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="annotator",
        description="Rank the tags of your photos, with a model in the loop.",
        epilog="example: annotator serve ~/Pictures/holiday --open",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"annotator {__version__}")
    parser.add_argument("--verbose", action="store_true", help="print more messages on stderr")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    # The help lists the commands in this order: tagging, learning, people, maintenance, research, hosting.
    add_serve(commands)
    add_demo(commands)
    add_add(commands)
    add_embed(commands)
    add_unreadable(commands)
    add_suggest(commands)
    add_export(commands)
    add_push(commands)
    add_import(commands)
    add_formats(commands)
    add_sidecars(commands)
    add_order(commands)
    add_webhooks(commands)
    add_mcp(commands)
    add_report(commands)
    add_model_commands(commands)
    add_users(commands)
    add_assign(commands)
    add_agreement(commands)
    add_durability(commands)
    add_doctor(commands)
    add_backbone(commands)
    add_starter(commands)
    add_detector(commands)
    add_wordnet(commands)
    add_convert(commands)
    add_train(commands)
    add_evaluate(commands)
    add_simulate(commands)
    add_space(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
