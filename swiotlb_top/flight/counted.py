"""The kernel side's counters as they were before a flight, against which those at its end are held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from swiotlb_top.accounting.totals import DeviceTotals
from swiotlb_top.recorder import COUNTED
from swiotlb_top.records import Kind, exits_ns, kinds, objects

_OF_DEVICES: Final = frozenset({Kind.FIND, Kind.MAP, Kind.UNMAP, Kind.FREE, Kind.DEVICE})


class Counted:
    """What had been counted at a moment, and whether what was counted since then can still be told from it.

    The counters of a device end with the device: if another one is created at its address, they begin at 0 again.

    :param totals: those of that moment.
    """

    def __init__(self, totals: Mapping[int, DeviceTotals]) -> None:
        of_all = totals.values()
        self.calls: Final = Counter({name: sum(getattr(device, name) for device in of_all) for name in COUNTED})
        self._since_ns = {dev: device.since_ns for dev, device in totals.items()}
        """By device, a moment at which it was counted, and must have been ever since."""

    def saw(self, records: bytes) -> None:
        """Note the devices of some records."""
        of_each = objects(records)
        new = set(of_each) - self._since_ns.keys()
        for place in map(of_each.index, new):
            if kinds(records)[place] in _OF_DEVICES:
                self._since_ns[of_each[place]] = exits_ns(records)[place]

    def hold(self, totals: Mapping[int, DeviceTotals]) -> bool:
        """Whether these counters, less :attr:`calls`, are those of all calls since then."""
        return all(dev in totals and totals[dev].since_ns <= seen_ns for dev, seen_ns in self._since_ns.items())
