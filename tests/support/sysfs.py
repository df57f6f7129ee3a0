"""A made-up /sys, as real machines have it, in a directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class Sysfs:
    """A made-up sysfs below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def device(self, place: str, bus: str, driver: str = "") -> None:
        """A device on a bus, below /sys/devices, with the links by which it is found."""
        self.member(place, f"bus/{bus}")
        link = self.root / "sys/bus" / bus / "devices" / Path(place).name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(self._at(place))
        if driver:
            (self._at(place) / "driver").symlink_to(Path("/sys/bus") / bus / "drivers" / driver)

    def member(self, place: str, subsystem: str) -> None:
        """A directory with the link to its class or bus."""
        self._at(place).mkdir(parents=True, exist_ok=True)
        (self._at(place) / "subsystem").symlink_to(Path("/sys") / subsystem)

    def members(self, places: Sequence[str], subsystem: str) -> None:
        for place in places:
            self.member(place, subsystem)

    def file(self, place: str, text: str) -> None:
        """A file of a device."""
        self._at(place).write_text(text)

    def elsewhere(self, path: str, text: str) -> None:
        """A file below the root: proc/cmdline and the like."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def iommu_group(self, place: str, kind: str) -> None:
        """The IOMMU group of a device."""
        group = self.root / "sys/kernel/iommu_groups" / Path(place).name
        group.mkdir(parents=True)
        (group / "type").write_text(f"{kind}\n")
        (self._at(place) / "iommu_group").symlink_to(group)

    def _at(self, place: str) -> Path:
        return self.root / "sys/devices" / place
