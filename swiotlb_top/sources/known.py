"""What a live source learnt of each device, for as long as that device is the one at its address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from swiotlb_top.accounting.device import Latencies
from swiotlb_top.allocator import Cause
from swiotlb_top.probes.program import Totals
from swiotlb_top.state import DeviceName


@dataclass(slots=True)
class Known:
    """What bursts told of a device."""

    name: DeviceName
    since_ns: int = 0
    """When its totals began; 0 where it has been seen only in a burst."""
    causes: Counter[Cause] = field(default_factory=Counter)
    last_failure: str = ""
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def shown_name(self) -> str:
        return self.name.name or f"device {self.name.dev & 0xFFFF:04x}"


class KnownDevices:
    """By ``struct device *``. A device that is made where another was is another device.

    :param name: asks the kernel who an address is.
    """

    def __init__(self, name: Callable[[int], DeviceName]) -> None:
        self._name = name
        self._known: dict[int, Known] = {}

    def __getitem__(self, dev: int) -> Known:
        known = self._known.get(dev)
        if known is None:
            known = self._known[dev] = Known(self._name(dev))
        return known

    def __len__(self) -> int:
        return len(self._known)

    def keep(self, totals: Mapping[int, Totals]) -> dict[int, Known]:
        """Learn who has totals, and forget who has none any more, or whose totals began anew; gives what was forgotten.

        The totals of a device end when the kernel makes another one at its address.
        """
        gone = {dev: known for dev, known in self._known.items() if not _is_still(known, totals.get(dev))}
        for dev in gone:
            del self._known[dev]
        for dev, counted in totals.items():
            self[dev].since_ns = counted.since_ns
        return gone


def _is_still(known: Known, counted: Totals | None) -> bool:
    return counted is not None and known.since_ns in (0, counted.since_ns)
