"""The disagreements of a recording that is shown: what the log says of them, and where each is known."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

from swiotlb_top.accounting.assemble import in_a_line
from swiotlb_top.accounting.journal import Entry, disagreement
from swiotlb_top.verify import Divergence, Listener

MOST: Final = 10_000
"""So many are kept, as many as are found before nothing more is compared."""


class Disagreements(Listener):
    """Notes each disagreement when it is known for good, with what the kernel did and what the reference does."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[Entry] = []

    def diverged(self, divergence: Divergence) -> None:
        if len(self._entries) < MOST:
            self._entries.append(disagreement(divergence.time_ns, in_a_line(divergence)))

    def until(self, time_ns: int) -> list[Entry]:
        """Those of calls that were over by a time."""
        return [entry for entry in self._entries if entry.time_ns <= time_ns]


def neighbour(positions_ns: Sequence[int], position_ns: int, step: int) -> int | None:
    """The next of some positions after another one, or the previous one before it; None if there is none.

    :param positions_ns: sorted.
    :param step: 1 for the next, -1 for the previous.
    """
    if step > 0:
        at = bisect_right(positions_ns, position_ns)
        return positions_ns[at] if at < len(positions_ns) else None
    at = bisect_left(positions_ns, position_ns)
    return positions_ns[at - 1] if at else None
