"""Two snapshots and what happened between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from swiotlb_top.accounting.snapshot import DeviceView, Snapshot, per_second


@dataclass(frozen=True)
class Frame:
    """What is drawn at once: ``now``, and the snapshot ``before`` it that rates are against.

    ``failure`` says why the source could not be read since; ``now`` is then the last good one.
    """

    now: Snapshot
    before: Snapshot | None = None
    sequence: int = 0
    failure: str = field(default="")

    @property
    def elapsed_ns(self) -> int:
        """Time between the snapshots by their own clock; 0 for the first, or where a recording began anew."""
        return 0 if self.before is None else max(0, self.now.time_ns - self.before.time_ns)

    def rate(self, total: Callable[[Snapshot], int]) -> float | None:
        """Rate of one of the snapshot's totals, per second; None where it cannot be known."""
        if self.before is None or not self.elapsed_ns or total(self.now) < 0 or total(self.before) < 0:
            return None
        return per_second(total(self.now), total(self.before), self.elapsed_ns)

    def device_rate(self, device: DeviceView, total: Callable[[DeviceView], int]) -> float | None:
        """Rate of a device's total, per second; a device not there before started from 0."""
        if not self.elapsed_ns:
            return None
        earlier = self._devices_before.get(device.dev)
        return per_second(total(device), total(earlier) if earlier else 0, self.elapsed_ns)

    @cached_property
    def _devices_before(self) -> dict[int, DeviceView]:
        return {device.dev: device for device in self.before.devices} if self.before else {}
