"""Totals: counted by the probes, which count every call, or by an account, which receives every event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swiotlb_top.accounting.snapshot import NOTHING_EARLIER, UNKNOWN, Asker, Earlier
from swiotlb_top.constants import SIZE_BUCKETS_SLOTS
from swiotlb_top.events import Direction

if TYPE_CHECKING:
    from swiotlb_top.accounting.pool_account import PoolAccount


@dataclass(frozen=True, slots=True)
class DeviceTotals:
    """What was counted for one device, since it was first seen at its address."""

    maps: int = 0
    map_failures: int = 0
    unmaps: int = 0
    mapped_bytes: int = 0
    """Bytes of the mappings, without the padding before a buffer."""
    unmapped_bytes_by_direction: tuple[int, ...] = (0,) * Direction.UNKNOWN
    """Bytes unmapped, indexed by :class:`~swiotlb_top.events.Direction`: every unmap tells its direction, a map only if
    ``map`` is probed. ``NONE`` counts ``swiotlb_free()``. Totals of the probes have no entry for ``UNKNOWN``."""
    requests: tuple[int, ...] = (0,) * (len(SIZE_BUCKETS_SLOTS) + 1)
    """Maps, failed ones included, by the slots that they needed with padding: one entry for each upper bound in
    :data:`SIZE_BUCKETS_SLOTS`, and one for all above the last bound."""
    requested_slots: int = 0
    """Slots that all these maps needed."""
    since_ns: int = 0
    """When it was counted first. If this changes for an address, another device is there now."""
    held_slots: int = UNKNOWN
    """Slots of its live mappings that were made since the source began; -1 if not known."""
    most_slots: int = UNKNOWN
    """The most that it held of these at once; -1 if not known."""
    earlier: Earlier = NOTHING_EARLIER
    """What is known of its mappings that were there when the source began."""
    askers: tuple[Asker, ...] = ()
    """Who asked for its maps that failed, most failures first; empty where that is not followed."""

    @property
    def unmapped_bytes(self) -> int:
        return sum(self.unmapped_bytes_by_direction)


@dataclass(frozen=True, slots=True)
class Totals:
    """What a source counted since it began. The numbers of slots and the pools are those of the time of the reading."""

    nslabs: int
    used_slots: int
    used_hiwater_slots: int
    transient_slots: int
    maps: int
    map_failures: int
    unmaps: int
    growths: int
    pools_added: int
    lost: int
    pools: tuple[PoolAccount, ...]
    """In the order in which they are shown."""
    devices: Mapping[int, DeviceTotals]
    """By ``struct device *``."""
    notes: tuple[str, ...] = ()
    """What is less exact than it could be and why, one line each."""
    uncounted: int = 0
    """How many calls are known to be missing in these totals."""
    unowned_slots: int = UNKNOWN
    """Slots in use of which nobody knows who holds them; -1 if not known."""
    hiwater_is_own: bool = False
    """Whether ``used_hiwater_slots`` is since the source began: the kernel keeps none."""
