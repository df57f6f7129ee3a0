"""How many slots a slot set of a kernel has: vendors change IO_TLB_SEGSIZE, and only its free lists tell."""

from __future__ import annotations

from typing import Final

from swiotlb_top.constants import IO_TLB_SEGSIZE
from swiotlb_top.errors import CannotError
from swiotlb_top.state import MemState

_HALF: Final = IO_TLB_SEGSIZE // 2


def slot_set_slots(mem: MemState) -> int | None:
    """Slots of a slot set: so many ``list`` says of the first slot of one that is empty, and nowhere more.

    :returns: :data:`IO_TLB_SEGSIZE` unless a free list shows that there are more, or fewer; None where no slot is free.
        If sets are larger and none is empty, they may be larger still.
    """
    longest = max((run for pool in mem.pools for run in pool.list_), default=0)
    if longest > IO_TLB_SEGSIZE:
        return longest
    # Of two free slots in the middle of 128, a run ends with the first if a set ends there, and goes on if not.
    middles = [(pool.list_[_HALF - 1 :: IO_TLB_SEGSIZE], pool.list_[_HALF::IO_TLB_SEGSIZE]) for pool in mem.pools]
    ends = [run == 1 for middle in middles for run, next_run in zip(*middle, strict=False) if run and next_run]
    is_smaller = mem.settled and 0 < longest <= _HALF and bool(ends) and all(ends)
    return longest if is_smaller else IO_TLB_SEGSIZE if longest else None


def check_slot_sets(mem: MemState) -> None:
    """Refuse a kernel whose slot sets are others than those that the reference knows.

    :raises CannotError: they are.
    """
    slots = slot_set_slots(mem)
    if slots not in (IO_TLB_SEGSIZE, None):
        raise CannotError(
            f"its slot sets have {slots} slots (IO_TLB_SEGSIZE), and the reference knows sets of {IO_TLB_SEGSIZE}"
        )
