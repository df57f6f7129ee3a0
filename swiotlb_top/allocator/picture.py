"""A slot set as text, for reports of disagreement."""

from __future__ import annotations

from swiotlb_top.allocator.pool import Pool
from swiotlb_top.constants import IO_TLB_SEGSIZE

_LINE_SLOTS = 64


def picture(pool: Pool, around_slot: int) -> str:
    """The slot set of ``around_slot``, one character for each slot, 64 on a line.

    ``.`` free, ``[`` the first slot of a mapping, ``-`` the rest of it, ``~`` padding before its
    buffer, ``#`` in use by no known mapping. A caret marks ``around_slot``, ``>`` under a slot where
    the search of an area goes on next.

    :raises ValueError: the pool has no such slot.
    """
    if not 0 <= around_slot < pool.nslabs:
        raise ValueError(f"there is no slot {around_slot} in a pool of {pool.nslabs}")
    first = around_slot // IO_TLB_SEGSIZE * IO_TLB_SEGSIZE
    end = min(first + IO_TLB_SEGSIZE, pool.nslabs)
    slots = ["." if pool.free_run(slot) else "#" for slot in range(first, end)]
    for mapping in pool.mappings_near(around_slot):
        begin = mapping.slot - first
        padding = "~" * (mapping.pad_slots - 1)
        rest = "-" * (mapping.nslots - 1 - len(padding))
        slots[begin : begin + mapping.nslots] = f"[{padding}{rest}"
    marks = _marks(pool, first, end)
    marks[around_slot - first] = "^"
    lines = []
    for begin in range(0, end - first, _LINE_SLOTS):
        lines.append(f"{first + begin:6} {''.join(slots[begin : begin + _LINE_SLOTS])}")
        marked = "".join(marks[begin : begin + _LINE_SLOTS]).rstrip()
        if marked:
            lines.append(f"{'':6} {marked}")
    return "\n".join(lines)


def _marks(pool: Pool, first: int, end: int) -> list[str]:
    searched_next = {area * pool.area_nslabs + index for area, index in enumerate(pool.area_index)}
    return [">" if slot in searched_next else " " for slot in range(first, end)]
