"""A small kernel that runs here: it does operations at moments of its own, while somebody copies its slots, each at
another moment. What a judge sees of it are the copies and the operations' intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from swiotlb_top.allocator import REVISIONS, Allocator, Found, Pages, Pool, Request
from swiotlb_top.events import Find, Grow, PoolAlloc, Unmap
from swiotlb_top.state import PoolState
from tests.unit.histories import (
    DEV,
    LIMITS,
    POOL,
    SLOT_BYTES,
    START,
    allocated,
    found,
    grown,
    released,
    state_of,
)

NAREAS: Final = 2
NSLABS: Final = NAREAS * 128
GROWN_NSLABS: Final = 512
APART: Final = 1 << 30
"""Between the first slots of two pools."""


class Live(NamedTuple):
    """A mapping: where, for whom, and when its map returned."""

    pool: Pool
    slot: int
    nslots: int
    dev: int
    mapped_ns: int


@dataclass(repr=False)
class Kernel:
    """Pools of two areas, the first one small, and what was done to them."""

    can_grow: bool = False
    events: list[Find | Unmap | Grow | PoolAlloc] = field(default_factory=list)
    live: list[Live] = field(default_factory=list)
    states: list[tuple[int, tuple[PoolState, ...]]] = field(default_factory=list)
    """The listed pools as they were from a moment on, newest first."""

    def __post_init__(self) -> None:
        self.pool = Pool(POOL, START, NSLABS, NAREAS)
        self._pools = 1
        self.swiotlb = Allocator(
            REVISIONS["6.10"], [self.pool], GROWN_NSLABS, NAREAS, can_grow=self.can_grow, dynamic=True
        )
        self.note(0)

    def note(self, moment_ns: int) -> None:
        self.states.append((moment_ns, tuple(state_of(pool) for pool in self.swiotlb.pools)))

    def place(self, cpu: int, nslots: int) -> Found | None:
        """Where the next search would end."""
        return self.swiotlb.find_slots(cpu, _request(nslots))

    def map(self, moment_ns: int, entry_ns: int, exit_ns: int, cpu: int, nslots: int, dev: int = DEV) -> None:
        """A search; where no pool has room, a pool for it alone if pools may be had."""
        place = self.place(cpu, nslots)
        if place is None and self.can_grow:
            pages = self._pages()
            pool = self.swiotlb.transient_pool(_request(nslots), pages)
            self.swiotlb.add_transient(dev, pool)
            self.events.append(allocated(max(entry_ns, moment_ns - 1), pages.address, pages.start, nslots, cpu=cpu))
            place = Found(pool, 0)
        if place:
            place.pool.take(place.slot, _request(nslots), dev)
            self.live.append(Live(*place, nslots, dev, exit_ns))
        slot, address = (place.slot, place.pool.address) if place else (-1, 0)
        self.events.append(found(entry_ns, exit_ns, slot, nslots, cpu=cpu, pool=address, dev=dev))
        self.note(moment_ns)

    def unmap(self, moment_ns: int, entry_ns: int, exit_ns: int, gone: Live) -> None:
        pool, slot, nslots, dev, _ = gone
        self.live.remove(gone)
        self.swiotlb.unmap(dev, pool.start + slot * SLOT_BYTES, 0)
        where = {"pool": pool.address, "start": pool.start, "dev": dev}
        self.events.append(released(entry_ns, exit_ns, slot, nslots, **where))
        self.note(moment_ns)

    def grow(self, moment_ns: int, entry_ns: int, exit_ns: int) -> None:
        pages = self._pages()
        self.swiotlb.add_pool(Pool(pages.address, pages.start, GROWN_NSLABS, NAREAS))
        self.events.append(allocated(max(entry_ns, moment_ns - 1), *pages, GROWN_NSLABS, NAREAS, cpu=9))
        self.events.append(grown(entry_ns, exit_ns, *pages, GROWN_NSLABS, NAREAS))
        self.note(moment_ns)

    def at(self, moment_ns: int) -> tuple[PoolState, ...]:
        return next(state for since_ns, state in reversed(self.states) if since_ns <= moment_ns)

    def copied(self, moments_ns: Sequence[int]) -> tuple[PoolState, ...]:
        """A copy of the pools listed at the first moment: of each, the areas first and then one slot after another.

        :param moments_ns: the first pool's; another's slots are copied with the last of these.
        """
        return tuple(self._copy(state.address, moments_ns) for state in self.at(moments_ns[0]))

    def _copy(self, address: int, moments_ns: Sequence[int]) -> PoolState:
        begin_ns, *each = moments_ns
        each += [each[-1]] * (GROWN_NSLABS - len(each))
        seen = {moment_ns: self._pool_at(address, moment_ns) for moment_ns in (begin_ns, *each)}
        begin = seen[begin_ns]
        slots = [seen[each[slot]] for slot in range(begin.nslabs)]
        return replace(
            begin,
            begin_ns=begin_ns,
            end_ns=each[-1],
            list_=tuple(of.list_[slot] for slot, of in enumerate(slots)),
            orig_addr=tuple(of.orig_addr[slot] for slot, of in enumerate(slots)),
            alloc_size=tuple(of.alloc_size[slot] for slot, of in enumerate(slots)),
        )

    def _pool_at(self, address: int, moment_ns: int) -> PoolState:
        return next(state for state in self.at(moment_ns) if state.address == address)

    def _pages(self) -> Pages:
        self._pools += 1
        return Pages(POOL + self._pools, START + self._pools * APART)


def _request(nslots: int) -> Request:
    return Request(0x20_0000, nslots * SLOT_BYTES, 0, LIMITS)
