"""Where each pool begins, learnt from a stream as it passes."""

from __future__ import annotations

from typing import Final

from swiotlb_top.records import Kind, kinds, raw
from swiotlb_top.state import MemState

_NAMING_A_POOL: Final = frozenset((Kind.POOL_ALLOC, Kind.POOL_ADD, Kind.GROW))
_NAMING_NO_POOL: Final = bytes((Kind.FIND, Kind.MAP, Kind.UNMAP, Kind.DEVICE))


class PoolStarts:
    """Pool -> its first physical address."""

    def __init__(self) -> None:
        self.known: Final[dict[int, int]] = {}

    def learn_state(self, mem: MemState) -> None:
        """Every pool of a state."""
        self.known.update((pool.address, pool.start) for pool in mem.pools)

    def learn_records(self, records: bytes) -> None:
        """Every pool allocated, added or grown in a block, and forget those freed."""
        of_all = kinds(records)
        # Few blocks name a pool, and a recorder has no time to look at each record of the others.
        if not of_all.translate(None, delete=_NAMING_NO_POOL):
            return
        for place, kind in enumerate(of_all):
            if kind in _NAMING_A_POOL:
                record = raw(records, place)
                self.known[record.pool] = record.address
            elif kind == Kind.POOL_FREE:
                self.known.pop(raw(records, place).pool, None)
