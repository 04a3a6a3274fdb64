"""Adds a command to the parser: name, summary, example, handler."""

import argparse
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
