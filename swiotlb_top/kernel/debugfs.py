"""swiotlb's own counters in debugfs: four for the default allocator, and four for each restricted pool.

Mirrors ``swiotlb_create_debugfs_files()``: the directory is made wherever CONFIG_SWIOTLB and
CONFIG_DEBUG_FS are set, and stays without files where swiotlb has no memory.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import settings
from swiotlb_top.kernel.no_pool import NoPool, NoPoolError

DEBUGFS_ROOT: Final = Path("/sys/kernel/debug")
ABSENT: Final = -1
"""A counter that this kernel does not keep, or does not show."""

HIWATER_UNKEPT: Final = "this kernel keeps no high water: 6.4 and later do, with CONFIG_DEBUG_FS"
HIWATER_UNTRACKED: Final = "this kernel keeps no high water: boot with swiotlb=...,track_hiwater (7.3 and later)"
HIWATER_LOCKED: Final = "the high water is locked away, even from root (lockdown: its file could be written to)"


@dataclass(frozen=True, slots=True)
class Counters:
    """One allocator's debugfs files, in slots of 2 KiB.

    ``used_hiwater_slots`` is -1 before 6.4, where 7.3 does not keep it (no ``track_hiwater`` at
    boot: it then reads 0 while slots are used), and where lockdown keeps its file shut, alone of
    the four because of its mode 0600 (``debugfs_locked_down()``). ``transient_slots`` is -1 on a
    kernel without CONFIG_SWIOTLB_DYNAMIC.
    """

    nslabs: int
    used_slots: int
    used_hiwater_slots: int
    transient_slots: int
    hiwater_unknown: str = ""
    """Why there is no high water; empty where there is."""


def read_default(root: Path = DEBUGFS_ROOT, machine: Path = settings.ROOT) -> Counters:
    """Read the default allocator's counters under ``root``/swiotlb.

    :param machine: where proc/ and sys/ are, which say why there are no counters.
    :raises NoPoolError: swiotlb has no memory.
    :raises CannotError: debugfs is not mounted, may not be read, or this kernel has no swiotlb.
    """
    try:
        return _read(_directory(root, machine))
    except PermissionError as error:
        raise _refused(root, error) from error
    except FileNotFoundError as error:
        raise NoPoolError.here(machine) from error
    except (OSError, ValueError) as error:
        raise CannotError(f"{root}/swiotlb cannot be read: {error}") from error


def read_restricted(root: Path = DEBUGFS_ROOT) -> tuple[tuple[str, Counters], ...]:
    """Name and counters of each restricted pool (``rmem_swiotlb_device_init()``); empty if there is none.

    :raises CannotError: the counters of a pool that exists cannot be read.
    """
    found = []
    try:
        for directory in sorted(path for path in (root / "swiotlb").iterdir() if path.is_dir()):
            # A pool goes with its device, perhaps between listing and reading.
            with suppress(FileNotFoundError):
                found.append((directory.name, _read(directory)))
    except FileNotFoundError:
        return ()
    except PermissionError as error:
        raise _refused(root, error) from error
    except (OSError, ValueError) as error:
        raise CannotError(f"{root}/swiotlb cannot be read: {error}") from error
    return tuple(found)


def _directory(root: Path, machine: Path) -> Path:
    try:
        names = {path.name for path in root.iterdir()}
    except FileNotFoundError:
        names = set()
    if not names and "noforce" in settings.boot_words(settings.text("proc/cmdline", machine)):
        raise NoPoolError(NoPool.NOFORCE)
    if not names:
        raise CannotError(f"debugfs is not mounted at {root}", f"mount -t debugfs none {root}")
    if "swiotlb" not in names:
        raise CannotError(f"{root} has no swiotlb directory: this kernel is built without CONFIG_SWIOTLB")
    return root / "swiotlb"


def _read(directory: Path) -> Counters:
    # Read used first: high water and total only grow, so that a rise of used in between cannot show more than they do.
    used = _number(directory / "io_tlb_used")
    hiwater, unknown = _hiwater(directory / "io_tlb_used_hiwater", used)
    transient = _number_if_there(directory / "io_tlb_transient_nslabs")
    return Counters(_number(directory / "io_tlb_nslabs"), used, hiwater, transient, unknown)


def _hiwater(path: Path, used: int) -> tuple[int, str]:
    """The high water, or why there is none."""
    try:
        hiwater = _number_if_there(path)
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
        return ABSENT, HIWATER_LOCKED
    if hiwater == ABSENT:
        return ABSENT, HIWATER_UNKEPT
    return (ABSENT, HIWATER_UNTRACKED) if hiwater == 0 < used else (hiwater, "")


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _number_if_there(path: Path) -> int:
    try:
        return _number(path)
    except FileNotFoundError:
        return ABSENT


def _refused(root: Path, error: PermissionError) -> CannotError:
    # Rules of containers and security modules answer EPERM, even to root; file modes answer EACCES.
    if error.errno == errno.EPERM:
        return CannotError(f"{root} is closed even to root here: look from the host, outside any container")
    return CannotError(f"no permission to read {root}: run as root")
