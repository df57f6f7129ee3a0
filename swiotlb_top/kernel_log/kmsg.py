"""This machine's own log, /dev/kmsg: its records, as many as there are, without waiting for more."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel_log.stream import Read, tally

KMSG: Final = Path("/dev/kmsg")
_DEVICE: Final = os.makedev(1, 11)
_RECORD_MAX: Final = 16_384
"""The kernel gives a record of at most 8 KiB, and refuses a smaller buffer."""
MOST_AT_ONCE: Final = 200_000
"""So many records are read in one go at most; a log that is written to as fast as it is read has no end."""
_OF_OTHERS: Final = 8
"""From this priority on a record was written by a program: it cannot give the kernel's own facility, which is 0."""


class Record(NamedTuple):
    """One record, as the kernel gives it."""

    priority: int
    sequence: int
    microseconds: int
    """On the kernel's clock."""
    raw: bytes
    """All of its first line, prefix and message."""

    @property
    def is_the_kernels(self) -> bool:
        return self.priority < _OF_OTHERS


class Kmsg:
    """The log, from its oldest record on.

    :param descriptor: of the log, to be closed with this; a read that would wait must fail with EAGAIN.
    """

    def __init__(self, descriptor: int) -> None:
        self.lost = 0
        """Records that were overwritten before they were read."""
        self._descriptor = descriptor
        self._next = 0

    @classmethod
    def open(cls, path: Path = KMSG) -> Self:
        """Open this machine's.

        Privileges are asked for now, and never again: it may be read on after they were given up.

        :raises CannotError: it cannot be opened, or is not the kernel's log.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise CannotError(f"the kernel's log cannot be read ({path}: {error.strerror})", _remedy(error)) from error
        status = os.fstat(descriptor)
        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _DEVICE:
            os.close(descriptor)
            raise CannotError(f"{path} is not the kernel's log here, as in some containers")
        return cls(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)

    def records(self) -> Iterator[Record]:
        """The kernel's own that are there and were not given yet, of at most :data:`MOST_AT_ONCE`.

        :raises CannotError: it cannot be read any more.
        """
        for _ in range(MOST_AT_ONCE):
            try:
                raw = os.read(self._descriptor, _RECORD_MAX)
            except BlockingIOError:
                return
            except BrokenPipeError:
                # The record that was next is overwritten; the sequence numbers tell how many are gone.
                continue
            except OSError as error:
                raise CannotError(f"the kernel's log cannot be read: {error.strerror}") from error
            record = parse(raw)
            if record is None:
                if not raw:
                    return
                continue
            self.lost += max(0, record.sequence - self._next)
            self._next = record.sequence + 1
            if record.is_the_kernels:
                yield record

    def to_the_end(self) -> Read:
        """All that is there now: what it says, in how many records, and whether none was overwritten."""
        count = 0

        def lines() -> Iterator[bytes]:
            nonlocal count
            for record in self.records():
                count += 1
                yield record.raw

        found = tally(lines()).found()
        return Read(found, count, self.missing)

    @property
    def missing(self) -> str:
        """Why there is more of the log than could be read; empty where there is not."""
        if not self.lost:
            return ""
        were = "record was" if self.lost == 1 else "records were"
        return f"{self.lost:,} {were} overwritten before they were read; journalctl -k may have them"


def parse(raw: bytes) -> Record | None:
    """A record; None for what is none. "priority,sequence,microseconds,flags;message", then lines of a dictionary."""
    first = raw.partition(b"\n")[0]
    fields = first.partition(b";")[0].split(b",")
    if len(fields) < 4 or not all(field.isdigit() for field in fields[:3]):
        return None
    priority, sequence, microseconds = (int(field[:20]) for field in fields[:3])
    return Record(priority, sequence, microseconds, first)


def _remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "run as root or with CAP_SYSLOG, or give it what you can read: journalctl -k | swiotlb-top why -"
    if isinstance(error, FileNotFoundError):
        return "a container has it only where it is given it: --device /dev/kmsg, for one"
    return ""
