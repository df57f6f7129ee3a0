"""How many requests the queues of a device's disks hold, from trees of sysfs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from swiotlb_top.kernel.queues import MOST_REQUESTS, queue_requests
from tests.support.sysfs import Sysfs

DEVICE: Final = "0000:00:04.0"
PLACE: Final = f"pci0000:00/{DEVICE}"


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    made = Sysfs(tmp_path)
    made.device(PLACE, "pci", "virtio-pci")
    return made


def disk(sysfs: Sysfs, name: str, requests: str, hardware_queues: int) -> None:
    """A disk below the device, as blk-mq shows it."""
    place = f"{PLACE}/virtio1/block/{name}"
    sysfs.member(place, "class/block")
    (sysfs.root / "sys/devices" / place / "queue").mkdir()
    sysfs.file(f"{place}/queue/nr_requests", requests)
    for number in range(hardware_queues):
        (sysfs.root / "sys/devices" / place / "mq" / str(number)).mkdir(parents=True)


def told(sysfs: Sysfs) -> int:
    return queue_requests(DEVICE, "virtio-pci", sysfs.root)


def test_of_one_disk_it_is_what_its_hardware_queues_hold(sysfs: Sysfs) -> None:
    disk(sysfs, "vda", "128\n", 4)
    assert told(sysfs) == 512


def test_of_several_disks_it_is_the_sum(sysfs: Sysfs) -> None:
    disk(sysfs, "sda", "64\n", 1)
    disk(sysfs, "sdb", "32\n", 2)
    assert told(sysfs) == 128


@pytest.mark.parametrize("requests", ["", "many", "-1", "0", "9" * 40])
def test_where_one_disk_does_not_tell_nothing_is_known(sysfs: Sysfs, requests: str) -> None:
    disk(sysfs, "sda", "64\n", 1)
    disk(sysfs, "sdb", requests, 1)
    assert told(sysfs) == 0


def test_without_hardware_queues_nothing_is_known(sysfs: Sysfs) -> None:
    disk(sysfs, "vda", "128\n", 0)
    assert told(sysfs) == 0


def test_a_network_adapter_has_none(sysfs: Sysfs) -> None:
    sysfs.member(f"{PLACE}/virtio1/net/eth0", "class/net")
    assert told(sysfs) == 0


def test_a_device_that_is_not_there_has_none(sysfs: Sysfs) -> None:
    assert queue_requests("0000:00:09.0", "nvme", sysfs.root) == 0


def test_no_number_is_larger_than_a_recording_holds(sysfs: Sysfs) -> None:
    disk(sysfs, "vda", "999999999", 4)
    assert told(sysfs) == MOST_REQUESTS
