"""The kernels of the lab, as data. Everything that decides what such a kernel is, is named here."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.lab.harness.architectures import AMD64, ARM64, Architecture
from tests.lab.harness.suites import Suite

HERE = Path(__file__).parents[1]
CONFIG_DIR = HERE / "configs"
PATCH_DIR = HERE / "patches"

THE_SYSTEMS = Suite()
BACKPORTS = Suite("trixie-backports")
TRIXIE = Suite("trixie")
TRIXIE_ARM64 = Suite("trixie", ARM64.name)


@dataclass(frozen=True, slots=True)
class SourceTree:
    """What several kernels that the lab builds are made of: it is compiled once, whatever their number."""

    name: str
    source_package: str
    """Debian package; has `/usr/src/<source_package>.tar.xz`, whose top directory bears the same name."""
    config: str
    """File in `configs/`, given to `make allnoconfig` as KCONFIG_ALLCONFIG."""
    patches: tuple[str, ...] = ()
    """Files in `patches/`, applied in order with `patch -p1`."""
    suite: Suite = THE_SYSTEMS


@dataclass(frozen=True, slots=True)
class SourceKernel:
    """A kernel that the lab builds: a tree, and what is patched in it for this kernel alone."""

    name: str
    tree: SourceTree
    patches: tuple[str, ...] = ()
    """As the tree's, and applied after them. None: the kernel that the tree was compiled to."""
    release: str = ""
    """What `uname -r` says of it; empty: what its source calls itself."""
    architecture: ClassVar = AMD64
    bootable: ClassVar = "bzImage"
    """Its file that QEMU boots."""


@dataclass(frozen=True, slots=True)
class PackagedKernel:
    """A kernel as the distribution ships it: nothing is built, the image package is only unpacked."""

    name: str
    meta_package: str
    """Debian package whose dependency names the versioned image package."""
    modules: tuple[str, ...]
    """What the initramfs loads before there is a root file system; their dependencies are added."""
    suite: Suite = THE_SYSTEMS
    architecture: Architecture = AMD64
    bootable: ClassVar = "vmlinux"
    """Its file that QEMU boots: an emulated guest takes seconds to unpack it."""


Kernel = SourceKernel | PackagedKernel

DYNAMIC = SourceTree(
    name="dynamic",
    source_package="linux-source-6.12",
    config="dynamic.config",
)
DYNAMIC_7_3 = SourceTree(
    name="dynamic-7.3",
    source_package="linux-source-7.3",
    config="dynamic.config",
    suite=BACKPORTS,
)
NOINLINE = "find-slots-noinline.patch"
"""Keeps `swiotlb_find_slots()` out of line, as a kernel with CONFIG_DMA_RESTRICTED_POOL has it."""

DISKS_AND_ROOT = ("9p", "9pnet_virtio", "overlay", "virtio_blk", "nvme", "virtio_net")
LOOPBACK = ("vsock_loopback",)
"""A guest connects to itself as its host would. No host is needed that has vhost_vsock."""
FROM_6_1 = ("virtio_pci", "virtio_console", *DISKS_AND_ROOT)

FAULTY = (
    "cve-2023-52790",
    "cve-2024-35814",
    "no-min-alignment",
    "no-page-alignment",
    "injected-overlap",
    "injected-lost-release",
)
"""Kernels with a bug, each named for it, as is its patch; there it says which releases had it."""

BY_CALLER = "map-alloc-size.patch"
NO_PADDING = (BY_CALLER, "no-pad-slots.patch")
UNCOUNTED = "no-transient-count.patch"
OF_6_6 = "order-of-6.6.patch"
LIKE_BUFFER = "cve-2024-35814.patch"
BY_TWO_SLOTS = "page-steps-by-two-slots.patch"
STATIC = "static.patch"

