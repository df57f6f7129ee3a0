"""The wall clock of a recording, whose events are on the kernel's monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from swiotlb_top.trace import Header


@dataclass(frozen=True, slots=True)
class Clock:
    """One moment on both clocks, from which the wall clock of every other moment is computed.

    If somebody set the wall clock during the recording, or the machine was suspended, later times are off by as much.
    """

    realtime_ns: int
    """Unix time."""
    monotonic_ns: int
    """The kernel's monotonic clock, which begins at boot and stands still in suspend."""
    exact: bool
    """Whether the recorder read both clocks at this moment.

    Older recordings have only the wall clock of their beginning. The first state, which was read up to some tenths of
    a second later, then stands for that moment, and wall clock times are early by as much.
    """

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

    def time_ns(self, wall_ns: int) -> int:
        """The time of the recording at which the wall clock showed that."""
        return self.monotonic_ns + wall_ns - self.realtime_ns


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment in a recording, as people give it."""

    value_ns: int
    """Since the recording's beginning, or Unix time."""
    on_wall: bool

    def time_ns(self, clock: Clock, begin_ns: int) -> int:
        """On the recording's clock."""
        return clock.time_ns(self.value_ns) if self.on_wall else begin_ns + self.value_ns


def in_words(wall_ns: int) -> str:
    """A Unix time as people and databases write it, in UTC: ``2026-11-29T03:02:01.123456789Z``.

    A time beyond the calendar, which a hostile header may have, is written as ``@`` and seconds.
    """
    seconds, rest_ns = divmod(wall_ns, 1_000_000_000)
    try:
        day = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"@{seconds}.{rest_ns:09}"
    return f"{day:%Y-%m-%dT%H:%M:%S}.{rest_ns:09}Z"
