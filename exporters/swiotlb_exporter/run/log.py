"""What the exporter says while it runs, on standard error: how much of it, and in what form."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
"""Names as Prometheus's own exporters have them."""
_NAMES: Final = {number: name.upper() for name, number in LEVELS.items()}
_ROOT: Final = logging.getLogger("swiotlb_exporter")


class _Plain(logging.Formatter):
    """As every command says things, for people."""

    def format(self, record: logging.LogRecord) -> str:
        return f"swiotlb-top: {''.join(char if char.isprintable() else ' ' for char in record.getMessage())}"


class _Json(logging.Formatter):
    """An object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return _json(_fields(record))


class _Logfmt(logging.Formatter):
    """Names and values, in quotes where they need them."""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{name}={_quoted(value)}" for name, value in _fields(record).items())


FORMATS: Final[dict[str, logging.Formatter]] = {"plain": _Plain(), "logfmt": _Logfmt(), "json": _Json()}


class _Lines(logging.StreamHandler):  # type: ignore[type-arg] # not subscriptable at run time
    """Lines on standard error. One that cannot be written is not missed."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the library's name)
        """Go on."""


@contextmanager
def written(level: str, form: str) -> Iterator[logging.Logger]:
    """Write what the exporter logs, from ``level`` upwards, in a form of :data:`FORMATS`, and nowhere else; yields its
    logger."""
    handler = _Lines(sys.stderr)
    handler.setFormatter(FORMATS[form])
    before, passed_on = _ROOT.level, _ROOT.propagate
    _ROOT.setLevel(LEVELS[level])
    _ROOT.propagate = False
    _ROOT.addHandler(handler)
    try:
        yield _ROOT
    finally:
        _ROOT.removeHandler(handler)
        _ROOT.setLevel(before)
        _ROOT.propagate = passed_on


def _fields(record: logging.LogRecord) -> dict[str, str]:
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return {
        "time": time.replace("+00:00", "Z"),
        "level": _NAMES[record.levelno],
        "msg": record.getMessage(),
    }


def _quoted(value: str) -> str:
    bare = value.isprintable() and value and not set(value) & set(' "=\\')
    return value if bare else _json(value)


def _json(value: object) -> str:
    # By itself it escapes ASCII's control characters, and none of the others that a terminal goes by.
    written = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in written)
