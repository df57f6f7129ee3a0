"""What people know a device by, from trees of sysfs as real machines have them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.kernel.known_as import MOST_DIRECTORIES, known_as
from tests.support.sysfs import Sysfs

DISK: Final = "0000:00:04.0"
STORVSC: Final = "f8b3781a-1e82-4818-a1c3-63d806ec15bb"


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    return Sysfs(tmp_path)


PCI: Final = "pci0000:00"
VIRTIO_DISK: Final = f"{PCI}/{DISK}"


def test_a_virtio_disk_by_its_disk(sysfs: Sysfs) -> None:
    sysfs.device(VIRTIO_DISK, "pci", "virtio-pci")
    sysfs.device(f"{VIRTIO_DISK}/virtio1", "virtio", "virtio_blk")
    sysfs.members([f"{VIRTIO_DISK}/virtio1/block/vda", f"{VIRTIO_DISK}/virtio1/block/vda/vda1"], "class/block")
    assert known_as(DISK, "virtio-pci", sysfs.root) == "vda"
    assert known_as("virtio1", "virtio_blk", sysfs.root) == "vda"


def test_a_network_adapter_by_its_interface(sysfs: Sysfs) -> None:
    sysfs.device(f"{PCI}/0000:00:03.0", "pci", "e1000e")
    sysfs.member(f"{PCI}/0000:00:03.0/net/eth0", "class/net")
    sysfs.member(f"{PCI}/0000:00:03.0/net/eth0/queues/rx-0/block/no-disk", "class/block")
    assert known_as("0000:00:03.0", "e1000e", sysfs.root) == "eth0"


NVME: Final = f"{PCI}/0000:00:05.0/nvme/nvme0"


def test_nvme_by_its_namespaces_in_the_order_of_their_numbers(sysfs: Sysfs) -> None:
    sysfs.device(f"{PCI}/0000:00:05.0", "pci", "nvme")
    sysfs.member(NVME, "class/nvme")
    sysfs.members([f"{NVME}/nvme0n10", f"{NVME}/nvme0n2"], "class/block")
    sysfs.member(f"{NVME}/ng0n2", "class/nvme-generic")
    assert known_as("0000:00:05.0", "nvme", sysfs.root) == "nvme0n2, nvme0n10"


def test_nvme_by_its_controller_where_the_disk_has_several_paths(sysfs: Sysfs) -> None:
    """The disk is then no controller's, and what stands below the controller cannot be opened."""
    sysfs.device(f"{PCI}/0000:00:05.0", "pci", "nvme")
    sysfs.member(NVME, "class/nvme")
    sysfs.member(f"{NVME}/nvme0c0n1", "class/block")
    sysfs.file(f"{NVME}/nvme0c0n1/hidden", "1\n")
    assert known_as("0000:00:05.0", "nvme", sysfs.root) == "nvme0"
    sysfs.file(f"{NVME}/nvme0c0n1/hidden", "0\n")
    assert known_as("0000:00:05.0", "nvme", sysfs.root) == "nvme0c0n1"


def test_a_host_adapter_by_its_disks_and_without_disks_by_its_host(sysfs: Sysfs) -> None:
    sysfs.device(f"{PCI}/0000:00:1f.2", "pci", "ahci")
    host = f"{PCI}/0000:00:1f.2/ata1/host0"
    sysfs.member(host, "bus/scsi")
    sysfs.member(f"{host}/scsi_host/host0", "class/scsi_host")
    assert known_as("0000:00:1f.2", "ahci", sysfs.root) == "host0"
    sysfs.member(f"{host}/target0:0:0/0:0:0:0/block/sda", "class/block")
    assert known_as("0000:00:1f.2", "ahci", sysfs.root) == "sda"


def test_a_disk_of_hyper_v_by_its_disk(sysfs: Sysfs) -> None:
    place = f"LNXSYSTM:00/LNXSYBUS:00/VMBUS:00/{STORVSC}"
    sysfs.device(place, "vmbus", "hv_storvsc")
    sysfs.member(f"{place}/host1/target1:0:0/1:0:0:0/block/sda", "class/block")
    assert known_as(STORVSC, "hv_storvsc", sysfs.root) == "sda"


