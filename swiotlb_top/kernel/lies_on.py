"""On which disks a file lies, and which device maps for each of them, as sysfs shows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from swiotlb_top.kernel import settings
from swiotlb_top.kernel.known_as import MAPPING_BUSES
from swiotlb_top.kernel.sysfs import target

_DEEPEST: Final = 8
"""So many layers of block devices that lie on others: device mapper, RAID and the like."""
_MOST_DISKS: Final = 16
_MOST_PARENTS: Final = 40


class Disk(NamedTuple):
    """A disk, and the device that maps for it."""

    known_as: str
    """As people know it: "vda"."""
    device: str
    """As ``/sys/bus`` names it: "0000:00:04.0"."""
    driver: str


def disks_below(path: Path, root: Path = settings.ROOT) -> tuple[Disk, ...]:
    """The disks on which a file or directory lies; none where that is not known, or it lies in memory.

    :param path: is there.
    :param root: has sys/ and proc/.
    """
    try:
        number = os.stat(path).st_dev
        return disks_of((os.major(number), os.minor(number)), os.path.realpath(path), root)
    except (OSError, ValueError, RuntimeError):  # RuntimeError: links in a circle
        return ()


def disks_of(number: tuple[int, int], path: str, root: Path = settings.ROOT) -> tuple[Disk, ...]:
    """The same of a file whose file system has such a device number.

    :param path: without links. It tells which file system it is where the number is none of a block device, as with
        btrfs.
    """
    place = root / "sys/dev/block" / f"{number[0]}:{number[1]}"
    if not place.exists():
        source = _source(path, root)
        if not source:
            return ()
        place = root / "sys/class/block" / source
    found = dict.fromkeys(_lowest(place.resolve(), _DEEPEST))
    return tuple(disk for at in list(found)[:_MOST_DISKS] if (disk := _disk(at)) is not None)


def _source(path: str, root: Path) -> str:
    """The name of the block device that is mounted where a path lies; empty if there is none, or it is not told."""
    best, found = -1, ""
    for line in settings.text("proc/self/mountinfo", root).splitlines():
        about, _, rest = line.partition(" - ")
        words, of_mount = rest.split(" "), about.split(" ")
        if len(words) < 2 or len(of_mount) < 5:
            continue
        point = of_mount[4].encode().decode("unicode_escape", errors="replace")
        is_above = path == point or path.startswith(point.rstrip("/") + "/")
        if is_above and len(point) >= best:
            best, found = len(point), words[1]
    if not found.startswith("/dev/"):
        return ""
    device = root / found.removeprefix("/")
    return target(device) or device.name


def _lowest(place: Path, deepest: int) -> Iterator[Path]:
    """The disks that a block device lies on, at last; itself, or the disk that it is a part of, if there are none."""
    slaves = sorted(place.glob("slaves/*"))
    if slaves and deepest:
        for slave in slaves[:_MOST_DISKS]:
            yield from _lowest(slave.resolve(), deepest - 1)
    elif (place / "partition").exists():
        yield from _lowest(place.parent, deepest)
    elif place.is_dir():
        yield place


def _disk(place: Path) -> Disk | None:
    for above in list(place.parents)[:_MOST_PARENTS]:
        if target(above / "subsystem") in MAPPING_BUSES:
            return Disk(place.name, above.name, target(above / "driver"))
    return None
