"""Standard output and standard error of this process, also where they are closed, full, or read by nobody.

Output that cannot be written is an error with a status of its own. A complaint that cannot be written is not: the exit
status says the same.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_INPUT, _OUTPUT, _COMPLAINTS = range(3)
_READER_GONE: Final = (errno.EPIPE, errno.ECONNRESET)


class OutputError(Exception):
    """Standard output cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror}")
        self.reader_gone = error.errno in _READER_GONE


class _Output(io.FileIO):
    """Standard output, whose errors cannot be mistaken for those of another file."""

    given_up = False

    def write(self, data: ReadableBuffer) -> int:
        size = memoryview(data).nbytes
        while not self.given_up:
            try:
                written = super().write(data)
            except OSError as error:
                # What is still buffered is not tried again when the process ends.
                self.given_up = True
                raise OutputError(error) from None
            if written is not None:
                return written
            # It is full for now, and was made non-blocking by whoever shares it.
            select.select([], [self], [])
        return size


class _Complaints(io.FileIO):
    """Standard error: what it does not take is dropped."""

    def write(self, data: ReadableBuffer) -> int:
        with suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


@contextmanager
def complaints() -> Iterator[None]:
    """Standard error takes what it can get. A test's own stream is left as it is."""
    _occupy_closed_numbers()
    before = sys.stderr
    if before is not sys.__stderr__:
        yield
        return
    with _text(_Complaints(_COMPLAINTS, "w", closefd=False), before) as sys.stderr:
        try:
            yield
        finally:
            sys.stderr = before


@contextmanager
def output() -> Iterator[None]:
    """Standard output says so where it cannot be written. A test's own stream is left as it is.

    :raises OutputError: it cannot.
    """
    before = sys.stdout
    if before is not sys.__stdout__:
        yield
        return
    with _text(_Output(_OUTPUT, "w", closefd=False), before) as sys.stdout:
        try:
            yield
            sys.stdout.flush()
        finally:
            sys.stdout = before


def _occupy_closed_numbers() -> None:
    """Open something under the numbers of closed standard streams: another file must not get them.

    What is opened for standard output cannot be written, so that output into nothing is noticed.
    """
    for number, flags in ((_INPUT, os.O_RDONLY), (_OUTPUT, os.O_RDONLY), (_COMPLAINTS, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest free number, which is this one. Commands that are started inherit it.
            os.set_inheritable(os.open(os.devnull, flags), True)


def _text(raw: io.FileIO, like: TextIO | None) -> io.TextIOWrapper:
    """A text file on ``raw`` in the encoding of ``like``; a name that has no letters in it is written in numbers."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=like.encoding if like else "utf-8",
        errors="backslashreplace",
        line_buffering=isinstance(raw, _Complaints) or raw.isatty(),
    )
