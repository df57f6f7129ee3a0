"""Counters on a timeline: how many slots of pools and areas are in use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from swiotlb_top.accounting.pool_account import PoolAccount
from swiotlb_top.convert.packets import Tracks, counter
from swiotlb_top.recording.books import Level, Read

_MOST_AREAS: Final = 256
"""Areas have counters if a pool has no more of them than this."""


@dataclass(slots=True)
class _Counter:
    """The track of a value, and the track of the largest value so far."""

    track: int
    peak_track: int
    value: int = -1
    peak: int = -1


@dataclass(slots=True)
class _Pool:
    used: int
    areas: list[int]
    counters: dict[int, _Counter] = field(default_factory=dict)
    """The counters by the number of the area; that of the whole pool at -1."""


class Levels:
    """Writes counters as mappings begin and end. All transient pools together have one counter."""

    def __init__(self, tracks: Tracks) -> None:
        self._tracks = tracks
        self._pools: dict[PoolAccount, _Pool] = {}
        self._by_start: dict[int, dict[int, _Counter]] = {}
        """The counters of pools by address, so that a pool has the same ones after a state was read again."""
        self._totals: dict[str, _Counter] = {}

    def read(self, read: Read) -> None:
        """A state was read, which shows how many slots are in use."""
        self._pools = {}
        for pool, areas in read.pools:
            self._pools[pool] = known = _Pool(sum(areas), list(areas), self._by_start.setdefault(pool.start, {}))
            self._pool(read.time_ns, pool, known)

    def forget(self) -> None:
        """Events were lost: nothing is known of the pools until the next state."""
        self._pools = {}

    def changed(self, time_ns: int, pool: PoolAccount | None, slot: int | None, level: Level | None) -> None:
        """A mapping began or ended in a pool, of which it is known how many slots are in use now."""
        if pool is None or level is None:
            return
        self._total(time_ns, "all pools", level.all)
        if pool.transient:
            self._total(time_ns, "transient pools", level.transient)
            return
        if pool not in self._pools:
            areas = [0] * pool.nareas if pool.nareas <= _MOST_AREAS else []
            self._pools[pool] = _Pool(0, areas, self._by_start.setdefault(pool.start, {}))
        known = self._pools[pool]
        more, known.used = level.pool - known.used, level.pool
        self._set(time_ns, self._counter(known, pool, -1), known.used)
        area = (slot or 0) // max(1, pool.nslabs // pool.nareas)
        if len(known.areas) > 1 and 0 <= area < len(known.areas):
            known.areas[area] += more
            self._set(time_ns, self._counter(known, pool, area), known.areas[area])

    def _pool(self, time_ns: int, pool: PoolAccount, known: _Pool) -> None:
        self._set(time_ns, self._counter(known, pool, -1), known.used)
        if 1 < len(known.areas) <= _MOST_AREAS:
            for area, used in enumerate(known.areas):
                self._set(time_ns, self._counter(known, pool, area), used)

    def _total(self, time_ns: int, name: str, value: int) -> None:
        if name not in self._totals:
            self._totals[name] = self._new(name)
        self._set(time_ns, self._totals[name], value)

    def _counter(self, known: _Pool, pool: PoolAccount, area: int) -> _Counter:
        if area not in known.counters:
            name = f"pool {pool.start:#x}"
            known.counters[area] = self._new(name if area < 0 else f"{name} area {area}")
        return known.counters[area]

    def _new(self, name: str) -> _Counter:
        parent = self._tracks.of("slots")
        return _Counter(
            self._tracks.new(f"{name} used", parent, counts="slots"),
            self._tracks.new(f"{name} peak", parent, counts="slots"),
        )

    def _set(self, time_ns: int, known: _Counter, value: int) -> None:
        if value != known.value:
            known.value = value
            self._tracks.add(counter(time_ns, known.track, value))
        if value > known.peak:
            known.peak = value
            self._tracks.add(counter(time_ns, known.peak_track, value))
