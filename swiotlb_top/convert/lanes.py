"""Lanes of a device's timeline. Mappings that are held at the same time are drawn in different lanes."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Lanes:
    """The lanes of one device. Each is a track, and shows one mapping at a time.

    :param new: makes another track, and returns its number.
    """

    def __init__(self, new: Callable[[], int]) -> None:
        self._new = new
        self._free: list[tuple[int, int]] = []
        """A heap of pairs: the time at which the last mapping of a lane ended, and the lane."""

    def take(self, begin_ns: int) -> int:
        """A lane that is free at a time, or a new one.

        Events may be out of order: a lane whose last mapping ended after ``begin_ns`` is not free.
        """
        if self._free and self._free[0][1] <= begin_ns:
            return heapq.heappop(self._free)[0]
        return self._new()

    def give_back(self, lane: int, end_ns: int) -> None:
        """The mapping in a lane ended: the lane is free from then on."""
        heapq.heappush(self._free, (lane, end_ns))
