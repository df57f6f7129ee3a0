"""``swiotlb-top why``."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import click

from swiotlb_top.cli.options import examples, json_option
from swiotlb_top.cli.page import show_report
from swiotlb_top.errors import Exit, UnreadableError
from swiotlb_top.kernel_log.report import WhyReport
from swiotlb_top.kernel_log.stream import read_log

EPILOG = examples(
    "swiotlb-top why                            this machine's log",
    "dmesg | swiotlb-top why -",
    "journalctl -k -b -1 | swiotlb-top why -    the boot before",
    "swiotlb-top why console.log",
    "swiotlb-top why 'swiotlb buffer is full (sz: 327680 bytes), total 32768 (slots), used 0 (slots)'",
)
_STARTS = {
    b"SWTRACE\n": "is a recording, not a log: swiotlb-top replay FILE --explain says why maps failed in it",
    b"\x1f\x8b": "is compressed: zcat FILE | swiotlb-top why - reads it",
    b"\x28\xb5\x2f\xfd": "is compressed: zstdcat FILE | swiotlb-top why - reads it",
    b"\xfd7zXZ": "is compressed: xzcat FILE | swiotlb-top why - reads it",
    b"LPKSHHRH": "is a journal: journalctl -k --file FILE | swiotlb-top why - reads it",
}
"""A file that begins with one of these is no text; what it is, and what reads it."""


@click.command(epilog=EPILOG)
@click.argument("what", required=False, metavar="[LINE|FILE|-]")
@json_option
def why(what: str | None, as_json: bool) -> Exit:
    """Explain what a kernel's log says of swiotlb: a line of it, a file, standard input (-), or this machine's.

    Of each device and cause: what it means, what helps, what does not, and what the lines leave open. The log may be
    any machine's, and nobody's privileges are needed but to read this machine's own.

    Exit status: 0 the lines tell only how swiotlb was set up, 1 they tell of trouble, 3 this machine's log cannot be
    read, 4 the file cannot, 5 no line tells of swiotlb, or none that is known, and nothing follows from that.
    """
    report = _of_this_machine() if what is None else _of(what)
    show_report(report.as_text, report.as_json, as_json=as_json)
    return report.exit_code


def _of_this_machine() -> WhyReport:
    from swiotlb_top.kernel_log.kmsg import Kmsg

    with Kmsg.open() as log:
        return WhyReport(*log.to_the_end())


def _of(what: str) -> WhyReport:
    """The report on a line of a log, if ``what`` has a blank in it and names no file; else on the file ``what``."""
    if what == "-":
        with open(0, "rb", closefd=False) as file:
            return _read(file, "standard input")
    path = Path(what)
    if " " in what.strip() and not _exists(path):
        return WhyReport(*read_log(BytesIO(os.fsencode(what))))
    try:
        with path.open("rb") as file:
            start = file.peek(8)[:8]
            for magic, said in _STARTS.items():
                if start.startswith(magic):
                    raise UnreadableError(f"{what} {said.replace('FILE', what)}")
            return _read(file, what)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        hint = " (and it is no line of a log, which has blanks in it)" if isinstance(error, FileNotFoundError) else ""
        raise UnreadableError(f"{what} cannot be read: {why}{hint}") from error


def _read(file: BinaryIO, name: str) -> WhyReport:
    try:
        return WhyReport(*read_log(file))
    except OSError as error:
        raise UnreadableError(f"{name} cannot be read: {error.strerror or error}") from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a line may be longer than a name can be, or have a NUL in it
        return False