def test_of_many_disks_three_and_how_many_more(sysfs: Sysfs) -> None:
    sysfs.device(VIRTIO_DISK, "pci", "qla2xxx")
    disks = [*"abcdefghijklmnopqrstuvwxyz", "aa"]
    sysfs.members(
        [
            f"{VIRTIO_DISK}/host5/rport-5:0-0/target5:0:0/5:0:0:{lun}/block/sd{disk}"
            for lun, disk in enumerate(reversed(disks))
        ],
        "class/block",
    )
    assert known_as(DISK, "qla2xxx", sysfs.root) == "sda, sdb, sdc and 24 more"


def test_what_maps_for_itself_is_not_the_bridge_s(sysfs: Sysfs) -> None:
    sysfs.device(f"{PCI}/0000:00:1c.0", "pci", "pcieport")
    sysfs.device(f"{PCI}/0000:00:1c.0/0000:02:00.0", "pci", "nvme")
    sysfs.member(f"{PCI}/0000:00:1c.0/0000:02:00.0/nvme/nvme0/nvme0n1", "class/block")
    assert known_as("0000:00:1c.0", "pcieport", sysfs.root) == ""
    assert known_as("0000:02:00.0", "nvme", sysfs.root) == "nvme0n1"


def test_links_are_not_followed(sysfs: Sysfs) -> None:
    sysfs.device(VIRTIO_DISK, "pci", "virtio-pci")
    (sysfs.root / "sys/devices" / VIRTIO_DISK / "around").symlink_to(sysfs.root / "sys")
    sysfs.member("virtual/block/loop0", "class/block")
    assert known_as(DISK, "virtio-pci", sysfs.root) == ""


def test_of_two_devices_of_one_name_the_driver_tells_which_is_meant(sysfs: Sysfs) -> None:
    sysfs.device("platform/1", "platform", "dwmmc")
    sysfs.member("platform/1/mmc_host/mmc0/mmc0:0001/block/mmcblk0", "class/block")
    sysfs.device("other/1", "amba", "pl330")
    assert known_as("1", "dwmmc", sysfs.root) == "mmcblk0"
    assert known_as("1", "", sysfs.root) == ""
    assert known_as("1", "nvme", sysfs.root) == ""


def test_a_name_cannot_control_a_terminal(sysfs: Sysfs) -> None:
    sysfs.device(VIRTIO_DISK, "pci", "virtio-pci")
    sysfs.member(f"{VIRTIO_DISK}/net/e\x1b[2J", "class/net")
    assert known_as(DISK, "virtio-pci", sysfs.root) == "e?[2J"


def test_of_more_than_is_looked_into_it_is_told_that_there_is_more(sysfs: Sysfs) -> None:
    sysfs.device(VIRTIO_DISK, "pci", "virtio-pci")
    for number in range(MOST_DIRECTORIES):
        (sysfs.root / "sys/devices" / VIRTIO_DISK / f"x{number}").mkdir()
    sysfs.member(f"{VIRTIO_DISK}/block/vda", "class/block")
    assert known_as(DISK, "virtio-pci", sysfs.root) == ""
    sysfs.member(f"{VIRTIO_DISK}/a", "class/net")
    assert known_as(DISK, "virtio-pci", sysfs.root) == "a and more"


@given(st.text(max_size=300))
def test_any_name_of_a_device_has_an_answer(name: str) -> None:
    assert known_as(name, "", Path("/nowhere")) == ""


@pytest.mark.parametrize("name", ["", ".", "..", "../../etc", "a/b", "0000:00:04.0\0", "x" * 5000])
def test_what_is_no_name_in_a_directory_is_not_looked_for(name: str, sysfs: Sysfs) -> None:
    sysfs.device(VIRTIO_DISK, "pci", "virtio-pci")
    assert known_as(name, "", sysfs.root) == ""
