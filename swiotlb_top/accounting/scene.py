"""How it stood when a map failed, as the reference has it: what was asked, what was free, and who had the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from swiotlb_top.accounting.numbers import counted
from swiotlb_top.accounting.slots import SlotsView
from swiotlb_top.allocator import Explanation
from swiotlb_top.events import Call

Key: TypeAlias = tuple[int, int, int]
"""What a failed call is known by: when it was over, on which CPU, and whose it was."""


class PoolThen(NamedTuple):
    """A pool, as it was."""

    start: int
    kind: str
    """``default``, ``grown`` or ``transient``."""
    nslabs: int
    nareas: int
    used_slots: int
    longest_free_slots: int
    slots: SlotsView

    @property
    def sentence(self) -> str:
        areas = f" in {self.nareas} areas" if self.nareas > 1 else ""
        return (
            f"{self.kind} {self.start:#x}: {self.used_slots:,} of {counted(self.nslabs, 'slot')}{areas} in use, "
            f"longest free run {self.longest_free_slots}"
        )


class HolderThen(NamedTuple):
    """A device that had slots; ``dev`` is 0 for what was mapped before the recording."""

    dev: int
    held_slots: int
    mappings: int


@dataclass(frozen=True, slots=True)
class Scene:
    """How it stood when a map failed."""

    time_ns: int
    cpu: int
    size_bytes: int
    """What was to be mapped, without padding."""
    explanation: Explanation
    free_slots: int
    """In all pools that are searched."""
    pools: tuple[PoolThen, ...]
    """In the order of the search, then the transient ones."""
    holders: tuple[HolderThen, ...]
    """Those that held most, the first of them most."""
    largest_fitting_bytes: int | None
    """The largest mapping of whole pages for which there was room then; 0: not even for a page. None: not known."""

    @property
    def used_slots(self) -> int:
        """In use in all pools."""
        return sum(pool.used_slots for pool in self.pools)

    @property
    def smaller(self) -> str:
        """Which mapping would have fitted, for a driver and for a disk; empty where it is not room that was missing."""
        if not self.explanation.cause.is_of_room:
            return ""
        fitting_bytes = self.largest_fitting_bytes
        if fitting_bytes is None:
            return "which smaller mapping would have fitted was not computed: the pools have too many areas"
        if not fitting_bytes:
            return "not even a page would have fitted then"
        return (
            f"a mapping of {counted(fitting_bytes, 'byte')} would have fitted then, and none of a page more; "
            f"of a disk, max_sectors_kb={fitting_bytes >> 10} keeps every mapping within that"
        )


NO_SCENES: Final[Mapping[Key, Scene]] = {}


def key_of(call: Call) -> Key:
    """What a call is known by."""
    return call.exit_ns, call.cpu, call.dev
