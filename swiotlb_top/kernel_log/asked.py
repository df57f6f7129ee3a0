"""What ``swiotlb-top why`` is asked: about a line of a log, a file, standard input, or this machine's log."""

from __future__ import annotations

import os
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Final

from swiotlb_top.errors import UnreadableError
from swiotlb_top.kernel_log.kmsg import Kmsg
from swiotlb_top.kernel_log.report import WhyReport
from swiotlb_top.kernel_log.stream import read_log

_STARTS: Final = {
    b"SWTRACE\n": "is a recording, which can only be read from a file: swiotlb-top why FILE explains it",
    b"\x1f\x8b": "is compressed: zcat FILE | swiotlb-top why - reads it",
    b"\x28\xb5\x2f\xfd": "is compressed: zstdcat FILE | swiotlb-top why - reads it",
    b"\xfd7zXZ": "is compressed: xzcat FILE | swiotlb-top why - reads it",
    b"LPKSHHRH": "is a journal: journalctl -k --file FILE | swiotlb-top why - reads it",
}
"""A file that begins with one of these is no text; what it is, and what reads it."""


def report_on(what: str | None) -> WhyReport:
    """The report on a line, on the file of that name, or on standard input (``-``); None: on this machine's log.

    :raises UnreadableError: the file cannot be read, or is no log.
    :raises CannotError: this machine's log cannot be read.
    """
    return _of_this_machine() if what is None else _of(what)


def _of_this_machine() -> WhyReport:
    with Kmsg.open() as log:
        return WhyReport(*log.to_the_end())


def _of(what: str) -> WhyReport:
    """The report on a line of a log, if ``what`` has a blank in it and names no file; else on the file ``what``."""
    if what == "-":
        with open(0, "rb", closefd=False) as file:
            return _read(file, "standard input", "FILE")
    path = Path(what)
    if " " in what.strip() and not _exists(path):
        return WhyReport(*read_log(BytesIO(os.fsencode(what))))
    try:
        with path.open("rb") as file:
            return _read(file, what, what)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        hint = " (and it is no line of a log, which has blanks in it)" if isinstance(error, FileNotFoundError) else ""
        raise UnreadableError(f"{what} cannot be read: {why}{hint}") from error


def _read(file: BufferedReader, name: str, path: str) -> WhyReport:
    """The report on what a file holds.

    :param path: how a command line names what it holds.
    """
    try:
        start = file.peek(8)[:8]
        for magic, said in _STARTS.items():
            if start.startswith(magic):
                raise UnreadableError(f"{name} {said.replace('FILE', path)}")
        return WhyReport(*read_log(file))
    except OSError as error:
        raise UnreadableError(f"{name} cannot be read: {error.strerror or error}") from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a line may be longer than a name can be, or have a NUL in it
        return False
