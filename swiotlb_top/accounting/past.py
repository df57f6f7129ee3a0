"""The totals of an earlier snapshot, which are kept to draw charts and to write the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from swiotlb_top.accounting.snapshot import Snapshot


class DevicePast(NamedTuple):
    """The totals of one device at that time; -1 is not known."""

    maps: int
    map_failures: int
    mapped_bytes: int
    held_slots: int


_NOT_THERE = DevicePast(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Past:
    """The totals of a snapshot; -1 is not known. A whole snapshot with histograms takes twenty times the memory."""

    time_ns: int
    used_slots: int
    maps: int
    map_failures: int
    mapped_bytes: int
    devices: Mapping[int, DevicePast]
    """By ``struct device *``."""

    @classmethod
    def of(cls, snapshot: Snapshot) -> Self:
        return cls(
            snapshot.time_ns,
            snapshot.used_slots,
            snapshot.maps,
            snapshot.map_failures,
            mapped_bytes(snapshot),
            {d.dev: DevicePast(d.maps, d.map_failures, d.mapped_bytes, d.held_slots) for d in snapshot.devices},
        )

    def device(self, dev: int) -> DevicePast:
        """The totals of a device; all zero if it was not there yet."""
        return self.devices.get(dev, _NOT_THERE)


def mapped_bytes(snapshot: Snapshot) -> int:
    """Bytes mapped by all devices; -1 where devices are not seen."""
    return -1 if snapshot.unseen else sum(device.mapped_bytes for device in snapshot.devices)
