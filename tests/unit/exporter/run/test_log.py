"""What the exporter says while it runs: in which form, how much, and that its end is said in the same."""

from __future__ import annotations

import json
import logging
import re
import sys
from io import StringIO
from pathlib import Path

import pytest

from swiotlb_exporter.run.log import FORMATS, LEVELS, written
from swiotlb_top.cli.export import export
from swiotlb_top.errors import Exit
from tests.support.served import DEADLINE_S
from tests.unit.exporter.web.test_server import announced, ended, exporter, get

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def said(form: str, message: str, level: str = "debug") -> str:
    """A line as it is written, without its end."""
    before, sys.stderr = sys.stderr, StringIO()
    try:
        with written(level, form) as logger:
            logger.getChild("web").warning(message)
        return sys.stderr.getvalue().removesuffix("\n")
    finally:
        sys.stderr = before


def test_plain_is_as_every_command_says_things() -> None:
    assert said("plain", "a\x1b[2Jb\nc") == "swiotlb-top: a [2Jb c"


def test_json_is_an_object_a_line() -> None:
    found = json.loads(said("json", 'a "b"\nc ü'))
    assert re.fullmatch(TIME, found.pop("time"))
    assert found == {"level": "WARN", "msg": 'a "b"\nc ü'}


@pytest.mark.parametrize("form", FORMATS)
def test_no_form_writes_what_a_terminal_goes_by(form: str) -> None:
    message = "a\x1b[2J\x7f\x9b2J\u2028\U000e0001"
    line = said(form, message)
    assert line.isprintable()
    assert form != "json" or json.loads(line)["msg"] == message


@pytest.mark.parametrize(
    ("message", "as_written"),
    [("well", "well"), ("", '""'), ('a "b"=c\\', r'"a \"b\"=c\\"'), ("a\nb\x1b", r'"a\nb\u001b"'), ("ü", "ü")],
)
def test_logfmt_has_quotes_where_it_needs_them(message: str, as_written: str) -> None:
    assert re.fullmatch(rf"time={TIME} level=WARN msg={re.escape(as_written)}", said("logfmt", message))


@pytest.mark.parametrize(("level", "there"), [("debug", True), ("info", True), ("warn", True), ("error", False)])
def test_a_level_leaves_out_what_is_less_grave(level: str, there: bool) -> None:
    assert bool(said("plain", "x", level)) == there


def test_nothing_is_left_behind() -> None:
    logger = logging.getLogger("swiotlb_exporter")
    before = (logger.level, logger.handlers[:], logger.propagate)
    said("json", "x")
    assert (logger.level, logger.handlers, logger.propagate) == before


def test_what_is_written_is_written_once(caplog: pytest.LogCaptureFixture) -> None:
    assert said("plain", "x") == "swiotlb-top: x"
    assert caplog.records == []


def test_the_command_offers_what_there_is() -> None:
    offered = {option.name: getattr(option.type, "choices", None) for option in export.params}
    assert [*(offered["log_level"] or ())] == [*LEVELS]
    assert [*(offered["log_format"] or ())] == [*FORMATS]


def test_debug_tells_of_each_request_and_info_does_not() -> None:
    options = ("--web.listen-address", "127.0.0.1:0", "--log.format", "json", "--log.level")
    for level in ("debug", "info"):
        with exporter(*options, level) as process:
            url = announced(process).rstrip('"}')
            assert get(url)[0] == 200
            process.terminate()
            assert process.wait(DEADLINE_S) == 0
            assert process.stderr is not None
            lines = [json.loads(line) for line in process.stderr]
        requests = [line["msg"] for line in lines if "GET /metrics HTTP/1.1 is answered 200" in line["msg"]]
        assert len(requests) == (1 if level == "debug" else 0)


@pytest.mark.parametrize("form", ["json", "logfmt"])
def test_what_ends_it_is_said_in_the_same_form(form: str, tmp_path: Path) -> None:
    status, lines = ended("--web.config.file", str(tmp_path / "web.yml"), "--log.format", form)
    assert status == Exit.UNREADABLE
    (line,) = lines
    assert re.match(r'\{"time": ".*", "level": "ERROR", "msg": ".*cannot be read' if form == "json" else "time=", line)
