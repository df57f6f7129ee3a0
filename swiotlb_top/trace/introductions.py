"""Who the devices are, told once in a recording: what another that begins in the middle of it must tell again."""

from __future__ import annotations

from copy import deepcopy
from typing import Final, Self

from swiotlb_top.records import RECORD, Kind, RawRecord, of_kind, raw
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.trace.format import MAX_LATE_NS
from swiotlb_top.trace.writer import TraceWriter

_BACK_NS: Final = MAX_LATE_NS // 2


class Introductions:
    """The latest name and limits of each device, by its address."""

    def __init__(self) -> None:
        self._names: dict[int, DeviceName] = {}
        self._limits: dict[int, RawRecord] = {}

    def copy(self) -> Self:
        """Who they are now, whoever is introduced later."""
        return deepcopy(self)

    def name(self, name: DeviceName) -> None:
        """A device was named."""
        self._names[name.dev] = name

    def records(self, packed: bytes) -> None:
        """Those that introduce a device are noted, the others are not."""
        for place in of_kind(packed, Kind.DEVICE):
            record = raw(packed, place)
            self._limits[record.object] = record

    def tell(self, trace: TraceWriter, state: MemState) -> None:
        """Introduce all of them again, in a recording that begins with this state.

        The times at which they were introduced are kept as far as a recording may reach back: a device may have been
        introduced anew shortly before the state, by a record that follows it.
        """
        for name in self._names.values():
            trace.device_name(name)
        told = [
            limits._replace(exit_ns=max(limits.exit_ns, state.end_ns - _BACK_NS)) for limits in self._limits.values()
        ]
        trace.records(b"".join(RECORD.pack(*limits) for limits in told))
