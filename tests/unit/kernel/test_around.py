"""What a machine tells of why devices bounce, from made-up /proc and /sys."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Final

import pytest

from swiotlb_top.kernel.around import MOST_DEVICES, Around, of_device, of_machine, of_recording, present
from tests.support.sysfs import Sysfs

RELEASE: Final = "6.12.117"
DISK: Final = "0000:00:04.0"
PLACE: Final = f"pci0000:00/{DISK}"


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    made_up = Sysfs(tmp_path)
    made_up.device(PLACE, "pci", "virtio-pci")
    return made_up


def machine(sysfs: Sysfs, name: str = "x86_64", *features: str) -> Around:
    return of_machine(RELEASE, name, features, sysfs.root)


def disk(sysfs: Sysfs) -> Around:
    return of_device(machine(sysfs), DISK, "virtio-pci", sysfs.root)


def test_where_nothing_can_be_read_nothing_is_known(tmp_path: Path) -> None:
    assert set(astuple(of_machine(RELEASE, "aarch64", (), tmp_path))) == {None}
    assert of_device(Around(), DISK, "", tmp_path) == Around()
    assert list(present(Around(), tmp_path)) == []


@pytest.mark.parametrize(
    ("command_line", "asked_for"),
    [
        ("root=/dev/vda swiotlb=512,4,force", True),
        ("swiotlb=force", True),
        ("swiotlb=noforce", False),
        ("root=/dev/vda", False),
        ("root=/dev/vda -- swiotlb=force", False),
        ("", None),
    ],
)
def test_force_on_the_command_line(sysfs: Sysfs, command_line: str, asked_for: bool | None) -> None:
    sysfs.elsewhere("proc/cmdline", f"{command_line}\n")
    assert machine(sysfs).asked_for is asked_for


@pytest.mark.parametrize(
    ("path", "text", "encrypted"),
    [
        ("sys/firmware/uv/prot_virt_guest", "1\n", True),
        ("sys/firmware/uv/prot_virt_guest", "0\n", False),
        ("sys/devices/system/cpu/svm", "1\n", True),
        ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu hypervisor tdx_guest\n", True),
        ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu hypervisor sev\n", None),
        ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sev tdx_host_platform\n", False),
        ("proc/cpuinfo", "Features\t: fp asimd\n", None),
    ],
    ids=["s390 guest", "s390", "POWER guest", "TDX guest", "a guest that may be SEV", "no guest", "arm64"],
)
def test_a_guest_whose_memory_is_encrypted(sysfs: Sysfs, path: str, text: str, encrypted: bool | None) -> None:
    sysfs.elsewhere(path, text)
    assert machine(sysfs).encrypted is encrypted


def test_until_7_3_the_kernel_forces_where_memory_is_encrypted(sysfs: Sysfs) -> None:
    assert machine(sysfs, "x86_64", "areas").encryption_forces is True
    assert machine(sysfs, "x86_64", "areas", "cc_shared").encryption_forces is False
    assert machine(sysfs).encryption_forces is None


def test_a_recording_tells_of_its_architecture_and_its_kernel() -> None:
    assert of_recording("x86_64", ("areas",)) == Around(encryption_forces=True, bounces_small=False)
    assert of_recording("aarch64", ("cc_shared",)) == Around(encryption_forces=False)


@pytest.mark.parametrize(
    ("kind", "guest", "xen_pv"), [("xen", "PV", True), ("xen", "PVH", False), ("xen", "Xen", None), ("xen", "", None)]
)
def test_a_domain_of_xen(sysfs: Sysfs, kind: str, guest: str, xen_pv: bool | None) -> None:
    sysfs.elsewhere("sys/hypervisor/type", f"{kind}\n")
    sysfs.elsewhere("sys/hypervisor/guest_type", f"{guest}\n")
    assert machine(sysfs).xen_pv is xen_pv


def test_no_domain_of_xen_and_one_that_may_be_one(sysfs: Sysfs) -> None:
    assert machine(sysfs).xen_pv is False
    (sysfs.root / "sys/bus/xen").mkdir()
    assert machine(sysfs).xen_pv is None


def test_only_some_architectures_bounce_small_buffers_and_their_configuration_tells(sysfs: Sysfs) -> None:
    assert machine(sysfs, "x86_64").bounces_small is False
    assert machine(sysfs, "aarch64").bounces_small is None
    sysfs.elsewhere(f"boot/config-{RELEASE}", "CONFIG_SWIOTLB=y\n")
    assert machine(sysfs, "aarch64").bounces_small is False
    sysfs.elsewhere(f"boot/config-{RELEASE}", "CONFIG_SWIOTLB=y\nCONFIG_DMA_BOUNCE_UNALIGNED_KMALLOC=y\n")
    assert machine(sysfs, "aarch64").bounces_small is True


def test_the_end_of_memory_and_not_of_what_lies_above_it(sysfs: Sysfs) -> None:
    sysfs.elsewhere(
        "proc/iomem",
        "00001000-0009fbff : System RAM\n00100000-7ffdffff : System RAM\n  01000000-01ffffff : Kernel code\n"
        "fec00000-fec003ff : IOAPIC 0\n100000000-17fffffff : System RAM\n180000000-1ffffffff : PCI Bus 0000:00\n",
    )
    assert machine(sysfs).memory_end == 0x17FFFFFFF


def test_without_privileges_the_end_of_memory_is_not_known(sysfs: Sysfs) -> None:
    sysfs.elsewhere("proc/iomem", "00000000-00000000 : System RAM\n00000000-00000000 : System RAM\n")
    assert machine(sysfs).memory_end is None


@pytest.mark.parametrize(
    ("kind", "translated"), [("DMA", True), ("DMA-FQ", True), ("identity", False), ("unmanaged", None)]
)
def test_what_an_iommu_translates(sysfs: Sysfs, kind: str, translated: bool | None) -> None:
    assert disk(sysfs).translated is False
    sysfs.iommu_group(PLACE, kind)
    assert disk(sysfs).translated is translated


@pytest.mark.parametrize(("removable", "untrusted"), [("removable", True), ("fixed", False), ("unknown", False)])
def test_what_is_behind_an_external_port(sysfs: Sysfs, removable: str, untrusted: bool) -> None:
    assert disk(sysfs).untrusted is False
    sysfs.file(f"{PLACE}/removable", f"{removable}\n")
    assert disk(sysfs).untrusted is untrusted


def test_only_pci_devices_are_untrusted(sysfs: Sysfs) -> None:
    sysfs.device("platform/a003e00.virtio_mmio", "platform", "virtio-mmio")
    sysfs.file("platform/a003e00.virtio_mmio/removable", "removable\n")
    assert of_device(Around(), "a003e00.virtio_mmio", "virtio-mmio", sysfs.root).untrusted is False


@pytest.mark.parametrize(
    ("bits", "reach"),
    [("64", (1 << 64) - 1), ("32", 0xFFFF_FFFF), ("0", None), ("65", None), ("999999999", None), ("x", None)],
)
def test_how_far_a_pci_device_reaches(sysfs: Sysfs, bits: str, reach: int | None) -> None:
    assert disk(sysfs).reach is None
    sysfs.file(f"{PLACE}/dma_mask_bits", f"{bits}\n")
    assert disk(sysfs).reach == reach


def features(*negotiated: int) -> str:
    return "".join("01"[bit in negotiated] for bit in range(128)) + "\n"


def test_virtio_maps_where_it_negotiated_to(sysfs: Sysfs) -> None:
    assert disk(sysfs).maps is None
    sysfs.device(f"{PLACE}/virtio1", "virtio", "virtio_blk")
    sysfs.file(f"{PLACE}/virtio1/features", features(28, 32))
    assert disk(sysfs).maps is False
    sysfs.file(f"{PLACE}/virtio1/features", features(28, 32, 33))
    assert disk(sysfs).maps is True


def test_virtio_maps_on_xen_whatever_it_negotiated(sysfs: Sysfs) -> None:
    sysfs.device(f"{PLACE}/virtio1", "virtio", "virtio_blk")
    sysfs.file(f"{PLACE}/virtio1/features", features())
    sysfs.elsewhere("sys/hypervisor/type", "xen\n")
    assert disk(sysfs).maps is None


def test_present_are_the_devices_with_a_driver_that_people_know_by_a_name(sysfs: Sysfs) -> None:
    sysfs.member(f"{PLACE}/virtio1/block/vda", "class/block")
    sysfs.device("pci0000:00/0000:00:01.0", "pci", "piix4_smbus")
    sysfs.device("pci0000:00/0000:00:02.0", "pci")
    sysfs.member("pci0000:00/0000:00:02.0/net/eth0", "class/net")
    (found,) = present(machine(sysfs), sysfs.root)
    assert (found.name, found.driver, found.known_as, found.around) == (DISK, "virtio-pci", "vda", disk(sysfs))


def test_no_more_devices_are_asked_than_are_shown_to_anybody(sysfs: Sysfs) -> None:
    for number in range(MOST_DEVICES + 3):
        name = f"e{number:04}"
        sysfs.device(f"platform/{name}", "platform", "gem")
        sysfs.member(f"platform/{name}/net/n{number}", "class/net")
    assert len(list(present(Around(), sysfs.root))) == MOST_DEVICES
