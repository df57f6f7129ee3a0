"""Which devices have series of their own: a bounded number, and never one that is gone."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from swiotlb_exporter.wanted import Wanted
from swiotlb_top.accounting.snapshot import UNKNOWN, DeviceView, Snapshot
from swiotlb_top.allocator import Cause

Who: TypeAlias = tuple[str, str]
"""A device's name and its driver's."""

OTHER: Final[Who] = ("other", "")
UNNAMED: Final = "unknown"
_LOOK_AGAIN_S: Final = 5.0

_COUNTS: Final = (
    "maps",
    "map_failures",
    "unmaps",
    "mapped_bytes",
    "to_device_bytes",
    "from_device_bytes",
    "latency_sum_ns",
    "asked_slots",
)
_HISTOGRAMS: Final = ("sizes", "latencies")
_SPARSE: Final = ("causes", "fine_latencies")


@dataclass(slots=True)
class Totals:
    """What one series counts; -1, or an empty tuple, is not known."""

    maps: int = 0
    map_failures: int = 0
    unmaps: int = 0
    mapped_bytes: int = 0
    to_device_bytes: int = UNKNOWN
    from_device_bytes: int = UNKNOWN
    latency_sum_ns: int = 0
    asked_slots: int = 0
    sizes: tuple[int, ...] = ()
    latencies: tuple[int, ...] = ()
    fine_latencies: dict[int, int] = field(default_factory=dict)
    causes: dict[Cause, int] = field(default_factory=dict)

    def add(self, more: Totals) -> None:
        """Count ``more`` too."""
        for name in _COUNTS:
            ours, theirs = getattr(self, name), getattr(more, name)
            if theirs != UNKNOWN:
                setattr(self, name, max(ours, 0) + theirs)
        for name in _HISTOGRAMS:
            ours, theirs = getattr(self, name), getattr(more, name)
            if theirs:
                setattr(self, name, tuple(a + b for a, b in zip(ours or (0,) * len(theirs), theirs, strict=True)))
        for name in _SPARSE:
            ours, theirs = getattr(self, name), getattr(more, name)
            for key, number in theirs.items():
                ours[key] = ours.get(key, 0) + number

    def since(self, before: Totals) -> Totals:
        """What was counted after ``before``; everything if the counters have begun anew since."""
        if self.maps < before.maps or self.unmaps < before.unmaps or self.map_failures < before.map_failures:
            return self
        passed = Totals()
        for name in _COUNTS:
            ours, theirs = getattr(self, name), getattr(before, name)
            setattr(passed, name, UNKNOWN if ours == UNKNOWN else ours - max(theirs, 0))
        for name in _HISTOGRAMS:
            ours, theirs = getattr(self, name), getattr(before, name)
            setattr(passed, name, tuple(a - b for a, b in zip(ours, theirs or (0,) * len(ours), strict=True)))
        for name in _SPARSE:
            ours, theirs = getattr(self, name), getattr(before, name)
            setattr(passed, name, {key: number - theirs.get(key, 0) for key, number in ours.items()})
        return passed


def totals_of(device: DeviceView) -> Totals:
    """The totals of a device in a snapshot."""
    dense: dict[str, Any] = {name: getattr(device, name) for name in (*_COUNTS, *_HISTOGRAMS)}
    sparse: dict[str, Any] = {name: dict(getattr(device, name)) for name in _SPARSE}
    return Totals(**dense, **sparse)


def with_totals(device: DeviceView, totals: Totals) -> DeviceView:
    """The same device with other totals; :func:`totals_of` reads them again."""
    dense: dict[str, Any] = {name: getattr(totals, name) for name in (*_COUNTS, *_HISTOGRAMS)}
    sparse: dict[str, Any] = {name: tuple(getattr(totals, name).items()) for name in _SPARSE}
    return replace(device, **dense, **sparse)


def who(device: DeviceView) -> Who:
    """The labels of a device: name and driver. Devices whose names could not be read share one series."""
    nameless = not device.name or device.name == f"device {device.dev & 0xFFFF:04x}"
    return UNNAMED if nameless else device.name, device.driver


class Devices:
    """Chooses as many devices as are wanted, of those that are wanted; the rest count as "other".

    Devices whose maps fail come first, then those that had series already, then the busiest: a series must not come
    and go. "other" counts what devices did while they were among the others, and so never decreases. Two struct devices
    of one name (unplugged and plugged again) are one series.

    :param is_there: whether a device of this name, once seen, still exists.
    """

    def __init__(self, wanted: Wanted, is_there: Callable[[str], bool]) -> None:
        self._wanted = wanted
        self._is_there = is_there
        self._chosen: set[Who] = set()
        self._before: dict[Who, Totals] = {}
        self._other: Totals | None = None
        self._time_ns = 0

    def totals(self, snapshot: Snapshot) -> dict[Who, Totals]:
        """Totals of the devices chosen, by labels, and of the others where there ever were any."""
        if snapshot.time_ns < self._time_ns:  # a recording that began anew
            self._chosen, self._before, self._other = set(), {}, None
        self._time_ns = snapshot.time_ns
        everyone: defaultdict[Who, Totals] = defaultdict(Totals)
        for device in snapshot.devices:
            everyone[who(device)].add(totals_of(device))
        there = {label: totals for label, totals in everyone.items() if self._is_there(label[0])}
        may_be_shown = filter(self._wanted.may_be_shown, there)
        ranked = sorted(may_be_shown, key=lambda label: self._rank(label, there[label]), reverse=True)
        self._chosen = set(ranked[: self._wanted.most_devices])
        for label in there.keys() - self._chosen:
            self._other = self._other or Totals()
            self._other.add(there[label].since(self._before.get(label, Totals())))
        self._before = dict(everyone)
        shown = {label: totals for label, totals in there.items() if label in self._chosen}
        return shown if self._other is None else {**shown, OTHER: self._other}

    def _rank(self, label: Who, totals: Totals) -> tuple[bool, bool, int]:
        return totals.map_failures > 0, label in self._chosen, totals.maps


class Presence:
    """Which devices exist, by what sysfs lists; looked at again every few seconds.

    A device that no bus ever listed (some have no bus) counts as there.

    :param sys: where sysfs is mounted.
    """

    def __init__(self, sys: Path = Path("/sys"), clock: Callable[[], float] = time.monotonic) -> None:
        self._sys = sys
        self._clock = clock
        self._listed: frozenset[str] = frozenset()
        self._ever: set[str] = set()
        self._due_s = clock()

    def __call__(self, name: str) -> bool:
        if self._clock() >= self._due_s:
            self._listed = frozenset(self._names())
            self._due_s = self._clock() + _LOOK_AGAIN_S
        if name in self._listed:
            self._ever.add(name)
        return name in self._listed or name not in self._ever

    def _names(self) -> Iterator[str]:
        for bus in os.listdir(self._sys / "bus"):
            with suppress(FileNotFoundError):
                yield from os.listdir(self._sys / "bus" / bus / "devices")
