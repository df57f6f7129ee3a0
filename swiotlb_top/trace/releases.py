"""A release says again what its map said: address, pool, device, size. Take that away before packing.

A block's records are walked in order. Each FIND and MAP is numbered and its tlb_addr computed, as
``swiotlb_tbl_map_single()`` does; an UNMAP of that slot then refers to the map by number and keeps
only the differences, nearly always zero. Both ways the walk sees the same, so nothing is lost: an
UNMAP whose map is not in the block, or was not computed right, just keeps larger differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from swiotlb_top.records import Kind

SLOT_SHIFT: Final = 11
"""``IO_TLB_SHIFT``."""
U64: Final = 0xFFFF_FFFF_FFFF_FFFF
_REFERENCE_MASK: Final = 0xFFFF_FFFF
_POOL_KINDS: Final = frozenset((Kind.POOL_ALLOC, Kind.POOL_ADD, Kind.GROW))

Fields = list[list[int]]
"""The columns of a block that this walk needs: kind, object, pool, address, size, result."""


class _Maps:
    """The maps of a block so far, and where its pools start."""

    def __init__(self, pool_starts: Mapping[int, int]) -> None:
        self._starts = dict(pool_starts)
        self.made: list[tuple[int, int, int, int]] = []
        """(object, pool, tlb_addr, size) by number."""

    def learn_pool(self, pool: int, start: int) -> None:
        self._starts[pool] = start

    def add(self, kind: int, fields: tuple[int, int, int, int]) -> int:
        """Number a map; its tlb_addr's slot is returned."""
        dev, pool, size, result = fields
        tlb_addr = result if kind == Kind.MAP else (self._starts.get(pool, 0) + (result << SLOT_SHIFT)) & U64
        self.made.append((dev, pool, tlb_addr, size))
        return tlb_addr >> SLOT_SHIFT


def take_away(fields: Fields, pool_starts: Mapping[int, int]) -> list[int]:
    """Replace, in place, each UNMAP's object, pool, address and size by differences to its map's.

    :returns: one number an UNMAP: 0 where no map was found, else 1 + its map's number less the
        number the UNMAP before it referred to (mod 2**32).
    """
    kinds, objects, pools, addresses, sizes, results = fields
    maps = _Maps(pool_starts)
    live: dict[int, int] = {}
    references: list[int] = []
    before = 0
    for i, kind in enumerate(kinds):
        if kind == Kind.UNMAP:
            number = live.pop(addresses[i] >> SLOT_SHIFT, None)
            if number is None:
                references.append(0)
                continue
            references.append(1 + ((number - before) & _REFERENCE_MASK))
            before = number
            dev, pool, tlb_addr, size = maps.made[number]
            objects[i] = (objects[i] - dev) & U64
            pools[i] = (pools[i] - pool) & U64
            addresses[i] = (addresses[i] - tlb_addr) & U64
            sizes[i] = (sizes[i] - size) & U64
        elif kind in (Kind.FIND, Kind.MAP):
            slot = maps.add(kind, (objects[i], pools[i], sizes[i], results[i]))
            live[slot] = len(maps.made) - 1
        elif kind in _POOL_KINDS:
            maps.learn_pool(pools[i], addresses[i])
    return references


def put_back(fields: Fields, references: list[int], pool_starts: Mapping[int, int]) -> None:
    """Undo :func:`take_away`, in place. :raises ValueError: a reference to no map."""
    kinds, objects, pools, addresses, sizes, results = fields
    maps = _Maps(pool_starts)
    refer = iter(references)
    before = 0
    for i, kind in enumerate(kinds):
        if kind == Kind.UNMAP:
            reference = next(refer)
            if reference == 0:
                continue
            before = (before + reference - 1) & _REFERENCE_MASK
            if before >= len(maps.made):
                raise ValueError("a release refers to a map that is not there")
            dev, pool, tlb_addr, size = maps.made[before]
            objects[i] = (objects[i] + dev) & U64
            pools[i] = (pools[i] + pool) & U64
            addresses[i] = (addresses[i] + tlb_addr) & U64
            sizes[i] = (sizes[i] + size) & U64
        elif kind in (Kind.FIND, Kind.MAP):
            maps.add(kind, (objects[i], pools[i], sizes[i], results[i]))
        elif kind in _POOL_KINDS:
            maps.learn_pool(pools[i], addresses[i])
