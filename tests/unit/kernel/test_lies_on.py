"""On which disk a file lies, from trees of sysfs as real machines have them; and what is said where it bounces."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from swiotlb_top.kernel.around import Around, of_machine
from swiotlb_top.kernel.lies_on import Disk, disks_below, disks_of
from swiotlb_top.reports.advice import advice, bounces, in_a_line
from tests.support.sysfs import Sysfs

PCI: Final = "pci0000:00/0000:00:04.0"
BLOCK: Final = f"{PCI}/virtio1/block/vda"
VDA: Final = Disk("vda", "0000:00:04.0", "virtio-pci")


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    """A machine with a virtio disk that has a partition."""
    sysfs = Sysfs(tmp_path)
    sysfs.device(PCI, "pci", "virtio-pci")
    sysfs.device(f"{PCI}/virtio1", "virtio", "virtio_blk")
    block(sysfs, BLOCK, "254:0")
    block(sysfs, f"{BLOCK}/vda1", "254:1")
    sysfs.file(f"{BLOCK}/vda1/partition", "1\n")
    return sysfs


def block(sysfs: Sysfs, place: str, number: str) -> None:
    """A block device, with the links by its number and its name."""
    sysfs.member(place, "class/block")
    for link in (sysfs.root / "sys/dev/block" / number, sysfs.root / "sys/class/block" / Path(place).name):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(sysfs.root / "sys/devices" / place)


def on_top(sysfs: Sysfs, name: str, number: str, *below: str) -> None:
    """A block device that lies on others."""
    place = f"virtual/block/{name}"
    block(sysfs, place, number)
    slaves = sysfs.root / "sys/devices" / place / "slaves"
    slaves.mkdir()
    for other in below:
        (slaves / Path(other).name).symlink_to(sysfs.root / "sys/devices" / other)


def test_on_a_partition_of_a_virtio_disk(sysfs: Sysfs) -> None:
    assert disks_of((254, 1), "/home/a", sysfs.root) == disks_of((254, 0), "/home/a", sysfs.root) == (VDA,)


def test_on_an_encrypted_volume_of_two_disks(sysfs: Sysfs) -> None:
    sysfs.device("pci0000:00/0000:00:05.0", "pci", "nvme")
    other = "pci0000:00/0000:00:05.0/nvme/nvme0/nvme0n1"
    block(sysfs, other, "259:0")
    on_top(sysfs, "dm-0", "253:0", f"{BLOCK}/vda1", other)
    on_top(sysfs, "dm-1", "253:1", "virtual/block/dm-0")
    found = disks_of((253, 1), "/", sysfs.root)
    assert sorted(found) == sorted((VDA, Disk("nvme0n1", "0000:00:05.0", "nvme")))


def test_a_file_system_without_a_number_of_its_own_by_where_it_is_mounted(sysfs: Sysfs) -> None:
    sysfs.elsewhere(
        "proc/self/mountinfo",
        "22 1 0:20 / / rw - ext4 /dev/root rw\n"
        "36 22 0:31 /@ /my\\040data rw,noatime shared:1 - btrfs /dev/vda1 rw\n"
        "37 22 0:32 / /run rw - tmpfs tmpfs rw\n",
    )
    assert disks_of((0, 55), "/my data/deep/file", sysfs.root) == (VDA,)
    assert disks_of((0, 32), "/run/file", sysfs.root) == ()
    assert disks_of((0, 20), "/my datafile", sysfs.root) == ()


def test_a_loop_of_volumes_ends(sysfs: Sysfs) -> None:
    on_top(sysfs, "dm-0", "253:0")
    on_top(sysfs, "dm-1", "253:1", "virtual/block/dm-0")
    (sysfs.root / "sys/devices/virtual/block/dm-0/slaves/dm-1").symlink_to("../../dm-1")
    assert disks_of((253, 1), "/", sysfs.root) == ()


def test_where_nothing_is_known_nothing_is_found(tmp_path: Path) -> None:
    assert disks_of((8, 1), "/", tmp_path) == ()
    assert disks_below(tmp_path / "missing", tmp_path) == ()
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("nonsense\n - \n1 2 3 4 / - x\n")
    assert disks_of((0, 1), "/", tmp_path) == ()


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Around(asked_for=True), True),
        (Around(asked_for=False, xen_pv=False), False),
        (Around(), False),
        (Around(encrypted=True), True),
    ],
)
def test_a_disk_bounces_only_for_a_reason_that_is_known(sysfs: Sysfs, machine: Around, expected: bool) -> None:
    assert bounces(VDA, machine, sysfs.root) is expected


def test_a_virtio_disk_that_is_given_physical_addresses_does_not(sysfs: Sysfs) -> None:
    sysfs.file(f"{PCI}/virtio1/features", "0" * 64 + "\n")
    sysfs.elsewhere("proc/cmdline", "swiotlb=force\n")
    assert not bounces(VDA, of_machine("6.12.0", "x86_64", (), sysfs.root), sysfs.root)


def test_it_is_one_line_that_says_what_to_do() -> None:
    assert in_a_line(Path("a.swtrace"), (VDA,)) == (
        "a.swtrace lies on vda, which swiotlb-top is about to watch: if it stalls, so does the recording; "
        "write to /run or /dev/shm"
    )
    assert "vda, sda, which swiotlb-top is about to watch: if one of them stalls," in in_a_line(
        Path("a"), (VDA, Disk("sda", "0000:00:05.0", "ahci"))
    )
    assert in_a_line(Path("a"), ()) == ""


def test_of_a_file_that_is_not_there_yet_its_directory_counts(sysfs: Sysfs, tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    link = sysfs.root / "sys/dev/block" / f"{os.major(number)}:{os.minor(number)}"
    if not link.exists():
        link.symlink_to(sysfs.root / "sys/devices" / BLOCK / "vda1")
    sysfs.elsewhere("proc/cmdline", "root=/dev/vda1 swiotlb=512,force\n")
    output = tmp_path / "no" / "such" / "a.swtrace"
    assert advice(output, sysfs.root).startswith(f"{output} lies on vda, which")
