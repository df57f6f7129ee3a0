"""What was watched: the latest frame, and for each frame what rules need of the time before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import DeviceView, Snapshot

MOST_READINGS: Final = 1200
"""If there are more, every second one is dropped: a day takes no more memory than half an hour."""


class Reading(NamedTuple):
    """What one frame tells. -1 is not known."""

    time_ns: int
    used_slots: int
    transient_slots: int
    held_maps: Mapping[int, int]
    """Mappings made and not yet released since the source began, by ``struct device *``."""


@dataclass
class Watched:
    """The frames of one source, in their order. Counts in snapshots are since the source began."""

    readings: list[Reading] = field(default_factory=list)
    frame: Frame | None = None
    """The latest; None before the first."""
    fullest: Snapshot | None = None
    """Of all snapshots the one with the most slots in use; None before the first."""

    def add(self, frame: Frame) -> None:
        """The next frame. A frame that shows an old snapshot, because the source failed, adds no reading."""
        self.frame = frame
        now = frame.now
        if frame.failure or (self.readings and now.time_ns <= self.readings[-1].time_ns):
            return
        if self.fullest is None or now.used_slots >= self.fullest.used_slots:
            self.fullest = now
        held = {device.dev: device.held_maps for device in now.devices}
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
        """From the first reading to the last."""
        return self.readings[-1].time_ns - self.readings[0].time_ns if self.readings else 0

    @property
    def most_used_slots(self) -> int:
        """The most of any reading; -1 where none is known."""
        return max((reading.used_slots for reading in self.readings), default=-1)

    def parts(self, number: int) -> list[list[Reading]]:
        """The readings in so many runs of nearly equal length; empty if there are fewer than two for each."""
        length = len(self.readings) // number
        if length < 2:
            return []
        surplus = len(self.readings) - length * number
        return [self.readings[surplus + at * length :][:length] for at in range(number)]


def mean_slots(device: DeviceView) -> float:
    """Slots of a mean map of the device; 0.0 where no map's size is known."""
    asked = device.maps + device.map_failures
    return device.asked_slots / asked if asked > 0 else 0.0


def held_slots(device: DeviceView) -> int:
    """Slots that the device holds of mappings since the source began: counted, or else as many as mean maps have."""
    return device.held_slots if device.held_slots >= 0 else round(device.held_maps * mean_slots(device))
