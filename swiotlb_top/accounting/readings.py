"""What charts show of two hours: totals read one after another, those of long ago together, so that few are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from swiotlb_top.accounting.past import Past
from swiotlb_top.accounting.snapshot import per_second

MOST: Final = 1024
"""So many readings are kept. When there are more, each two become one: the latest are always apart."""
_WIDEST_NS: Final = 16_000_000_000
"""Two do not become one that is longer. Of two hours there are fewer than :data:`MOST` that cannot be merged."""
KEPT_NS: Final = 7_200_000_000_000
"""How far back they reach."""


class Reading(NamedTuple):
    """A time, and the highest that was read in it. A rate that is not known is 0."""

    begin_ns: int
    end_ns: int
    used_slots: int
    maps_per_second: float
    map_failures_per_second: float
    mapped_bytes_per_second: float

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was called in it."""
        return not (self.maps_per_second or self.map_failures_per_second or self.mapped_bytes_per_second)

    def merged(self, later: Reading) -> Reading:
        """With the one that follows it."""
        return Reading(
            self.begin_ns,
            later.end_ns,
            max(self.used_slots, later.used_slots),
            max(self.maps_per_second, later.maps_per_second),
            max(self.map_failures_per_second, later.map_failures_per_second),
            max(self.mapped_bytes_per_second, later.mapped_bytes_per_second),
        )


def with_reading(readings: tuple[Reading, ...], before: Past, now: Past) -> tuple[Reading, ...]:
    """The readings, the oldest first, and one more of the time between two totals.

    While nothing happens the last one grows, however often it is read.
    """
    if now.time_ns <= before.time_ns:
        return readings
    new = _between(before, now)
    last = readings[-1] if readings else None
    if last and last.is_quiet and new.is_quiet and last.used_slots == new.used_slots:
        return (*readings[:-1], last.merged(new))
    since_ns = new.end_ns - KEPT_NS
    first = next((at for at, reading in enumerate(readings) if reading.end_ns > since_ns), len(readings))
    kept = (*readings[first:], new)
    return kept if len(kept) <= MOST else tuple(_in_pairs(kept))


def readings_of(totals: Iterable[Past]) -> tuple[Reading, ...]:
    """The readings between each two of some totals."""
    readings: tuple[Reading, ...] = ()
    for before, now in pairwise(totals):
        readings = with_reading(readings, before, now)
    return readings


def _between(before: Past, now: Past) -> Reading:
    elapsed_ns = now.time_ns - before.time_ns

    def rate(then: int, later: int) -> float:
        return per_second(later, then, elapsed_ns) if then >= 0 and later >= 0 else 0.0

    return Reading(
        before.time_ns,
        now.time_ns,
        max(now.used_slots, 0),
        rate(before.maps, now.maps),
        rate(before.map_failures, now.map_failures),
        rate(before.mapped_bytes, now.mapped_bytes),
    )


def _in_pairs(readings: Sequence[Reading]) -> Iterator[Reading]:
    at = 0
    while at < len(readings):
        pair = readings[at : at + 2]
        if len(pair) == 2 and pair[1].end_ns - pair[0].begin_ns <= _WIDEST_NS:
            yield pair[0].merged(pair[1])
            at += 2
        else:
            yield pair[0]
            at += 1
