"""What this machine's log says of swiotlb, before somebody looked and since."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel_log.kmsg import Kmsg
from swiotlb_top.kernel_log.lines import read, worth_a_look
from swiotlb_top.kernel_log.tally import Found, Group, Tally

MOST_GROUPS: Final = 100
"""Devices and causes that have counts of their own."""
_SUSPENDED_S: Final = 1.0
"""A machine that was suspended for longer has records whose times on the wall's clock cannot be told."""


@dataclass(frozen=True, slots=True)
class KernelLog:
    """What the log had when it was opened, and what came since."""

    before: Found = field(default_factory=Found)
    since: Found = field(default_factory=Found)
    missing: str = ""
    """Why there was more of it than could be read, in a sentence; empty where there was not."""
    unreadable: str = ""
    """Why it cannot be read (any more), in a sentence; what it says is then not known."""
    zero_s: float | None = None
    """When the kernel's clock was 0, in seconds of the epoch, as ``dmesg -T`` reckons it; None: nobody can tell."""

    @property
    def trouble(self) -> tuple[Group, ...]:
        """All that went wrong: failed maps first, and of these who has most lines."""
        groups = (*self.before.groups, *self.since.groups)
        return tuple(sorted(groups, key=lambda group: (not group.cause.fails_maps, -group.lines)))

    @property
    def not_printed(self) -> int:
        """Lines of trouble that the kernel says it did not print."""
        return self.before.not_printed + self.since.not_printed

    @property
    def is_calm(self) -> bool:
        """Whether it could be read, and tells of no trouble."""
        return not (self.trouble or self.not_printed or self.unreadable)

    def wall_s(self, group: Group) -> float | None:
        """When the latest line of ``group`` was printed, in seconds of the epoch; None where nobody can tell."""
        return None if self.zero_s is None or group.last_seconds is None else self.zero_s + group.last_seconds


class LogWatch:
    """Reads on in the log each time it is asked.

    :param opener: opens the log; where it cannot, that is what every reading says.
    """

    def __init__(self, opener: Callable[[], Kmsg] = Kmsg.open) -> None:
        self._log: Kmsg | None = None
        self._unreadable = ""
        self._before, self._since = Tally(MOST_GROUPS), Tally(MOST_GROUPS)
        try:
            self._log = opener()
        except CannotError as refusal:
            self._unreadable = str(refusal)
        self._zero_s = _zero_s()
        self._read_on(self._before)

    def read(self) -> KernelLog:
        """What there is now."""
        self._read_on(self._since)
        missing = self._log.missing if self._log else ""
        return KernelLog(self._before.found(), self._since.found(), missing, self._unreadable, self._zero_s)

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

    def _read_on(self, tally: Tally) -> None:
        if self._log is None:
            return
        try:
            for record in self._log.records():
                line = read(record.raw.decode("utf-8", "replace")) if worth_a_look(record.raw) else None
                if line is not None:
                    tally.add(line)
            self._unreadable = ""
        except CannotError as refusal:
            self._unreadable = str(refusal)


def read_once() -> KernelLog:
    """What this machine's log has now."""
    watch = LogWatch()
    try:
        return watch.read()
    finally:
        watch.close()


def _zero_s() -> float | None:
    slept_s = time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    return None if slept_s > _SUSPENDED_S else time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
