"""`annotator serve --demo` and `annotator space`: the options of the hosted demo, and the folder for a host.

Knows nothing of how the demo works.
"""

import argparse
import os
import webbrowser
from pathlib import Path
from typing import Any

from annotator.cli.operation import observation_config, tell
from annotator.cli.vision import VISION_OPTIONS
from annotator.errors import ConfigError
from annotator.hosted.limits import HostedLimits
from annotator.settings import ServerConfig
from annotator.storage.private_files import private_files

HOSTED_OPTIONS = (
    "visitors",
    "visitors_per_address",
    "minutes",
    "photos_each",
    "spaces",
    "frame_ancestor",
)
NOT_IN_A_DEMO = (
    "project",
    "tagger",
    "strategy",
    "word_vectors",
    "detector",
    "backbone",
    "vocabulary",
    "vocabulary_use",
    "prompt",
    "admin_password_file",
    *VISION_OPTIONS,
)


def add_hosted_options(serve: argparse.ArgumentParser) -> None:
    """Add the hosted demo's options to the command `serve`."""
    limits = HostedLimits()
    group = serve.add_argument_group(
        "hosted demo", "Each visitor gets a private space for a limited time to upload, tag and export a few photos."
    )
    group.add_argument("--demo", action="store_true", help="serve a hosted demo; PHOTOS are optional samples")
    group.add_argument("--visitors", type=int, metavar="N",
                       help=f"spaces at a time; others wait (default: {limits.num_visitors})")  # fmt: skip
    group.add_argument("--visitors-per-address", type=int, metavar="N",
                       help=f"spaces at a time from one address (default: {limits.visitors_an_address})")  # fmt: skip
    group.add_argument("--minutes", type=float, metavar="N", help=f"lifetime of a space (default: {limits.minutes:g})")
    group.add_argument("--photos-each", type=int, metavar="N", help=f"photos a space (default: {limits.num_photos})")
    group.add_argument("--spaces", type=Path, metavar="DIR", help="folder of the spaces")
    group.add_argument("--frame-ancestor", action="append", metavar="ORIGIN",
                       help="a site that may show the demo in a frame")  # fmt: skip


def check_without_demo(parsed: argparse.Namespace) -> None:
    """Refuse options that need --demo.

    Raises:
        ConfigError: There are no photos to serve, or an option of the demo is given.
    """
    if parsed.photos is None:
        raise ConfigError(
            "Name a folder of photos or a project (annotator serve PHOTOS), or serve a hosted demo with --demo."
        )
    for name in HOSTED_OPTIONS:
        if getattr(parsed, name) is not None:  # an argparse.Namespace has no declared attributes
            raise ConfigError(f"{_option(name)} is for the hosted demo; add --demo.")


def server_config(parsed: argparse.Namespace) -> ServerConfig:
    """Return the server's host, port and trusted proxies from the command line."""
    return ServerConfig(
        host=parsed.host,
        port=parsed.port,
        allowed_hosts=tuple(parsed.allow_host),
        trusted_proxies=tuple(parsed.trusted_proxy),
        root_path=parsed.root_path.rstrip("/"),
        drain_seconds=parsed.drain_seconds,
    )


@private_files()
def serve_demo(parsed: argparse.Namespace) -> int:
    """Serve a hosted demo with the options of the command line.

    Raises:
        ConfigError: An option cannot be used with --demo, or its value is out of range.
    """
    for name in NOT_IN_A_DEMO:
        if getattr(parsed, name) is not None:  # an argparse.Namespace has no declared attributes
            raise ConfigError(f"{_option(name)} does not go with --demo: every visitor has a project of their own.")
    if parsed.photos is not None and not (isinstance(parsed.photos, Path) and parsed.photos.is_dir()):
        raise ConfigError(f"There is no folder {parsed.photos} of sample photos.")
    options = {
        "num_visitors": parsed.visitors,
        "minutes": parsed.minutes,
        "num_photos": parsed.photos_each,
        "visitors_an_address": parsed.visitors_per_address,
    }
    limits = HostedLimits(**{name: value for name, value in options.items() if value is not None})
    config = server_config(parsed)
    root = parsed.spaces or default_root()

    def ready(address: str) -> None:
        tell(f"Demo:         {address}\nSpaces:       {root}\nEnd with Ctrl+C.", parsed.log_format, is_result=True)
        if parsed.open:
            webbrowser.open(address)

    tell("Starting ...", parsed.log_format)
    # Imported here: importing Gradio takes seconds.
    from annotator.hosted.server import HostedOptions, serve_hosted

    ancestors = tuple(parsed.frame_ancestor or ())
    serve_hosted(HostedOptions(root, limits, parsed.photos, ancestors), config, ready, observation_config(parsed))
    return 0


def default_root() -> Path:
    """Return the default folder of the spaces: in the user's cache, since all of it is temporary."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "annotator" / "demo-spaces"


def add_space(commands: Any) -> None:
    """Add the command `space`."""
    parser = commands.add_parser(
        "space",
        help="write a folder to host the demo with: a Hugging Face Space, or any Docker host",
        description="Write a folder to host the demo with: a Hugging Face Space, or any Docker host.",
        epilog="example: annotator space ../my-space --try",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="a new or empty folder, or one that this command wrote")
    parser.add_argument("--try", dest="tries", action="store_true",
                        help="then run its Dockerfile's commands here and check the server")  # fmt: skip
    parser.set_defaults(command=_space)


def _space(parsed: argparse.Namespace) -> int:
    from annotator.hosted.deployment_files import try_space, write_space

    num_files = write_space(parsed.out)
    print(f"{parsed.out}: {num_files} files. Push them to a Space with the SDK docker, or: docker build {parsed.out}")
    if parsed.tries:
        print(try_space(parsed.out))
    return 0


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
