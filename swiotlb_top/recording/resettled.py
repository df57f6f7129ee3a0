"""Pools moved to another place in memory, in which a search finds the same slots."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from swiotlb_top.constants import PAGE_SIZE
from swiotlb_top.errors import CannotError

_FIRST: Final = 1 << 24
"""Where the first pool goes."""
_MOST_BITS: Final = 20
"""So many low bits of an address say little of it: where in a MiB."""


class Resettled:
    """Where addresses in pools go. Pools that touch or overlap move as one, and all keep their order.

    :param pools: from where to where each lies.
    :param align_masks: the bits of addresses that somebody asks to keep.
    :param boundary_masks: of segments that no mapping may cross, 2^k - 1.
    :raises CannotError: more bits would have to be kept than hide the address.
    """

    def __init__(
        self, pools: Collection[tuple[int, int]], align_masks: Iterable[int], boundary_masks: Iterable[int]
    ) -> None:
        crossed = [mask for mask in boundary_masks if any(_crosses(begin, end, mask) for begin, end in pools)]
        self._kept = (1 << max(PAGE_SIZE - 1, *align_masks, *crossed).bit_length()) - 1
        if self._kept.bit_length() > _MOST_BITS:
            raise CannotError(
                f"placement depends on {self._kept.bit_length()} bits of addresses, which would reveal them",
                "share the recording as it is, or not at all",
            )
        whole = [mask for mask in {*boundary_masks} if mask not in crossed]
        self._begins: list[int] = []
        self._moved: list[tuple[int, int]] = []
        """Of each cluster, where it ends, and by how much it moves."""
        free = _FIRST
        for begin, end in _clusters(pools):
            to = self._at(free, begin, end - begin, whole)
            self._begins.append(begin)
            self._moved.append((end, to - begin))
            free = to + end - begin + PAGE_SIZE

    def place(self, address: int) -> int:
        """Where an address goes; one in no pool goes where there is none, and 0 stays."""
        at = bisect_right(self._begins, address) - 1
        if at >= 0 and address < self._moved[at][0]:
            return address + self._moved[at][1]
        return self.kept(address)

    def kept(self, address: int) -> int:
        """The bits of an address that are kept."""
        return address & self._kept

    def _at(self, free: int, begin: int, size: int, boundary_masks: Iterable[int]) -> int:
        """The first place from ``free`` on that is as good as where a cluster began."""
        low, step = begin & self._kept, self._kept + 1
        to = -(-(free - low) // step) * step + low
        for mask in sorted(boundary_masks):
            if _crosses(to, to + size, mask):
                to = ((to | mask) + 1) + low
        return to


def _crosses(begin: int, end: int, mask: int) -> bool:
    return begin & ~mask != (end - 1) & ~mask


def _clusters(pools: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What lies in one piece, in order."""
    piece: tuple[int, int] | None = None
    for begin, end in sorted(pools):
        if piece is not None and begin <= piece[1]:
            piece = piece[0], max(piece[1], end)
            continue
        if piece is not None:
            yield piece
        piece = begin, end
    if piece is not None:
        yield piece
