"""Lines of a log, counted by device and cause. What is kept is bounded, however long and hostile the log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

from swiotlb_top.kernel_log.causes import LogCause, cause_of
from swiotlb_top.kernel_log.lines import Line
from swiotlb_top.kernel_log.wordings import Kind, Limit, Wording

MOST_GROUPS: Final = 500
_MOST_SAMPLES: Final = 5
_MOST_BOOT: Final = 12
_LEAK_S: Final = 10.0
"""A burst of requests is over sooner; so long at least slots must not have come back to look like a leak."""
OTHER: Final = "(other devices)"
_PENDING_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Group:
    """Lines of one device and one cause."""

    device: str
    """Empty where the lines name none."""
    driver: str
    cause: LogCause
    wording: Wording
    """Of the latest."""
    lines: int = 0
    sizes_bytes: tuple[int, int] | None = None
    """The smallest and the largest; None where none was told."""
    used_slots: tuple[int, int] | None = None
    """The fewest and the most, as printed."""
    last_used_slots: int | None = None
    total_slots: tuple[int, int] | None = None
    """The fewest and the most, as printed."""
    mask: int | None = None
    bus_limit: int | None = None
    address: int | None = None
    first_when: str = ""
    last_when: str = ""
    first_seconds: float | None = None
    last_seconds: float | None = None
    """On the kernel's clock, as the one before."""
    text: str = ""
    """The latest line."""
    remarks: tuple[str, ...] = ()

    @property
    def at_least(self) -> bool:
        """Whether there may have been more: the kernel prints no more than so many, or none for who asks for none."""
        return self.wording.limit is not Limit.NONE

    @property
    def never_fell(self) -> bool:
        """Whether lines over some time tell how many slots were in use, and the last of them tells of the most."""
        if self.first_seconds is None or self.last_seconds is None or self.used_slots is None:
            return False
        long_enough = self.last_seconds - self.first_seconds >= _LEAK_S
        return long_enough and self.lines > 2 and self.last_used_slots == self.used_slots[1]


@dataclass(frozen=True, slots=True)
class Found:
    """What a log has of swiotlb."""

    groups: tuple[Group, ...] = ()
    """Most lines first."""
    suppressed: tuple[tuple[str, int], ...] = ()
    """By the kernel's function: lines that it did not print."""
    boot: tuple[str, ...] = ()
    """How swiotlb was set up, in the kernel's words."""
    unknown: int = 0
    """Lines that mention swiotlb and are not known."""
    unknown_samples: tuple[str, ...] = ()

    @property
    def failed_maps(self) -> int:
        """Lines that each are a map that failed; there may have been more."""
        return sum(group.lines for group in self.groups if group.cause.fails_maps)

    @property
    def not_printed(self) -> int:
        """Lines that the kernel says it did not print."""
        return sum(number for _, number in self.suppressed)

    @property
    def is_empty(self) -> bool:
        return not (self.groups or self.suppressed or self.boot or self.unknown)


class Tally:
    """Counts lines as they come.

    :param most_groups: devices and causes with counts of their own, first come, first served; others are one more.
    """

    def __init__(self, most_groups: int = MOST_GROUPS) -> None:
        self._most_groups = most_groups
        self._groups: dict[tuple[str, str, LogCause], Group] = {}
        self._suppressed: Counter[str] = Counter()
        self._boot: dict[str, None] = {}
        self._unknown = 0
        self._samples: list[str] = []
        self._pending: dict[str, int | None] = {}
        """Of each device, the size of its latest refusal: the next line may tell of it again."""

    def add(self, line: Line) -> bool:
        """Count ``line``; whether it is a map that failed."""
        if line.kind is Kind.SUPPRESSED:
            if line.caller in self._suppressed or len(self._suppressed) < _MOST_SAMPLES:
                self._suppressed[line.caller] += line.suppressed
            return False
        if line.kind is Kind.BOOT:
            if len(self._boot) < _MOST_BOOT:
                self._boot[line.text] = None
            return False
        if line.kind is Kind.MENTION:
            self._unknown += 1
            if len(self._samples) < _MOST_SAMPLES:
                self._samples.append(line.text)
            return False
        return self._count(line)

    def found(self) -> Found:
        """All of it."""
        groups = sorted(self._groups.values(), key=lambda group: (not group.cause.fails_maps, -group.lines))
        return Found(
            tuple(groups),
            tuple(self._suppressed.most_common()),
            tuple(self._boot),
            self._unknown,
            tuple(self._samples),
        )

    def _count(self, line: Line) -> bool:
        verdict = cause_of(line)
        if verdict is None or self._is_told_already(line):
            return False
        key = (line.device, line.driver, verdict.cause)
        if key not in self._groups and len(self._groups) >= self._most_groups:
            key = (OTHER, "", verdict.cause)
        before = self._groups.get(key) or Group(*key, line.wording, first_when=line.when)
        self._groups[key] = _with(before, line, verdict.remarks)
        return verdict.cause.fails_maps

    def _is_told_already(self, line: Line) -> bool:
        """An echo repeats the device and the size of a refusal before it, each at most once."""
        if line.kind is Kind.ECHO:
            missing = object()
            told = self._pending.get(line.device, missing)
            if told is not missing and told == line.size_bytes:
                # An overflow is told of once a boot, of whatever fails first; the others come once for each.
                del self._pending[line.device]
                return True
        elif line.kind is Kind.REFUSED and (line.device in self._pending or len(self._pending) < _PENDING_MAX):
            self._pending[line.device] = line.size_bytes
        return False


def _with(group: Group, line: Line, remarks: tuple[str, ...]) -> Group:
    return replace(
        group,
        wording=line.wording,
        lines=group.lines + 1,
        sizes_bytes=_spread(group.sizes_bytes, line.size_bytes),
        used_slots=_spread(group.used_slots, line.used_slots),
        last_used_slots=line.used_slots if line.used_slots is not None else group.last_used_slots,
        total_slots=_spread(group.total_slots, line.total_slots),
        mask=line.mask if line.mask is not None else group.mask,
        bus_limit=line.bus_limit if line.bus_limit is not None else group.bus_limit,
        address=line.address if line.address is not None else group.address,
        first_when=group.first_when or line.when,
        last_when=line.when or group.last_when,
        first_seconds=group.first_seconds if group.first_seconds is not None else line.seconds,
        last_seconds=line.seconds if line.seconds is not None else group.last_seconds,
        text=line.text,
        remarks=remarks or group.remarks,
    )


def _spread(before: tuple[int, int] | None, value: int | None) -> tuple[int, int] | None:
    if value is None:
        return before
    return (value, value) if before is None else (min(before[0], value), max(before[1], value))
