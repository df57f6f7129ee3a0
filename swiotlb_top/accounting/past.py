"""What is remembered of a snapshot that is past: its totals, from which charts are drawn and the log is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from swiotlb_top.accounting.snapshot import Snapshot


class DevicePast(NamedTuple):
    """A device's totals then."""

    maps: int
    map_failures: int
    mapped_bytes: int


_NOT_THERE = DevicePast(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Past:
    """A snapshot's totals; -1 what was not known. Its details, histograms first, take twenty times the memory."""

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
            {d.dev: DevicePast(d.maps, d.map_failures, d.mapped_bytes) for d in snapshot.devices},
        )

    def device(self, dev: int) -> DevicePast:
        """Zeros for one that was not there: it began so."""
        return self.devices.get(dev, _NOT_THERE)


def mapped_bytes(snapshot: Snapshot) -> int:
    """Bytes mapped by all devices; -1 where devices are not seen."""
    return -1 if snapshot.unseen else sum(device.mapped_bytes for device in snapshot.devices)
