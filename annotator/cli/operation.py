"""Options of `annotator serve` for those who run it for others: metrics, traces, logs, its end, its first account."""

import argparse
import logging
import sys
from pathlib import Path

from annotator.cli.logs import FORMATS
from annotator.errors import ConfigError
from annotator.settings import ObservationConfig, ServerConfig

logger = logging.getLogger(__name__)

METRICS_ADDRESS = "127.0.0.1:9464"


def add_operation_options(serve: argparse.ArgumentParser) -> None:
    """Add the options to the command `serve`."""
    group = serve.add_argument_group("operation", "For those who run the server for others.")
    group.add_argument("--metrics", nargs="?", const=METRICS_ADDRESS, type=address_of, metavar="HOST:PORT",
                       help=f"offer Prometheus metrics at /metrics on this address (default: {METRICS_ADDRESS}), to "
                       "everybody who reaches it; needs the extra metrics")  # fmt: skip
    group.add_argument("--traces", action="store_true",
                       help="send a span of each request to the collector that OTEL_EXPORTER_OTLP_ENDPOINT and the "
                       "other OTEL_* variables name; needs the extra telemetry")  # fmt: skip
    group.add_argument("--log-format", choices=FORMATS, default="text",
                       help="of the log on standard error; json: one object a line, each request included")  # fmt: skip
    group.add_argument("--drain-seconds", type=float, metavar="N", default=ServerConfig().drain_seconds,
                       help="how long requests may take that are being answered when the server is told to end "
                       "(default: %(default)g)")  # fmt: skip
    group.add_argument("--admin-password-file", type=Path, metavar="FILE",
                       help="where the project has no account, make admin with the password in the first line of this "
                       "file")  # fmt: skip


def address_of(text: str) -> tuple[str, int]:
    """Return the host and the port of a text such as 127.0.0.1:9464 or [::1]:9464.

    Raises:
        ArgumentTypeError: It is none.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no address; write it like {METRICS_ADDRESS}")
    return host, int(port)


def observation_config(parsed: argparse.Namespace) -> ObservationConfig:
    """Return what the command line asks for."""
    return ObservationConfig(metrics=parsed.metrics, traces=parsed.traces)


def admin_password(parsed: argparse.Namespace) -> str:
    """Return the password of the first account; empty if no file is named.

    Raises:
        ConfigError: The file cannot be read, or its first line is empty.
    """
    path = parsed.admin_password_file
    if path is None:
        return ""
    try:
        with path.expanduser().open(encoding="utf-8") as file:
            password = file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The password of the first account cannot be read from {path}: {error}.") from error
    if not password:
        raise ConfigError(f"The first line of {path} is empty; it must be the password of the first account.")
    return str(password)


def tell(text: str, log_format: str, *, is_result: bool = False) -> None:
    """Tell the person who started the server something: in the log where programs read it.

    Args:
        text: The sentence, or several lines.
        log_format: That of the command line.
        is_result: Whether it is what the command answers, which goes to standard output.
    """
    if log_format == "json":
        logger.info("%s", text)
    else:
        print(text, file=sys.stdout if is_result else sys.stderr, flush=True)
