"""A snapshot together with those before it: from them come rates, charts and the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Final, TypeAlias, TypeVar

from swiotlb_top.accounting.finding import Finding, Slope
from swiotlb_top.accounting.journal import KEPT, Entry, entries
from swiotlb_top.accounting.past import Past
from swiotlb_top.accounting.readings import Reading, with_reading
from swiotlb_top.accounting.snapshot import DeviceView, Snapshot, per_second

_Timed: TypeAlias = Snapshot | Past
_T = TypeVar("_T", Snapshot, Past)

HISTORY: Final = 120
"""So many snapshots' totals are kept: two minutes at one a second."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recording holds of the time before a snapshot; of a live source, a :class:`Frame` collects the same."""

    before: Snapshot | None
    history: tuple[Past, ...]
    journal: tuple[Entry, ...]
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True)
class Frame:
    """What is drawn at one time: the snapshot ``now``, and the one ``before`` it, from which rates are computed.

    ``failure`` says why the source cannot be read any more; ``now`` is then the last snapshot that it gave.
    """

    now: Snapshot
    before: Snapshot | None = None
    sequence: int = 0
    failure: str = ""
    history: tuple[Past, ...] = ()
    """The totals up to those of ``before``, the oldest first."""
    readings: tuple[Reading, ...] = ()
    """Of two hours up to ``now``, the oldest first."""
    journal: tuple[Entry, ...] = ()
    """What changed, the newest first."""
    findings: tuple[Finding, ...] = ()
    """What is wrong by this frame and those before it, the worst first; empty, too, where nobody looked for it."""
    slopes: Mapping[int, Slope] = field(default_factory=dict)
    """The devices that hold more and more, by ``struct device *``."""

    @classmethod
    def of(cls, now: Snapshot, sequence: int = 0) -> Frame:
        """A first frame. Only a snapshot of a recording brings what was before it."""
        past = now.recorded
        if past is None:
            return cls(now, sequence=sequence)
        return cls(now, past.before, sequence, "", past.history, past.readings, past.journal)

    def then(self, now: Snapshot) -> Frame:
        """The frame after this one."""
        sequence = self.sequence + 1
        if now.recorded is not None:
            return Frame.of(now, sequence)
        last = self._totals
        history = (*self.history, last)[-HISTORY:]
        readings = with_reading(self.readings, last, Past.of(now))
        journal = (*entries(history[0], self.now, now), *self.journal)[:KEPT]
        return Frame(now, self.now, sequence, history=history, readings=readings, journal=journal)

    def alone(self, now: Snapshot) -> Frame:
        """The frame after this one, without anything from before: for readers that only use ``now``."""
        return Frame(now, sequence=self.sequence + 1)

    @property
    def elapsed_ns(self) -> int:
        """Time between the snapshots by their own clock; 0 for the first."""
        return _elapsed_ns(self.before, self.now)

    def rate(self, total: Callable[[Snapshot], int]) -> float | None:
        """Rate of one of the snapshot's totals, per second; None where it cannot be known."""
        return _rate(self.before, self.now, total)

    def device_rate(self, device: DeviceView, total: Callable[[DeviceView], int]) -> float | None:
        """Rate of a device's total, per second; a device not there before started from 0."""
        if not self.elapsed_ns or total(device) < 0:
            return None
        earlier = self._devices_before.get(device.dev)
        return per_second(total(device), max(total(earlier), 0) if earlier else 0, self.elapsed_ns)

    def past(self, total: Callable[[Past], int], most: int = HISTORY) -> tuple[float, ...]:
        """The rates between each two of the last ``most`` + 1 snapshots, latest last; an unknown rate is 0."""
        return tuple(_rate(before, now, total) or 0.0 for before, now in pairwise(self._latest(most + 1)))

    def levels(self, value: Callable[[Past], int], most: int = HISTORY) -> tuple[int, ...]:
        """A number as the last ``most`` snapshots have it, latest last; -1 is not known."""
        return tuple(map(value, self._latest(most)))

    def _latest(self, most: int) -> tuple[Past, ...]:
        return (*self.history, self._totals)[-most:]

    @cached_property
    def _totals(self) -> Past:
        return Past.of(self.now)

    @cached_property
    def _devices_before(self) -> dict[int, DeviceView]:
        return {device.dev: device for device in self.before.devices} if self.before else {}


def _elapsed_ns(before: _Timed | None, now: _Timed) -> int:
    return 0 if before is None else max(0, now.time_ns - before.time_ns)


def _rate(before: _T | None, now: _T, total: Callable[[_T], int]) -> float | None:
    elapsed_ns = _elapsed_ns(before, now)
    if before is None or not elapsed_ns or total(now) < 0 or total(before) < 0:
        return None
    return per_second(total(now), total(before), elapsed_ns)
