"""What is known of each device, for as long as that device is the one at its address.

A device is identified by the address of its ``struct device``. After it is gone, the kernel may create another device
at that address. The new device then starts with nothing, and earlier failures keep the name of the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from swiotlb_top.accounting.device import DeviceAccount
from swiotlb_top.accounting.failures import FailureLog
from swiotlb_top.accounting.scene import NO_SCENES, Key, Scene
from swiotlb_top.accounting.snapshot import FailureView
from swiotlb_top.allocator import Explanation, Limits
from swiotlb_top.events import Call, Device, Event, Find, Map, failed_map
from swiotlb_top.kernel.around import Around
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.stream import Consumer


def nobody(dev: int) -> DeviceName:
    """A name that is not known, for streams whose devices cannot be looked up."""
    return DeviceName(dev, "", "")


def nowhere(who: DeviceName) -> Around:
    """Nothing is known of what is around a device, as for streams from elsewhere."""
    return Around()


class Devices(dict[int, DeviceAccount], Consumer):
    """Devices by ``struct device *``; a device that is looked up for the first time is added.

    From a stream it learns the names of devices, how long their maps took, and which failed. It counts no calls.

    :param ask: gives name and driver of the device at an address that is new.
    :param look: gives what is around a device of this name and driver.
    """

    def __init__(
        self, ask: Callable[[int], DeviceName] = nobody, look: Callable[[DeviceName], Around] = nowhere
    ) -> None:
        super().__init__()
        self._ask = ask
        self._look = look
        self._failures = FailureLog()
        self._mem = 0
        self._forced: bool | None = None

    def __missing__(self, dev: int) -> DeviceAccount:
        return self._add(self._ask(dev))

    def _add(self, who: DeviceName, held_slots: int = 0) -> DeviceAccount:
        device = self[who.dev] = DeviceAccount(who.dev, who.name, who.driver, who.known_as)
        device.held_slots, device.forced, device.around = held_slots, self._forced, self._look(who)
        return device

    # ---- who lives at an address ---------------------------------------

    def name(self, name: DeviceName) -> None:
        """Name and driver of the device at an address. If the name differs from before, it is another device."""
        device = self[name.dev]
        if device.name and name.name and name.name != device.name:
            self._forget(device)
            # The slots that the old device held are still to be released.
            self._add(name, device.held_slots)
            return
        device.name, device.driver, device.known_as = name.name, name.driver, name.known_as
        device.around = self._look(name)

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

    def state(self, mem: MemState) -> None:
        """Learn which allocator is the machine's, and whether it forces every mapping to bounce."""
        self._mem = mem.address
        self._forced = None if mem.force_bounce < 0 else mem.force_bounce == 1
        for device in self.values():
            device.forced = self._forced
            device.restricted = self._is_restricted(device)

    def introduced(self, event: Device) -> DeviceAccount:
        """Learn the limits of a device, and the allocator that it maps from."""
        device = self[event.dev]
        device.mem = event.mem
        device.restricted = self._is_restricted(device)
        device.limits = Limits(event.seg_boundary_mask, event.min_align_mask, event.dma_mask, event.bus_dma_limit)
        return device

    def _is_restricted(self, device: DeviceAccount) -> bool:
        return 0 not in (device.mem, self._mem) and device.mem != self._mem

    # ---- calls ---------------------------------------------------------

    def feed(self, events: Sequence[Event]) -> None:
        """How long maps took, where their buffers lie, and which failed."""
        for event in events:
            if isinstance(event, Find | Map):
                self.searched(self[event.dev], event)
            elif isinstance(event, Device):
                self.introduced(event)
            if (failed := failed_map(event)) is not None:
                self.map_failed(failed)

    def searched(self, device: DeviceAccount, event: Find | Map) -> None:
        """How long a map of a device took, and where the buffer lies."""
        if event.entry_ns >= 0:
            device.latencies.add(event.exit_ns - event.entry_ns)
        if device.mem:
            device.tried.add(event, device.limits)

    def map_failed(self, call: Call) -> None:
        """A map failed, as this call shows."""
        self._failures.happened(call)

    def explained(self, dev: int, explanation: Explanation, event: Event | None) -> None:
        """Why a map of this device failed, by the reference; ``event`` may be fed before or after this."""
        self[dev].failed(explanation)
        if event is not None:
            self._failures.explained(event, explanation)

    def failures(
        self, scenes: Mapping[Key, Scene] = NO_SCENES, disputed: Event | None = None
    ) -> tuple[FailureView, ...]:
        """The latest failed maps, newest first.

        :param scenes: how it stood at some of them.
        :param disputed: the first event of a disagreement.
        """
        return self._failures.views(self._who, scenes, disputed)

    def begun_to_fail(self) -> tuple[FailureView, ...]:
        """The failures with which a device began to fail, the latest last."""
        return self._failures.begun(self._who)

    def _who(self, dev: int) -> tuple[str, str]:
        device = self[dev]
        return device.shown_name, device.driver
