"""What people know a device by: the disks and network interfaces that sysfs shows below it, else its controllers.

The device that maps is rarely the one that people see: a disk ``vda`` is mapped for by the PCI device 0000:00:04.0.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from swiotlb_top.kernel import settings
from swiotlb_top.kernel.sysfs import place_of, target

RANKS: Final[Mapping[str, int]] = {"block": 0, "net": 0, "nvme": 1, "scsi_host": 1}
"""Classes whose members people know by name. Of those below a device the ones of the lowest rank are told."""
MAPPING_BUSES: Final = frozenset({"pci", "platform", "vmbus", "amba"})
"""Buses whose devices map for themselves, so that what is below them belongs to them, and not to the device above."""
MOST_NAMES: Final = 3
"""How many names are given. Of more it is said how many there are."""
MOST_DIRECTORIES: Final = 4096
"""So many directories are looked into: a host adapter may have thousands of disks."""
_DEEPEST: Final = 20
"""A disk at the end of seven USB hubs is 13 directories below its controller."""


class _Found(NamedTuple):
    rank: int
    name: str
    subsystem: str
    place: Path


def known_as(name: str, driver: str = "", root: Path = settings.ROOT) -> str:
    """What a device is known by, as "vda", "eth0" or "sda, sdb, sdc and 13 more"; empty where that is not known.

    :param name: of the device, as ``/sys/bus`` names it. If several buses have a device of that name, ``driver`` tells
        which is meant; if it does not, nothing is known.
    :param root: has sys/.
    """
    place = place_of(name, driver, root)
    if place is None:
        return ""
    walk = _Walk(place)
    found = sorted(walk.members(), key=lambda one: (one.rank, len(one.name), one.name))
    names = [_printable(one.name) for one in found if one.rank == found[0].rank]
    shown = ", ".join(names[:MOST_NAMES])
    if walk.is_cut:
        return f"{shown} and more" if shown else ""
    more = len(names) - MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def disks(name: str, driver: str = "", root: Path = settings.ROOT) -> list[Path] | None:
    """Where sysfs has the disks below a device; None where it may have more.

    The parameters are those of :func:`known_as`.
    """
    place = place_of(name, driver, root)
    if place is None:
        return None
    walk = _Walk(place)
    found = [one.place for one in walk.members() if one.subsystem == "block"]
    return None if walk.is_cut else found


class _Walk:
    """The directories below a device, nearest first, without following links."""

    def __init__(self, device: Path) -> None:
        self._left: deque[tuple[Path, int]] = deque([(device, 0)])
        self.is_cut = False
        """Whether there is more than was looked into."""

    def members(self) -> Iterator[_Found]:
        """What people know by name. What is below such a member is not looked into, unless it is a controller."""
        seen = 0
        while self._left:
            if seen == MOST_DIRECTORIES:
                self.is_cut = True
                return
            seen += 1
            directory, depth = self._left.popleft()
            subsystem = target(directory / "subsystem") if depth else ""
            if subsystem in MAPPING_BUSES:
                continue
            rank = RANKS.get(subsystem)
            if rank is not None and not _is_hidden(directory):
                yield _Found(rank, directory.name, subsystem, directory)
            if rank != 0 and depth < _DEEPEST:
                self._left.extend((below, depth + 1) for below in _directories(directory))


def _directories(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as entries:
            return sorted(place / entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _is_hidden(disk: Path) -> bool:
    """A path to a disk of several (nvme0c0n1), which is not for use: 8ddcd653257c (4.15)."""
    try:
        return (disk / "hidden").read_text().strip() == "1"
    except (OSError, ValueError):
        return False


def _printable(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name)
