"""`annotator mcp`: a served project as tools for a language model, by the Model Context Protocol."""

import argparse
import os
from typing import TYPE_CHECKING, Any

from annotator.auth.roles import ROLES
from annotator.cli.command import add_command
from annotator.errors import ConfigError

if TYPE_CHECKING:  # httpx takes longer to import than most commands take to start
    from annotator.client import Client

TOKEN_VARIABLE = "ANNOTATOR_TOKEN"
OFFERED_ROLES = ("viewer", "annotator")


def add_mcp(commands: Any) -> None:
    """Add `annotator mcp`."""
    mcp = add_command(commands, "mcp", _mcp, "offer a served project to a language model, as tools",
               "annotator mcp PROJECT --role viewer",
               more=f", by the Model Context Protocol over stdin and stdout. With {TOKEN_VARIABLE} set, within the "
               "role of that token; otherwise as the owner of the project.")  # fmt: skip
    mcp.add_argument("project", metavar="PROJECT", help="a served project of this machine, or the address of a server")
    mcp.add_argument("--role", choices=OFFERED_ROLES, default="annotator",
                     help="offer the tools of at most this role (default: %(default)s)")  # fmt: skip


def _mcp(parsed: argparse.Namespace) -> int:
    try:
        from annotator.cli.mcp_tools import build_server
    except ModuleNotFoundError as error:
        if error.name != "mcp":
            raise
        raise ConfigError("This needs the package mcp: pip install 'annotator[mcp]'.") from error
    with client_for(parsed.project, os.environ.get(TOKEN_VARIABLE, "")) as client:
        build_server(client, ROLES[parsed.role]).run("stdio")
    return 0


def client_for(project: str, token: str) -> "Client":
    """Return a client of a server.

    Args:
        project: A project's folder, or an address.
        token: An API token; empty: the owner's secret, which lies in the project's folder.

    Raises:
        ConfigError: An address without a token.
        ServerError: No server has the project open.
    """
    from annotator.client import Client

    if project.startswith(("http://", "https://")):
        if not token:
            raise ConfigError(f"For a server by its address, set {TOKEN_VARIABLE} to an API token.")
        return Client(project, token)
    owner = Client.of_project(project)
    if not token:
        return owner
    owner.close()
    return Client(owner.address, token)
