"""Standard output and standard error of this process, even if they are closed or full, or nobody reads them.

Output that cannot be written is an error with an exit status of its own. A complaint that cannot be written is dropped:
the exit status says the same.
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
                # Do not try to write what is still buffered when the process ends.
                self.given_up = True
                raise OutputError(error) from None
            if written is not None:
                return written
            # It is full for the moment, and another process that shares it made it non-blocking.
            select.select([], [self], [])
        return size


class _Complaints(io.FileIO):
    """Standard error; what cannot be written is dropped."""

    def write(self, data: ReadableBuffer) -> int:
        with suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


@contextmanager
def complaints() -> Iterator[None]:
    """Replace standard error by one that drops what cannot be written. A stream that a test has set is kept."""
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
    """Replace standard output by one that reports when it cannot be written. A stream that a test has set is kept.

    :raises OutputError: standard output cannot be written.
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
    """Open a file for each standard stream that is closed, so that no other file gets its descriptor.

    The file for standard output is not writable, so that lost output is noticed.
    """
    for number, flags in ((_INPUT, os.O_RDONLY), (_OUTPUT, os.O_RDONLY), (_COMPLAINTS, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest free number, which is this one. Commands that are started inherit it.
            os.set_inheritable(os.open(os.devnull, flags), True)


def _text(raw: io.FileIO, like: TextIO | None) -> io.TextIOWrapper:
    """A text file on ``raw`` with the encoding of ``like``; a character that this does not have becomes an escape."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=like.encoding if like else "utf-8",
        errors="backslashreplace",
        line_buffering=isinstance(raw, _Complaints) or raw.isatty(),
    )
