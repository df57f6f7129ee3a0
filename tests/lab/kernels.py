"""The kernels of the lab, as data. Everything that decides what such a kernel is, is named here."""

from __future__ import annotations

import types
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CONFIG_DIR = HERE / "configs"
PATCH_DIR = HERE / "patches"


@dataclass(frozen=True, slots=True)
class SourceKernel:
    """A kernel that the lab builds: a Debian source package, `allnoconfig` plus a fragment, and patches."""

    name: str
    source_package: str
    """Debian package; installs `/usr/src/<source_package>.tar.xz`, whose top directory bears the same name."""
    config: str
    """File in `configs/`, given to `make allnoconfig` as KCONFIG_ALLCONFIG."""
    patches: tuple[str, ...] = ()
    """Files in `patches/`, applied in order with `patch -p1`."""


@dataclass(frozen=True, slots=True)
class PackagedKernel:
    """A kernel as the distribution ships it: nothing is built, the image package is only unpacked."""

    name: str
    meta_package: str
    """Debian package whose dependency names the versioned image package."""
    modules: tuple[str, ...]
    """What the initramfs loads before there is a root file system; their dependencies are added."""


Kernel = SourceKernel | PackagedKernel

KERNELS: types.MappingProxyType[str, Kernel] = types.MappingProxyType(
    {
        kernel.name: kernel
        for kernel in (
            SourceKernel(
                name="dynamic",
                source_package="linux-source-6.12",
                config="dynamic.config",
                patches=("find-slots-noinline.patch",),
            ),
            PackagedKernel(
                name="debian",
                meta_package="linux-image-6.12-amd64",
                modules=("9p", "9pnet_virtio", "overlay", "virtio_blk", "nvme", "virtio_net"),
            ),
        )
    }
)


@dataclass(frozen=True, slots=True)
class KernelImage:
    """A kernel that is there: a whole entry of the cache."""

    name: str
    directory: Path

    @property
    def bzimage(self) -> Path:
        """What QEMU boots."""
        return self.directory / "bzImage"

    @property
    def modules(self) -> tuple[Path, ...]:
        """Uncompressed modules in the order in which they must be loaded; none if all is built in."""
        return tuple(sorted((self.directory / "modules").glob("*.ko")))
