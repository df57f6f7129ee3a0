"""The wall clock of a recording, whose events are on the kernel's monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from swiotlb_top.trace import Header


@dataclass(frozen=True, slots=True)
class Clock:
    """One moment on both clocks, from which others are told.

    Where the wall clock was set while it was recorded, or the machine was suspended, later times are as if it had not.
    """

    realtime_ns: int
    """Unix time."""
    monotonic_ns: int
    """The kernel's monotonic clock, which begins at boot and stands still in suspend."""
    exact: bool
    """Whether the recorder read both. In older recordings the second is that of the first state, which was read
    later by up to some tenths of a second: wall clock times are early by as much."""

    @classmethod
    def of(cls, header: Header, first_ns: int) -> Self:
        """The clock of a recording.

        :param first_ns: when its first state was read, or its first call was over.
        """
        exact = header.started_monotonic_ns > 0
        return cls(header.started_realtime_ns, header.started_monotonic_ns if exact else first_ns, exact)

    def wall_ns(self, time_ns: int) -> int:
        """Unix time in nanoseconds of a time of the recording."""
        return self.realtime_ns + time_ns - self.monotonic_ns


def in_words(wall_ns: int) -> str:
    """A Unix time as people and databases write it, in UTC: ``2026-11-29T03:02:01.123456789Z``.

    What no calendar has (a hostile header may tell of it) is given as ``@`` and seconds.
    """
    seconds, rest_ns = divmod(wall_ns, 1_000_000_000)
    try:
        day = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"@{seconds}.{rest_ns:09}"
    return f"{day:%Y-%m-%dT%H:%M:%S}.{rest_ns:09}Z"
