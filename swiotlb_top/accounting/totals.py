"""What was counted: by the kernel side, which counts every call, or by an account, which was told of every call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swiotlb_top.accounting.snapshot import UNKNOWN
from swiotlb_top.constants import SIZE_BUCKETS_SLOTS
from swiotlb_top.events import Direction

if TYPE_CHECKING:
    from swiotlb_top.accounting.pool_account import PoolAccount


@dataclass(frozen=True, slots=True)
class DeviceTotals:
    """One device's, since it is the one at its address."""

    maps: int = 0
    map_failures: int = 0
    unmaps: int = 0
    mapped_bytes: int = 0
    """Without the padding before a buffer."""
    unmapped_bytes_by_direction: tuple[int, ...] = (0,) * Direction.UNKNOWN
    """By :class:`~swiotlb_top.events.Direction`: a map's is seen only where ``map`` is probed, an unmap's always.
    ``NONE`` is ``swiotlb_free()``'s. ``UNKNOWN`` is there only where events are counted, as the kernel side knows."""
    requests: tuple[int, ...] = (0,) * (len(SIZE_BUCKETS_SLOTS) + 1)
    """Maps, failed ones too, by the slots they asked for, padding included: of at most :data:`SIZE_BUCKETS_SLOTS`, and
    above the last."""
    requested_slots: int = 0
    """Slots of all those."""
    since_ns: int = 0
    """When it was counted first. A later time than before at the same address: another device lives there now."""
    held_slots: int = UNKNOWN
    """Slots of its live mappings, of those made since the source began."""

    @property
    def unmapped_bytes(self) -> int:
        return sum(self.unmapped_bytes_by_direction)


@dataclass(frozen=True, slots=True)
class Totals:
    """A source's, since it began; slots are those in use when it was asked."""

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
    """What is degraded about them and why, a line each."""
    uncounted: int = 0
    """Calls that are known to be missing in them."""
