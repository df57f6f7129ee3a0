"""Lanes of a device's timeline: two mappings that are held at the same time are drawn in two."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Lanes:
    """Tracks, of which each has one mapping at a time. The first that is free is taken.

    :param new: makes another track.
    """

    def __init__(self, new: Callable[[], int]) -> None:
        self._new = new
        self._free: list[tuple[int, int]] = []
        """A heap of tracks, each with when its last mapping ended."""

    def take(self, begin_ns: int) -> int:
        """A track for a mapping that begins then. One whose last mapping ended later, as told before, is not free."""
        if self._free and self._free[0][1] <= begin_ns:
            return heapq.heappop(self._free)[0]
        return self._new()

    def give_back(self, lane: int, end_ns: int) -> None:
        """Its mapping ended then."""
        heapq.heappush(self._free, (lane, end_ns))
