"""Where each pool begins, learnt from a stream as it passes."""

from __future__ import annotations

from typing import Final

from swiotlb_top.records import RECORD, Kind
from swiotlb_top.state import MemState

_KIND_OFFSET: Final = 14
"""Of ``kind`` in ``struct record``."""
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
        kinds = records[_KIND_OFFSET :: RECORD.size]
        # Few blocks name a pool, and a recorder has no time to look at each record of the others.
        if not kinds.translate(None, delete=_NAMING_NO_POOL):
            return
        for i, kind in enumerate(kinds):
            if kind in _NAMING_A_POOL:
                fields = RECORD.unpack_from(records, i * RECORD.size)
                self.known[fields[6]] = fields[7]
            elif kind == Kind.POOL_FREE:
                self.known.pop(RECORD.unpack_from(records, i * RECORD.size)[6], None)
