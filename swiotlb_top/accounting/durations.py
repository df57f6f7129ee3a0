"""How long things took: maps in the kernel, and mappings from their map to their release."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Final

from swiotlb_top.accounting.snapshot import FINE_SCHEMA, HOLD_BUCKETS_NS, LATENCY_BUCKETS_NS, UNKNOWN
from swiotlb_top.events import Find, Map

LATEST: Final = 512
"""Percentiles are taken over this many: enough for a p99, and few enough to show a change soon."""
_FINEST: Final = math.ceil(math.log2(1e-9) * 2**FINE_SCHEMA)
"""The bucket of one nanosecond, and of less."""
_FINE_BOUNDS_NS: Final = tuple(int(2 ** (i / 2**FINE_SCHEMA) * 1e9) for i in range(_FINEST, 35 << FINE_SCHEMA))
"""Up to what 64 bits of nanoseconds hold."""
BOUNDS_NS: Final = tuple(sorted({*LATENCY_BUCKETS_NS, *_FINE_BOUNDS_NS}))
"""Upper bounds of cells. Each cell lies in one coarse and in one fine bucket, so that one search finds both."""
_COARSE: Final = tuple(bisect_left(LATENCY_BUCKETS_NS, bound_ns) for bound_ns in BOUNDS_NS)
_FINE: Final = tuple(_FINEST + bisect_left(_FINE_BOUNDS_NS, bound_ns) for bound_ns in BOUNDS_NS)
"""Which buckets these are, by cell."""


class Latest:
    """The latest :data:`LATEST` durations, in nanoseconds, and their percentiles."""

    __slots__ = ("_latest", "_sorted")

    def __init__(self) -> None:
        self._latest: deque[int] = deque(maxlen=LATEST)
        self._sorted: list[int] | None = []

    def percentile(self, percent: int) -> int:
        """The time in nanoseconds that ``percent`` % of the latest did not exceed; -1 if there was none."""
        if self._sorted is None:
            self._sorted = sorted(self._latest)
        ordered = self._sorted
        return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else UNKNOWN


class Latencies(Latest):
    """How long maps took in the kernel: the latest of them, and all of them in coarse and fine buckets."""

    __slots__ = ("_cells", "sum_ns")

    def __init__(self) -> None:
        super().__init__()
        self._cells: defaultdict[int, int] = defaultdict(int)
        self.sum_ns = 0

    def add(self, took_ns: int) -> None:
        self._latest.append(took_ns)
        self._sorted = None
        self._cells[bisect_left(BOUNDS_NS, took_ns)] += 1
        self.sum_ns += took_ns

    def add_many(self, cells: Iterable[int], sum_ns: int, latest_ns: Iterable[int]) -> None:
        """Add durations that were counted elsewhere.

        :param cells: how many there are of each cell: they exceed a bound of :data:`BOUNDS_NS`, and not the next.
        :param sum_ns: all of them together.
        :param latest_ns: the last of them, oldest first.
        """
        for cell, maps in enumerate(cells):
            if maps:
                self._cells[cell] += maps
        self.sum_ns += sum_ns
        self._latest.extend(latest_ns)
        self._sorted = None

    @property
    def counts(self) -> tuple[int, ...]:
        """Maps by :data:`LATENCY_BUCKETS_NS`."""
        found = self._by(_COARSE)
        return tuple(found[bucket] for bucket in range(len(LATENCY_BUCKETS_NS) + 1))

    @property
    def fine(self) -> tuple[tuple[int, int], ...]:
        """Numbers of fine buckets with the maps in each, the fastest first."""
        return tuple(sorted(self._by(_FINE).items()))

    def _by(self, buckets: Sequence[int]) -> defaultdict[int, int]:
        found: defaultdict[int, int] = defaultdict(int)
        for cell, maps in self._cells.items():
            found[buckets[cell]] += maps
        return found


class Lifetimes(Latest):
    """How long mappings are held, from the return of the map to that of the release, and which are still open.

    Only mappings whose map was seen are in it.
    """

    __slots__ = ("_counts", "_open", "longest_ns")

    def __init__(self) -> None:
        super().__init__()
        self._counts = [0] * (len(HOLD_BUCKETS_NS) + 1)
        self._open: dict[int, Find | Map] = {}
        """By where the call lies in memory, in the order in which they were recorded."""
        self.longest_ns = UNKNOWN
        """Of all mappings that were released; -1 if none was."""

    def began(self, call: Find | Map) -> None:
        """A mapping was made."""
        self._open[id(call)] = call

    def ended(self, call: Find | Map | None, exit_ns: int) -> None:
        """The mapping that ``call`` made was released at ``exit_ns``. One that did not begin here is not counted."""
        began = self._open.pop(id(call), None)
        if began is None:
            return
        held_ns = exit_ns - began.exit_ns
        if held_ns < 0:  # clocks of two CPUs may differ by a little
            held_ns = 0
        self._latest.append(held_ns)
        self._sorted = None
        self._counts[bisect_left(HOLD_BUCKETS_NS, held_ns)] += 1
        if held_ns > self.longest_ns:
            self.longest_ns = held_ns

    def begin_of(self, call: Find | Map | None) -> int | None:
        """When the map was over that is still open; None if it is not, or did not begin here."""
        began = self._open.get(id(call))
        return began.exit_ns if began else None

    def ended_many(self, calls: Iterable[Find | Map], counts: Iterable[int], latest_ns: Iterable[int]) -> None:
        """Mappings were released, and counted elsewhere.

        :param calls: the maps of those that began here.
        :param counts: all of them, by :data:`HOLD_BUCKETS_NS`.
        :param latest_ns: for how long the last of them were held, oldest first.
        """
        for call in calls:
            self._open.pop(id(call), None)
        self._counts = [one + other for one, other in zip(self._counts, counts, strict=True)]
        self._latest.extend(latest_ns)
        self._sorted = None

    def forget_open(self) -> None:
        """Events were lost: which mappings are still open is not known."""
        self._open.clear()

    @property
    def counts(self) -> tuple[int, ...]:
        """Released mappings by :data:`HOLD_BUCKETS_NS`; empty if there was none."""
        return tuple(self._counts) if self.longest_ns >= 0 else ()

    @property
    def oldest_ns(self) -> int:
        """When the oldest open mapping was made; -1 if none is open that is known."""
        oldest = next(iter(self._open.values()), None)
        return oldest.exit_ns if oldest else UNKNOWN
