"""The lines of the log, and the options for those who run a server."""

import argparse
import json
import logging
import sys

import pytest

from annotator.cli.logs import JsonFormatter, TextFormatter
from annotator.cli.main import build_parser
from annotator.cli.operation import address_of
from annotator.request_record import REQUEST, RequestRecord


def record_of(message: str, *arguments: object, exc_info: object = None) -> logging.LogRecord:
    return logging.LogRecord("annotator.x", logging.WARNING, "x.py", 1, message, arguments, exc_info)  # type: ignore[arg-type]


def error_info() -> object:
    try:
        raise RuntimeError("a mistake")
    except RuntimeError:
        return sys.exc_info()


def test_a_json_line_has_one_object_whatever_the_message_holds() -> None:
    line = JsonFormatter().format(record_of("the tag %s", 'a"\n\u2028\x1b[2J\u00e9'))
    assert line.isascii()
    assert "\n" not in line
    values = json.loads(line)
    assert values["message"] == 'the tag a"\n\u2028\x1b[2J\u00e9'
    assert (values["level"], values["logger"]) == ("warning", "annotator.x")
    assert values["time"].endswith("+00:00")
    assert {"request_id", "operation", "exception"} & set(values) == set()


def test_lines_of_a_request_name_its_id_and_others_do_not() -> None:
    token = REQUEST.set(RequestRecord("save", "POST", "abc123abc123"))
    try:
        values = json.loads(JsonFormatter().format(record_of("failed", exc_info=error_info())))
        text = TextFormatter("%(message)s").format(record_of("failed", exc_info=error_info()))
    finally:
        REQUEST.reset(token)
    assert (values["request_id"], values["operation"]) == ("abc123abc123", "save")
    assert values["exception"].endswith("RuntimeError: a mistake")
    assert text.splitlines()[0] == "failed [request abc123abc123]"
    assert text.endswith("RuntimeError: a mistake")
    assert TextFormatter("%(message)s").format(record_of("failed")) == "failed"


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:9464", ("127.0.0.1", 9464)), ("[::1]:0", ("::1", 0)), ("metrics.lan:65535", ("metrics.lan", 65535))],
)  # fmt: skip
def test_an_address_is_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize("text", ["", "9464", ":9464", "host:", "host:x", "host:65536", "host:-1", "host:\u0661"])
def test_other_texts_are_no_address(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write it like"):
        address_of(text)


def test_metrics_are_off_by_default_and_on_this_machine_alone_without_an_address() -> None:
    parser = build_parser("serve")
    assert parser.parse_args(["serve", "x"]).metrics is None
    assert not parser.parse_args(["serve", "x"]).traces
    assert parser.parse_args(["serve", "x", "--metrics"]).metrics == ("127.0.0.1", 9464)
