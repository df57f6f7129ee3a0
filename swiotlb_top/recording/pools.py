"""The pools of a recording: when each was added and freed, and how full it got."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from swiotlb_top.accounting.fields import pool_kind
from swiotlb_top.accounting.pool_account import PoolAccount
from swiotlb_top.recording.clock import Clock
from swiotlb_top.recording.rows import Pool


@dataclass(slots=True)
class _Seen:
    pool: PoolAccount
    since_ns: int
    """When it was added. 0: before the recording; -1: not known."""
    peak_is_known: bool
    maps: int = 0
    peak_used_slots: int = 0


class PoolsSeen:
    """The pools that had a mapping or were on the list, by the address of their ``struct io_tlb_pool``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._there: dict[int, _Seen] = {}
        self._blind = True
        """Whether calls may be missing since the latest state."""

    def lost(self) -> None:
        """Calls are missing, by which any of the pools may have become fuller than is known."""
        self._blind = True
        for known in self._there.values():
            known.peak_is_known = False

    def seen(self, pool: PoolAccount) -> _Seen:
        """Note a pool that an event or a state shows."""
        known = self._there.get(pool.address)
        if known is None:
            known = _Seen(pool, pool.since_ns, not self._blind, peak_used_slots=pool.used_slots)
            self._there[pool.address] = known
        return known

    def took(self, pool: PoolAccount) -> None:
        """A mapping was made in this pool."""
        known = self.seen(pool)
        known.maps += 1
        known.peak_used_slots = max(known.peak_used_slots, pool.used_slots)

    def gone(self, address: int, time_ns: int, was_seen: bool) -> Iterator[Pool]:
        """The memory of the pool at an address was freed, or is used for another pool now. A pool on the list stays.

        :param was_seen: whether the event that freed it is in the recording.
        """
        known = self._there.get(address)
        if known is not None and known.pool.transient:
            del self._there[address]
            yield self._row(known, time_ns if was_seen else None)

    def read(self, pools: Iterable[PoolAccount]) -> Iterator[Pool]:
        """A state from which the account begins shows these pools. All other pools are gone.

        :returns: rows of the pools that are gone.
        """
        self._blind = False
        before, self._there = self._there, {}
        for pool in pools:
            known = before.get(pool.address)
            if known is None or (known.pool.start, known.pool.nslabs) != (pool.start, pool.nslabs):
                self.seen(pool)
            else:
                del before[pool.address]
                known.pool, known.peak_used_slots = pool, max(known.peak_used_slots, pool.used_slots)
                self._there[pool.address] = known
        for known in before.values():
            yield self._row(known, None)

    def rest(self) -> Iterator[Pool]:
        """The recording is over: rows of the pools that are still there."""
        for known in self._there.values():
            yield self._row(known, None)
        self._there = {}

    def _row(self, known: _Seen, freed_ns: int | None) -> Pool:
        pool, since_ns = known.pool, known.since_ns if known.since_ns > 0 else None
        return Pool(
            pool=f"{pool.start:#x}" if pool.start else None,
            pool_kind=pool_kind(pool),
            nslabs=pool.nslabs,
            nareas=pool.nareas,
            added_wall_ns=None if since_ns is None else self._clock.wall_ns(since_ns),
            freed_wall_ns=None if freed_ns is None else self._clock.wall_ns(freed_ns),
            added_ns=since_ns,
            freed_ns=freed_ns,
            maps=known.maps,
            peak_used_slots=known.peak_used_slots if known.peak_is_known else None,
        )
