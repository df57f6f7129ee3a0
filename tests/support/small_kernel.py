"""A small kernel that runs here: it does operations at moments of its own, while somebody copies its slots, each at
another moment. What a judge sees of it are the copies and the operations' intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from swiotlb_top.allocator import REVISIONS, Allocator, Found, Pages, Pool, Request
from swiotlb_top.allocator.geometry import nr_slots
from swiotlb_top.constants import INVALID_PHYS_ADDR
from swiotlb_top.events import Find, Grow, PoolAlloc, Unmap
from swiotlb_top.state import PoolState
from tests.support.histories import (
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
PADDED: Final = DEV + 2
"""A device that wants offsets kept, in what is"""
ALIGN_MASK: Final = 8 * SLOT_BYTES - 1
"""aligned: what begins behind whole slots of that is padded with as many."""
MAP_GOES_ON_NS: Final = 30
"""After the search: what the buffer is, is only written then."""
APART: Final = 1 << 30
"""Between the first slots of two pools."""


class Live(NamedTuple):
    """A mapping: where, for whom, and when its map returned. Of its slots the first ``pad_slots`` are padding."""

    pool: Pool
    slot: int
    nslots: int
    dev: int
    mapped_ns: int
    pad_slots: int


@dataclass(repr=False)
class Kernel:
    """Pools of two areas, the first one small, and what was done to them."""

    can_grow: bool = False
    events: list[Find | Unmap | Grow | PoolAlloc] = field(default_factory=list)
    live: list[Live] = field(default_factory=list)
    states: list[tuple[int, tuple[PoolState, ...]]] = field(default_factory=list)
    """The listed pools as they were from a moment on, newest first."""
    found: list[tuple[int, Live]] = field(default_factory=list)
    """What was ever mapped, and when its slots were found."""

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

    def map(
        self, moment_ns: int, entry_ns: int, exit_ns: int, cpu: int, nslots: int, dev: int = DEV, pad_slots: int = 0
    ) -> None:
        """A search; where no pool has room, a pool for it alone if pools may be had.

        :param pad_slots: 0..7, of a buffer of ``PADDED``'s.
        """
        request = _padded(nslots, pad_slots) if dev == PADDED else _request(nslots)
        place = self.swiotlb.find_slots(cpu, request)
        if place is None and self.can_grow:
            pages = self._pages()
            pool = self.swiotlb.transient_pool(request, pages)
            self.swiotlb.add_transient(dev, pool)
            self.events.append(
                allocated(max(entry_ns, moment_ns - 1), pages.address, pages.start, pool.nslabs, cpu=cpu)
            )
            place = Found(pool, 0)
        nslots = nr_slots(request.alloc_size_bytes)
        if place:
            place.pool.take(place.slot, request, dev)
            self.live.append(Live(*place, nslots, dev, exit_ns + MAP_GOES_ON_NS, pad_slots))
            self.found.append((moment_ns, self.live[-1]))
        slot, address = (place.slot, place.pool.address) if place else (-1, 0)
        search = found(entry_ns, exit_ns, slot, nslots, cpu=cpu, pool=address, dev=dev)
        self.events.append(search._replace(orig_addr=request.orig_addr, alloc_align_mask=request.alloc_align_mask))
        self.note(moment_ns)

    def unmap(self, moment_ns: int, entry_ns: int, exit_ns: int, gone: Live) -> None:
        pool, first, nslots, dev, _, pad_slots = gone
        self.live.remove(gone)
        slot = first + pad_slots
        self.swiotlb.unmap(dev, pool.start + slot * SLOT_BYTES, ALIGN_MASK if dev == PADDED else 0)
        where = {"pool": pool.address, "start": pool.start, "dev": dev}
        self.events.append(released(entry_ns, exit_ns, slot, nslots - pad_slots, **where))
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
        written = [not self._is_being_mapped(address, slot, each[slot]) for slot in range(begin.nslabs)]
        return replace(
            begin,
            begin_ns=begin_ns,
            end_ns=each[-1],
            list_=tuple(of.list_[slot] for slot, of in enumerate(slots)),
            orig_addr=tuple(
                of.orig_addr[slot] if written[slot] else INVALID_PHYS_ADDR for slot, of in enumerate(slots)
            ),
            alloc_size=tuple(of.alloc_size[slot] for slot, of in enumerate(slots)),
            pad_slots=tuple(of.pad_slots[slot] if written[slot] else 0 for slot, of in enumerate(slots)),
        )

    def _is_being_mapped(self, address: int, slot: int, moment_ns: int) -> bool:
        """Whether the slot was found for a map that has not returned yet."""
        of = [
            live.mapped_ns
            for found_ns, live in self.found
            if found_ns <= moment_ns and live.pool.address == address and live.slot <= slot < live.slot + live.nslots
        ]
        return bool(of) and of[-1] >= moment_ns

    def _pool_at(self, address: int, moment_ns: int) -> PoolState:
        return next(state for state in self.at(moment_ns) if state.address == address)

    def _pages(self) -> Pages:
        self._pools += 1
        return Pages(POOL + self._pools, START + self._pools * APART)


def _request(nslots: int) -> Request:
    return Request(0x20_0000, nslots * SLOT_BYTES, 0, LIMITS)


def _padded(nslots: int, pad_slots: int) -> Request:
    """Of at least so many slots, with the padding."""
    limits = LIMITS._replace(min_align_mask=ALIGN_MASK)
    orig_addr = 0x20_0000 + pad_slots * SLOT_BYTES
    return REVISIONS["6.10"].request(max(nslots - pad_slots, 1) * SLOT_BYTES, orig_addr, ALIGN_MASK, limits)