_AS_RELEASED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("6.6", "6.6.15", (*NO_PADDING, UNCOUNTED, OF_6_6, LIKE_BUFFER)),
    ("6.6.24", "6.6.30", (*NO_PADDING, UNCOUNTED, OF_6_6, BY_TWO_SLOTS)),
    ("6.6.35", "6.6.63", (BY_CALLER, UNCOUNTED, OF_6_6)),
    ("6.8", "6.8.1", (*NO_PADDING, UNCOUNTED, LIKE_BUFFER)),
    ("ubuntu-6.8", "6.8.0-45-generic", (*NO_PADDING, UNCOUNTED)),
    ("6.9", "6.9.12", (BY_CALLER,)),
    ("rhel-9", "5.14.0-503.11.1.el9_5.x86_64", NO_PADDING),
    ("openeuler-24.03", "6.6.0-28.0.0.34.oe2403.x86_64", (UNCOUNTED, OF_6_6, BY_TWO_SLOTS)),
    ("sets-of-256", "", ("slot-sets-of-256.patch",)),
)
"""6.12 with the swiotlb of other releases, each once dynamic and once static: name, release, patches. Some differ in
nothing but the release."""

_ALL: tuple[Kernel, ...] = (
    SourceKernel("dynamic", DYNAMIC, (NOINLINE,)),
    SourceKernel("dynamic-inlined", DYNAMIC),
    SourceKernel("seed", DYNAMIC, (NOINLINE, "seed-order.patch")),
    SourceKernel("dynamic-7.3", DYNAMIC_7_3),
    *(SourceKernel(name, DYNAMIC, (NOINLINE, f"{name}.patch")) for name in FAULTY),
    PackagedKernel("debian", "linux-image-6.12-amd64", (*DISKS_AND_ROOT, *LOOPBACK)),
    PackagedKernel("debian-6.1", "linux-image-amd64", FROM_6_1),
    PackagedKernel("debian-7.3", "linux-image-amd64", DISKS_AND_ROOT, BACKPORTS),
    PackagedKernel("arm64", "linux-image-arm64", DISKS_AND_ROOT, TRIXIE_ARM64, ARM64),
)
_FOR_THE_MATRIX: tuple[Kernel, ...] = (
    # Static ones are as the compiler makes them without help.
    *(SourceKernel(name, DYNAMIC, (NOINLINE, *patches), release) for name, release, patches in _AS_RELEASED),
    *(SourceKernel(f"{name}-static", DYNAMIC, (*patches, STATIC), release) for name, release, patches in _AS_RELEASED),
    PackagedKernel("debian-6.1-rt", "linux-image-rt-amd64", FROM_6_1),
    PackagedKernel("debian-6.12-rt", "linux-image-rt-amd64", DISKS_AND_ROOT, TRIXIE),
    PackagedKernel("debian-6.1-cloud", "linux-image-cloud-amd64", FROM_6_1),
    PackagedKernel("debian-6.12-cloud", "linux-image-cloud-amd64", DISKS_AND_ROOT, TRIXIE),
)
"""What only `make matrix` wants: no kernel of these is built or fetched unless it is named."""

GIVEN = "given"
"""What a kernel is called that somebody else built: the lab is given its bzImage, which has all drivers built in."""
KERNELS: Mapping[str, Kernel] = types.MappingProxyType({kernel.name: kernel for kernel in (*_ALL, *_FOR_THE_MATRIX)})
ALWAYS_THERE = tuple(kernel.name for kernel in _ALL)
"""Those that tests boot: without a name, `python -m tests.lab build` makes all of these."""
SOUND = tuple(name for name in ALWAYS_THERE if name not in FAULTY and KERNELS[name].architecture is AMD64)
"""All others of them for amd64."""


@dataclass(frozen=True, slots=True)
class KernelImage:
    """A kernel that is there: a whole entry of the cache."""

    name: str
    directory: Path

    @property
    def architecture(self) -> Architecture:
        """Of the kernels that somebody else built, only those for amd64 are taken."""
        return AMD64 if self.name == GIVEN else KERNELS[self.name].architecture

    @property
    def bootable(self) -> Path:
        """What QEMU boots."""
        return self.directory / (SourceKernel.bootable if self.name == GIVEN else KERNELS[self.name].bootable)

    @property
    def modules(self) -> tuple[Path, ...]:
        """Uncompressed modules in the order in which they must be loaded; none if all is built in."""
        return tuple(sorted((self.directory / "modules").glob("*.ko")))
