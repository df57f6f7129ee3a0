"""What is known of each device, for as long as that device is the one at its address.

A device is identified by the address of its ``struct device``. After it is gone, the kernel may create another device
at that address. The new device then starts with nothing, and earlier failures keep the name of the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from swiotlb_top.accounting.device import DeviceAccount
from swiotlb_top.accounting.failures import FailureLog
from swiotlb_top.accounting.snapshot import FailureView
from swiotlb_top.allocator import Explanation
from swiotlb_top.events import Event, Find, Map
from swiotlb_top.state import DeviceName
from swiotlb_top.stream import Consumer


def nobody(dev: int) -> DeviceName:
    """A name that is not known, for streams whose devices cannot be looked up."""
    return DeviceName(dev, "", "")


_MAPS: Final = (Find, Map)


class Devices(dict[int, DeviceAccount], Consumer):
    """Devices by ``struct device *``; a device that is looked up for the first time is added.

    From a stream it learns the names of devices, how long their maps took, and which failed. It counts no calls.

    :param ask: gives name and driver of the device at an address that is new.
    """

    def __init__(self, ask: Callable[[int], DeviceName] = nobody) -> None:
        super().__init__()
        self._ask = ask
        self._failures = FailureLog()

    def __missing__(self, dev: int) -> DeviceAccount:
        who = self._ask(dev)
        device = self[dev] = DeviceAccount(dev, who.name, who.driver, who.known_as)
        return device

    # ---- who lives at an address ---------------------------------------

    def name(self, name: DeviceName) -> None:
        """Name and driver of the device at an address. If the name differs from before, it is another device."""
        device = self[name.dev]
        if device.name and name.name and name.name != device.name:
            self._forget(device)
            # The slots that the old device held are still to be released.
            device = self[name.dev] = DeviceAccount(name.dev, held_slots=device.held_slots)
        device.name, device.driver, device.known_as = name.name, name.driver, name.known_as

    def keep(self, since_ns: Mapping[int, int]) -> None:
        """Learn which devices the probes count, and since when: ``struct device *`` -> nanoseconds.

        A device that is not counted any more is gone. If an address is counted since another time, the device is new.
        """
        for device in [*self.values()]:
            if since_ns.get(device.dev) is None or device.since_ns not in (0, since_ns[device.dev]):
                self._forget(device)
        for dev, began_ns in since_ns.items():
            self[dev].since_ns = began_ns

    def _forget(self, device: DeviceAccount) -> None:
        self._failures.retire(device.dev, self._who(device.dev))
        del self[device.dev]

    # ---- calls ---------------------------------------------------------

    def feed(self, events: Sequence[Event]) -> None:
        """How long maps took, and which failed."""
        for event in events:
            if isinstance(event, Find | Map):
                if event.entry_ns >= 0:
                    self[event.dev].latencies.add(event.exit_ns - event.entry_ns)
                if event.failed:
                    self._failures.happened(event)

    def explained(self, dev: int, explanation: Explanation, event: Event | None) -> None:
        """Why a map of this device failed, by the reference; ``event`` may be fed before or after this."""
        self[dev].failed(explanation)
        if event is not None:
            self._failures.explained(event, explanation)

    def failures(self, disputed: Event | None = None) -> tuple[FailureView, ...]:
        """The latest failed maps, newest first; ``disputed`` is the first event of a disagreement."""
        return self._failures.views(self._who, disputed)

    def begun_to_fail(self) -> tuple[FailureView, ...]:
        """The failures with which a device began to fail, the latest last."""
        return self._failures.begun(self._who)

    def _who(self, dev: int) -> tuple[str, str]:
        device = self[dev]
        return device.shown_name, device.driver
