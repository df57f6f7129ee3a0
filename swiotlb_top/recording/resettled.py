"""Pools moved to another place in memory, in which a search finds the same slots."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from swiotlb_top.constants import PAGE_SIZE
from swiotlb_top.errors import CannotError

_FIRST: Final = 1 << 24
"""The new address of the first pool is above this."""
_MOST_BITS: Final = 20
"""How many low bits of an address may be kept. They show no more than where in a MiB it lies."""


class Resettled:
    """Moves pools to other addresses. They keep their order, and those that touch or overlap move together.

    :param pools: first address of each pool, and the address behind its end.
    :param align_masks: address bits that a device or a caller asks to keep.
    :param boundary_masks: masks of the segments that no mapping may cross, each 2^k - 1.
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
        """For each cluster of pools: the address behind its end, and by how many bytes it moves."""
        free = _FIRST
        for begin, end in _clusters(pools):
            to = self._at(free, begin, end - begin, whole)
            self._begins.append(begin)
            self._moved.append((end, to - begin))
            free = to + end - begin + PAGE_SIZE

    def place(self, address: int) -> int:
        """The new address of one in a pool. Of any other address only the low bits are kept, which lie in no pool."""
        at = bisect_right(self._begins, address) - 1
        if at >= 0 and address < self._moved[at][0]:
            return address + self._moved[at][1]
        return self.kept(address)

    def kept(self, address: int) -> int:
        """The low bits of an address that are kept."""
        return address & self._kept

    def _at(self, free: int, begin: int, size: int, boundary_masks: Iterable[int]) -> int:
        """The first address from ``free`` on at which searches in a cluster find the same slots as at ``begin``.

        :param size: bytes of the cluster.
        :param boundary_masks: segments that the cluster did not cross, and must not cross there.
        """
        low, step = begin & self._kept, self._kept + 1
        to = -(-(free - low) // step) * step + low
        for mask in sorted(boundary_masks):
            if _crosses(to, to + size, mask):
                to = ((to | mask) + 1) + low
        return to


def _crosses(begin: int, end: int, mask: int) -> bool:
    return begin & ~mask != (end - 1) & ~mask


def _clusters(pools: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Pools that touch or overlap, joined: first address and the address behind the end, in order."""
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
