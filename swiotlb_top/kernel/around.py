"""What decides, besides a device's own limits, whether its mappings bounce: how the machine was booted, and its IOMMU.

Each is None where nothing tells it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from swiotlb_top.kernel import settings
from swiotlb_top.kernel.known_as import MAPPING_BUSES, known_as
from swiotlb_top.kernel.sysfs import place_of, target

KMALLOC_MACHINES: Final = frozenset({"aarch64", "riscv64"})
"""Their kernels may have CONFIG_DMA_BOUNCE_UNALIGNED_KMALLOC: 370645f41e6e (6.5)."""
_TRANSLATED: Final = {"DMA": True, "DMA-FQ": True, "identity": False}
"""What the type of an IOMMU group says of its devices: only for the first two does dma-iommu map."""
_ENCRYPTED: Final = ("sys/firmware/uv/prot_virt_guest", "sys/devices/system/cpu/svm")
"""1 in a guest whose memory the host cannot read: on s390, and on POWER."""
_RAM: Final = re.compile(r"^\s*[0-9a-f]+-([0-9a-f]+) : System RAM$", re.MULTILINE)
_ACCESS_PLATFORM: Final = 33
"""VIRTIO_F_ACCESS_PLATFORM: without it, a virtio device is given physical addresses, and nothing is mapped for it."""
MOST_DEVICES: Final = 512


@dataclass(frozen=True, slots=True)
class Around:
    """What is known of the machine around a device."""

    asked_for: bool | None = None
    """``swiotlb=force`` is on the command line."""
    encrypted: bool | None = None
    """This is a guest whose memory is encrypted."""
    encryption_forces: bool | None = None
    """In such a guest the kernel sets force_bounce. By 7.3, whose allocators have ``cc_shared``, it does not."""
    xen_pv: bool | None = None
    """This is a paravirtualized domain of Xen, which maps by xen-swiotlb."""
    bounces_small: bool | None = None
    """The kernel has CONFIG_DMA_BOUNCE_UNALIGNED_KMALLOC."""
    memory_end: int | None = None
    """The highest physical address of memory."""
    translated: bool | None = None
    """The kernel gives the device addresses that an IOMMU translates."""
    untrusted: bool | None = None
    """The device is behind an external port, as Thunderbolt is."""
    reach: int | None = None
    """Its DMA mask: the highest address that it can give."""
    maps: bool | None = None
    """False: its driver gives it physical addresses and maps nothing."""


@dataclass(frozen=True, slots=True)
class Present:
    """A device that is there, and that people know by another name."""

    name: str
    driver: str
    known_as: str
    around: Around


def of_machine(release: str, machine: str, features: Collection[str], root: Path = settings.ROOT) -> Around:
    """What holds for all devices.

    :param features: of the kernel's swiotlb, as :mod:`~swiotlb_top.kernel.layout` has them; empty: not known.
    :param root: has proc/, sys/ and boot/.
    """
    command_line = settings.text("proc/cmdline", root)
    return Around(
        asked_for="force" in settings.boot_words(command_line) if command_line else None,
        encrypted=_encrypted(root),
        encryption_forces=_encryption_forces(features),
        xen_pv=_xen_pv(root),
        bounces_small=_bounces_small(release, machine, root),
        memory_end=max((int(end, 16) for end in _RAM.findall(settings.text("proc/iomem", root))), default=0) or None,
    )


def of_recording(machine: str, features: Collection[str]) -> Around:
    """What holds for every machine that has such a kernel."""
    return Around(
        encryption_forces=_encryption_forces(features),
        bounces_small=None if machine in KMALLOC_MACHINES else False,
    )


def of_device(machine: Around, name: str, driver: str = "", root: Path = settings.ROOT) -> Around:
    """What holds for one device; what holds for the machine, if sysfs has no such device."""
    place = place_of(name, driver, root)
    if place is None:
        return machine
    is_pci = target(place / "subsystem") == "pci"
    return replace(
        machine,
        translated=_translated(place),
        # PCI sets untrusted where it sets removable: c037b6c818c3 (5.14); devices of other buses are trusted
        untrusted=is_pci and _text(place / "removable") == "removable",
        reach=_reach(place),
        maps=_maps(place, root),
    )


def present(machine: Around, root: Path = settings.ROOT) -> Iterator[Present]:
    """The devices that people know by a name, in the order of their own names; at most 512 of each bus are asked."""
    for bus in sorted(MAPPING_BUSES):
        for name in _names(root / "sys/bus" / bus / "devices")[:MOST_DEVICES]:
            driver = target(root / "sys/bus" / bus / "devices" / name / "driver")
            if driver and (known := known_as(name, driver, root)):
                yield Present(name, driver, known, of_device(machine, name, driver, root))


def _names(directory: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in directory.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    return settings.text(path.name, path.parent)


def _encrypted(root: Path) -> bool | None:
    for path in _ENCRYPTED:
        if (told := settings.text(path, root)) in ("0", "1"):
            return told == "1"
    flags = re.search(r"^flags\s*:(.*)$", settings.text("proc/cpuinfo", root), re.MULTILINE)
    if flags is None:
        return None
    words = flags[1].split()
    if "tdx_guest" in words:
        return True
    return None if "hypervisor" in words else False


def _encryption_forces(features: Collection[str]) -> bool | None:
    return "cc_shared" not in features if features else None


def _xen_pv(root: Path) -> bool | None:
    if settings.text("sys/hypervisor/type", root) == "xen":
        return {"PV": True, "HVM": False, "PVH": False}.get(settings.text("sys/hypervisor/guest_type", root))
    is_known = (root / "sys/bus").is_dir() and not (root / "sys/bus/xen").is_dir()
    return False if is_known else None


def _bounces_small(release: str, machine: str, root: Path) -> bool | None:
    if machine not in KMALLOC_MACHINES:
        return False
    build = settings.build(release, root)
    return None if build is None else "DMA_BOUNCE_UNALIGNED_KMALLOC" in build.options


def _translated(place: Path) -> bool | None:
    group = place / "iommu_group"
    return _TRANSLATED.get(_text(group / "type")) if group.exists() else False


def _reach(place: Path) -> int | None:
    bits = _text(place / "dma_mask_bits")
    return (1 << int(bits)) - 1 if re.fullmatch(r"[0-9]{1,2}", bits) and 0 < int(bits) <= 64 else None


def _maps(place: Path, root: Path) -> bool | None:
    """Mirrors ``vring_use_map_api()``, which maps on Xen whatever was negotiated."""
    features = [_text(path) for path in sorted(place.glob("virtio*/features"))]
    if not features or settings.text("sys/hypervisor/type", root) == "xen":
        return None
    return any(bits[_ACCESS_PLATFORM : _ACCESS_PLATFORM + 1] == "1" for bits in features)
