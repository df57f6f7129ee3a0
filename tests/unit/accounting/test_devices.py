"""A device that is plugged in where another was: nothing of the other's is said of it."""

from __future__ import annotations

from swiotlb_top.accounting.devices import Devices
from swiotlb_top.accounting.snapshot import UNKNOWN
from swiotlb_top.allocator import Cause
from swiotlb_top.state import DeviceName
from tests.support.histories import DEV, searched_in_vain

OTHER = DEV + 0x1000


class Machine:
    """Who lives at an address now."""

    def __init__(self) -> None:
        self.names = {DEV: DeviceName(DEV, "0000:00:04.0", "virtio-pci"), OTHER: DeviceName(OTHER, "1", "nvme")}
        self.asked = 0

    def name(self, dev: int) -> DeviceName:
        self.asked += 1
        return self.names[dev]


def test_a_device_is_asked_for_once_and_what_is_learnt_of_it_stays() -> None:
    machine = Machine()
    devices = Devices(machine.name)
    devices.keep({DEV: 100})
    devices[DEV].causes[Cause.EXHAUSTED] += 7
    devices.keep({DEV: 100})
    assert (devices[DEV].causes[Cause.EXHAUSTED], machine.asked) == (7, 1)


def test_a_device_at_a_reused_address_has_its_own_name_and_neither_causes_nor_latencies_of_the_old_one() -> None:
    machine = Machine()
    devices = Devices(machine.name)
    devices.keep({DEV: 100})
    old = devices[DEV]
    old.causes[Cause.EXHAUSTED] += 7
    old.last_failure = "needs 128 slots"
    old.latencies.add(1000)
    machine.names[DEV] = DeviceName(DEV, "0000:00:05.0", "nvme")
    devices.keep({DEV: 200})
    new = devices[DEV]
    assert (new.shown_name, new.driver) == ("0000:00:05.0", "nvme")
    assert (dict(new.causes), new.last_failure, new.latencies.percentile(50)) == ({}, "", UNKNOWN)


def test_what_a_device_is_known_by_is_its_own_and_may_change() -> None:
    devices = Devices(Machine().name)
    devices.name(DeviceName(DEV, "0000:00:04.0", "virtio-pci", "eth0"))
    devices.name(DeviceName(DEV, "0000:00:04.0", "virtio-pci", "ens3"))
    assert devices[DEV].view().known_as == "ens3"
    devices.name(DeviceName(DEV, "0000:00:05.0", "nvme"))
    assert devices[DEV].view().known_as == ""


def test_of_a_device_that_was_told_to_be_another_one_the_totals_that_come_next_are_its_own() -> None:
    """The name of a new device may be told before anybody looks since when it is counted."""
    devices = Devices(Machine().name)
    devices.keep({DEV: 100})
    devices.name(DeviceName(DEV, "0000:00:05.0", "nvme"))
    devices[DEV].causes[Cause.EXHAUSTED] += 1
    devices.keep({DEV: 200})
    assert (devices[DEV].name, devices[DEV].causes[Cause.EXHAUSTED]) == ("0000:00:05.0", 1)


def test_a_device_first_seen_in_a_burst_is_the_one_whose_totals_come_next() -> None:
    devices = Devices(Machine().name)
    devices[DEV].causes[Cause.EXHAUSTED] += 1
    devices.keep({DEV: 100})
    assert devices[DEV].causes[Cause.EXHAUSTED] == 1


def test_who_has_no_totals_any_more_is_forgotten() -> None:
    devices = Devices(Machine().name)
    devices.keep({DEV: 1, OTHER: 2})
    devices.keep({OTHER: 2})
    assert set(devices) == {OTHER}


def test_failures_of_a_device_that_is_gone_keep_its_name() -> None:
    machine = Machine()
    devices = Devices(machine.name)
    devices.keep({DEV: 100})
    devices.feed([searched_in_vain(100, 200)])
    machine.names[DEV] = DeviceName(DEV, "0000:00:05.0", "nvme")
    devices.keep({DEV: 250})
    devices.feed([searched_in_vain(300, 400)])
    new, old = devices.failures()
    assert ((new.device, new.driver), (old.device, old.driver)) == (
        ("0000:00:05.0", "nvme"),
        ("0000:00:04.0", "virtio-pci"),
    )
