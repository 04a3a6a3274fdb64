"""Adds a command, or one with verbs, to the parser: name, summary, example, handler."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

Command = Callable[[argparse.Namespace], int]
"""Parsed arguments -> exit code."""


def add_command(
    commands: Any, name: str, run: Command, summary: str, example: str, more: str = ""
) -> argparse.ArgumentParser:
    """Add a command and return its parser.

    Args:
        commands: What ``add_subparsers`` returned.
        name: The command's name.
        run: The handler.
        summary: One clause for the list of commands.
        example: A whole command line.
        more: Text after the summary in the command's own help.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + (more or "."),
        epilog=f"example: {example}",
    )
    parser.set_defaults(command=run)
    return parser


def add_verbs(commands: Any, name: str, summary: str, description: str, example: str) -> Any:
    """Add a command with verbs, such as `annotator detector install`, and return what `add_verb` takes.

    Args:
        commands: What ``add_subparsers`` returned.
        name: The command's name.
        summary: One clause for the list of commands.
        description: A sentence for the command's own help.
        example: A whole command line.
    """
    parser = commands.add_parser(name, help=summary, description=description, epilog=f"example: {example}")
    return parser.add_subparsers(title="verbs", required=True, metavar="VERB")


def add_verb(
    verbs: Any, name: str, run: Command, summary: str, description: str, example: str
) -> argparse.ArgumentParser:
    """Add a verb and return its parser.

    Args:
        verbs: What `add_verbs` returned.
        name: The verb.
        run: The handler.
        summary: One clause for the list of verbs.
        description: A sentence for the verb's own help.
        example: A whole command line.
    """
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=summary, description=description, epilog=f"example: {example}"
    )
    parser.set_defaults(command=run)
    return parser


def show_step(text: str) -> None:
    """Print a step of a long command on stderr, at once."""
    print(text, file=sys.stderr, flush=True)


def allow_trailing_positionals(parser: argparse.ArgumentParser) -> None:
    """Let a command's optional last positional come after its options: `export PROJECT --format csv OUT`.

    argparse takes an optional positional for missing as soon as an option follows the one before it.
    """
    plain = parser.parse_known_args

    def intermixed(args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:
        parser.parse_known_args = plain  # type: ignore[method-assign]
        try:
            return parser.parse_known_intermixed_args(args, namespace)
        finally:
            parser.parse_known_args = intermixed  # type: ignore[assignment, method-assign]

    parser.parse_known_args = intermixed  # type: ignore[assignment, method-assign]
