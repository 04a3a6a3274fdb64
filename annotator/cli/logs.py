"""The lines of the log: text for a person, or one JSON object a line for a program that collects them."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from annotator.request_record import REQUEST

FORMATS = ("text", "json")


class TextFormatter(logging.Formatter):
    """The message, with the id of the request at which it was written."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or several with a traceback."""
        text = super().format(record)
        request = REQUEST.get(None)
        if request is None:
            return text
        message, line_end, rest = text.partition("\n")
        return f"{message} [request {request.request_id}]{line_end}{rest}"


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message; at a request its id and operation; with an error the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        values: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        request = REQUEST.get(None)
        if request is not None:
            values |= {"request_id": request.request_id, "operation": request.operation}
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        # ASCII: no character in a message can end the line or steer a terminal.
        return json.dumps(values, ensure_ascii=True)


def set_up_logs(format: str, *, is_verbose: bool) -> None:
    """Write the log to standard error.

    Args:
        format: One of `FORMATS`. With ``json``, this program's own messages of level INFO, such as one for each
            request, are written too.
        is_verbose: Whether all messages of level INFO are written.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO if is_verbose else logging.WARNING, handlers=[handler])
    if format == "json":
        logging.getLogger("annotator").setLevel(logging.INFO)
