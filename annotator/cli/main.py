"""The program `annotator` and its commands. Each command parses, calls the library, and prints.

Exit codes: 0 success, 1 a known error (one sentence on stderr), 2 a wrong command line.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TextIO, cast

from annotator import __version__
from annotator.cli.command import Command
from annotator.cli.logs import set_up_logs
from annotator.cli.terminal import PlainStream
from annotator.errors import AnnotatorError

_COMMANDS = {
    "serve": ("serve", "add_serve"),
    "open": ("open", "add_open"),
    "demo": ("serve", "add_demo"),
    "add": ("add", "add_add"),
    "embed": ("embed", "add_embed"),
    "unreadable": ("add", "add_unreadable"),
    "suggest": ("suggest", "add_suggest"),
    "export": ("export", "add_export"),
    "push": ("push", "add_push"),
    "import": ("import_tags", "add_import"),
    "formats": ("export", "add_formats"),
    "sidecars": ("sidecars", "add_sidecars"),
    "order": ("order", "add_order"),
    "webhooks": ("webhooks", "add_webhooks"),
    "mcp": ("mcp", "add_mcp"),
    "report": ("report", "add_report"),
    "finetune": ("models", "add_model_commands"),
    "models": ("models", "add_model_commands"),
    "tags": ("models", "add_model_commands"),
    "users": ("users", "add_users"),
    "assign": ("users", "add_assign"),
    "agreement": ("agreement", "add_agreement"),
    "backup": ("durability", "add_durability"),
    "restore": ("durability", "add_durability"),
    "check": ("durability", "add_durability"),
    "ship": ("ship", "add_ship"),
    "snapshot": ("snapshot", "add_snapshot"),
    "doctor": ("doctor", "add_doctor"),
    "backbone": ("backbone", "add_backbone"),
    "starter": ("starter", "add_starter"),
    "detector": ("detector", "add_detector"),
    "wordnet": ("wordnet", "add_wordnet"),
    "convert": ("convert", "add_convert"),
    "train": ("train", "add_train"),
    "evaluate": ("evaluate", "add_evaluate"),
    "simulate": ("simulate", "add_simulate"),
    "space": ("hosted", "add_space"),
}
"""Command -> the file of this package and its function that adds the command, in the order of the help: tagging,
learning, people, maintenance, research, hosting."""
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
    given = sys.argv[1:] if arguments is None else arguments
    parser = build_parser(next((word for word in given if not word.startswith("-")), None))
    parsed = parser.parse_args(arguments)
    set_up_logs(getattr(parsed, "log_format", "text"), is_verbose=parsed.verbose)  # an option of `serve` alone
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


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands, or of one.

    Args:
        command: The command that will be run: only its file is imported, which takes less time. None, and what is no
            command: all.
    """
    parser = argparse.ArgumentParser(
        prog="annotator",
        description="Rank the tags of your photos, with a model in the loop.",
        epilog="example: annotator serve ~/Pictures/holiday --open",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"annotator {__version__}")
    parser.add_argument("--verbose", action="store_true", help="print more messages on stderr")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    for module, function in dict.fromkeys([_COMMANDS[command]] if command in _COMMANDS else _COMMANDS.values()):
        add: Callable[[Any], None] = getattr(import_module(f"annotator.cli.{module}"), function)
        add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
