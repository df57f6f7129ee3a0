"""What was watched: the latest frame, and for each frame what rules need of the time before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final, NamedTuple

from swiotlb_top.accounting.finding import Slope
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import NOTHING_EARLIER, UNKNOWN, DeviceView, Snapshot

MOST_READINGS: Final = 1200
"""If there are more, every second one is dropped: a day takes no more memory than half an hour."""
BETWEEN_LEAST_NS: Final = 900_000_000
"""Frames may come more often, and readings do not: what is found does not depend on how often a screen is drawn."""
PARTS: Final = 5
"""Parts of the time. What rises has its least number of mappings rise from each to the next."""
SLOPE_LEAST_NS: Final = 30_000_000_000
"""In a shorter time, a load that only begins looks like one that rises."""
SLOPE_LEAST_MAPS: Final = 16
"""How many more mappings have to be held at the end than at the beginning."""
STEADY_SHARE: Final = 0.5
"""From each part to the next, a steady rise is at least this share of the mean one: else it may be about to end."""


class Reading(NamedTuple):
    """What one frame tells. -1 is not known."""

    time_ns: int
    used_slots: int
    transient_slots: int
    held_maps: Mapping[int, int]
    """Mappings made and not yet released since the source began, by ``struct device *``; devices with none are left
    out."""


@dataclass
class Watched:
    """The frames of one source, in their order. Counts in snapshots are since the source began."""

    readings: list[Reading] = field(default_factory=list)
    frame: Frame | None = None
    """The latest; None before the first."""
    fullest: Snapshot | None = None
    """Of all snapshots the one with the most slots in use; None before the first."""
    slopes: Mapping[int, Slope] = field(default_factory=dict)
    """The devices that hold more and more, by ``struct device *``."""

    def add(self, frame: Frame) -> None:
        """The next frame. It adds no reading if it comes soon after the last one, or shows an old snapshot because the
        source failed.

        If a recording was moved back, what was seen of later times is forgotten.
        """
        self.frame = frame
        now = frame.now
        if self.readings and now.time_ns < self.readings[-1].time_ns:
            self._forget_after(now.time_ns)
        if frame.failure:
            return
        if self.fullest is None or now.used_slots >= self.fullest.used_slots:
            self.fullest = now
        else:
            self.fullest = _as_known_now(self.fullest, now)
        if not self.readings or now.time_ns - self.readings[-1].time_ns >= BETWEEN_LEAST_NS:
            self._read(now)
            self.slopes = dict(self._slopes(now))

    def _forget_after(self, time_ns: int) -> None:
        self.readings = [reading for reading in self.readings if reading.time_ns <= time_ns]
        if self.fullest is not None and self.fullest.time_ns > time_ns:
            self.fullest = None

    def _read(self, now: Snapshot) -> None:
        held = {device.dev: device.held_maps for device in now.devices if device.held_maps}
        self.readings.append(Reading(now.time_ns, now.used_slots, now.transient_slots, held))
        if len(self.readings) > MOST_READINGS:
            del self.readings[1::2]

    @property
    def now(self) -> Snapshot:
        """The latest snapshot. :raises ValueError: there is none yet."""
        if self.frame is None:
            raise ValueError("nothing has been watched")
        return self.frame.now

    @property
    def duration_ns(self) -> int:
        """The time from the first reading to the last."""
        return self.readings[-1].time_ns - self.readings[0].time_ns if self.readings else 0

    @property
    def most_used_slots(self) -> int:
        """The most of any reading; -1 where none is known."""
        return max((reading.used_slots for reading in self.readings), default=-1)

    def _slopes(self, now: Snapshot) -> Iterator[tuple[int, Slope]]:
        length = len(self.readings) // PARTS
        if length < 2 or self.duration_ns < SLOPE_LEAST_NS:
            return
        surplus = len(self.readings) - length * PARTS
        parts = [self.readings[surplus + at * length :][:length] for at in range(PARTS)]
        began_ns = [part[0].time_ns for part in parts]
        for device in now.devices:
            least = _rising(device, parts)
            if least and mean_slots(device) > 0:
                yield device.dev, _slope(device, least, began_ns, now)


def _rising(device: DeviceView, parts: Sequence[Sequence[Reading]]) -> list[int]:
    """The least numbers of mappings that the device held in each part, if they rise by enough; else empty.

    Of most devices hardly anything is looked at.
    """
    least: list[int] = []
    for part in parts if device.held_maps >= SLOPE_LEAST_MAPS else ():
        fewest = min([reading.held_maps.get(device.dev, 0) for reading in part])
        if least and fewest <= least[-1]:
            return []
        least.append(fewest)
    return least if least and least[-1] - least[0] >= SLOPE_LEAST_MAPS else []


def _slope(device: DeviceView, least: Sequence[int], began_ns: Sequence[int], now: Snapshot) -> Slope:
    """How fast the device holds more.

    :param least: the least numbers of mappings that it held in parts of the time, which rise.
    :param began_ns: when each of these parts began.
    """
    more, between_ns = least[-1] - least[0], began_ns[-1] - began_ns[0]
    slots = more * mean_slots(device)
    rises = [(after - before) / (until - since) for (before, after), (since, until) in _steps(least, began_ns)]
    steady = min(rises) >= STEADY_SHARE * more / between_ns
    full_in_ns = UNKNOWN
    if steady and now.used_slots >= 0 and now.nslabs > 0:
        full_in_ns = round(max(now.nslabs - now.used_slots, 0) * between_ns / slots)
    return Slope(more, slots, slots * 60e9 / between_ns, full_in_ns)


def _steps(least: Sequence[int], began_ns: Sequence[int]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    return zip(pairwise(least), pairwise(began_ns), strict=True)


def _as_known_now(then: Snapshot, now: Snapshot) -> Snapshot:
    """An earlier snapshot, with the devices that have shown since then which of the older mappings are theirs.

    What such a mapping holds now it held then.
    """
    if then.unowned_slots <= 0:
        return then
    devices, nobodys = {device.dev: device for device in then.devices}, then.unowned_slots
    for device in now.devices:
        known = devices.get(device.dev) or replace(device, maps=0, unmaps=0, held_slots=0, earlier=NOTHING_EARLIER)
        more = device.earlier.slots - known.earlier.slots
        if more > 0:
            devices[device.dev] = replace(known, earlier=device.earlier._replace(unmaps=known.earlier.unmaps))
            nobodys -= more
    return replace(then, devices=tuple(devices.values()), unowned_slots=max(nobodys, 0))


def mean_slots(device: DeviceView) -> float:
    """Slots of a mean map of the device; 0.0 where no map's size is known."""
    asked = device.maps + device.map_failures
    return device.asked_slots / asked if asked > 0 else 0.0


def held_slots(device: DeviceView) -> int:
    """Slots of the watched pools that the device is known to hold: counted, or else those of so many mean maps."""
    if device.evidence.restricted:
        return 0  # it has a pool of its own
    return device.all_held_slots if device.held_slots >= 0 else round(device.held_maps * mean_slots(device))
