"""Names and limits of devices. They are recorded once, so a recording that begins later must have them again."""

from __future__ import annotations

from typing import Final, Self, TypeVar

from swiotlb_top.records import RECORD, Kind, RawRecord, of_kind, raw
from swiotlb_top.state import DeviceName
from swiotlb_top.trace.format import MAX_LATE_NS
from swiotlb_top.trace.sink import Sink

_BACK_NS: Final = MAX_LATE_NS // 2
MOST_DEVICES: Final = 4096
"""How many devices are kept, the latest ones. What other devices do is recorded, but cannot be judged."""
MOST_LATE_NAMES: Final = 256
"""How many devices are asked again what they are known by."""

_T = TypeVar("_T")


class Introductions:
    """The latest name and limits of each device, by its address."""

    def __init__(self) -> None:
        self._names: dict[int, DeviceName] = {}
        self._limits: dict[int, RawRecord] = {}

    def copy(self) -> Self:
        """A copy, which later introductions do not change."""
        copy = type(self)()
        copy._names, copy._limits = dict(self._names), dict(self._limits)
        return copy

    def name(self, name: DeviceName) -> None:
        """A device was named."""
        _keep(self._names, name.dev, name)

    def records(self, packed: bytes) -> None:
        """Note the records that introduce a device."""
        for place in of_kind(packed, Kind.DEVICE):
            record = raw(packed, place)
            _keep(self._limits, record.object, record)

    def not_known_as(self) -> list[DeviceName]:
        """Names of devices that people know by no other name, at most :data:`MOST_LATE_NAMES`: those named last."""
        unknown = [name for name in self._names.values() if not name.known_as]
        return unknown[-MOST_LATE_NAMES:]

    def tell(self, trace: Sink, state_end_ns: int) -> None:
        """Introduce all of them again, in a recording that begins with a state.

        The times at which they were introduced are kept as far as a recording may reach back: a device may have been
        introduced anew shortly before the state, by a record that follows it.

        :param state_end_ns: when that state had been read.
        """
        for name in self._names.values():
            trace.device_name(name)
        least_ns = state_end_ns - _BACK_NS
        told = [limits._replace(exit_ns=max(limits.exit_ns, least_ns)) for limits in self._limits.values()]
        trace.records(b"".join(RECORD.pack(*limits) for limits in told))


def _keep(latest: dict[int, _T], dev: int, what: _T) -> None:
    latest.pop(dev, None)
    latest[dev] = what
    if len(latest) > MOST_DEVICES:
        del latest[next(iter(latest))]
