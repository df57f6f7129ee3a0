"""The architectures of the lab's machines, as data: what QEMU is told of each."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture."""

    name: str
    """As Debian calls it."""
    machine: str
    """As `uname -m` calls it."""
    qemu: str
    """The program that is such a machine."""
    package: str
    """The Debian package of that program."""
    accelerators: Mapping[str, tuple[str, ...]]
    """QEMU's words for each way to run it."""
    console: str
    """The kernel's name of the serial line."""

    @property
    def needs(self) -> Mapping[str, str]:
        """What has to be installed to run such a machine, as of `requirements`."""
        return {self.qemu: self.package}

    @property
    def is_the_hosts(self) -> bool:
        return platform.machine() == self.machine


def _accelerators(machine: tuple[str, ...], emulated: str) -> Mapping[str, tuple[str, ...]]:
    one_thread = (*machine, "-accel", "tcg,thread=single", "-cpu", emulated)
    return MappingProxyType(
        {
            "kvm": (*machine, "-accel", "kvm", "-cpu", "host"),
            "tcg": (*machine, "-accel", "tcg,thread=multi", "-cpu", emulated),
            "tcg in turn": one_thread,
            "icount": (*one_thread, "-icount", "shift=0,sleep=off"),
        }
    )


AMD64 = Architecture(
    name="amd64",
    machine="x86_64",
    qemu="qemu-system-x86_64",
    package="qemu-system-x86",
    accelerators=_accelerators((), "max"),
    console="ttyS0",
)
ARM64 = Architecture(
    name="arm64",
    machine="aarch64",
    qemu="qemu-system-aarch64",
    package="qemu-system-arm",
    # impdef: signing pointers as the architecture has it takes half of an emulated kernel's time.
    accelerators=_accelerators(("-machine", "virt"), "max,pauth-impdef=on"),
    console="ttyAMA0",
)
