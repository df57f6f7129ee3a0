"""Runs of free slots in one slot set, a bit a slot (bit i set = slot i of the set is free).

The kernel keeps the length of the free run from each slot to its end in ``list``. A bit mask
holds the same knowledge: ``list[i]`` is the number of one-bits from bit i upwards.
"""

from __future__ import annotations

from typing import Final

from swiotlb_top.constants import IO_TLB_SEGSIZE


def _doubling(nslots: int) -> tuple[int, ...]:
    """Shifts that turn "is free" into "nslots are free from here", doubling the run each time."""
    shifts, run = [], 1
    while run < nslots:
        shift = min(run, nslots - run)
        shifts.append(shift)
        run += shift
    return tuple(shifts)


def _every(step: int) -> int:
    return sum(1 << slot for slot in range(0, IO_TLB_SEGSIZE, step))


ONES: Final = tuple((1 << nslots) - 1 for nslots in range(IO_TLB_SEGSIZE + 1))
"""``ONES[n]``: n slots, from bit 0."""

SHIFTS: Final = tuple(_doubling(nslots) for nslots in range(IO_TLB_SEGSIZE + 1))
"""``SHIFTS[n]``: ``for shift in SHIFTS[n]: m &= m >> shift`` leaves the starts of runs >= n."""

EVERY: Final = {1 << order: _every(1 << order) for order in range(IO_TLB_SEGSIZE.bit_length())}
"""``EVERY[step]``: each step-th slot of a set, from bit 0; step is a power of two up to 128."""


def run_starts(free: int, nslots: int) -> int:
    """The slots that begin a free run of at least ``nslots`` (1..128)."""
    for shift in SHIFTS[nslots]:
        free &= free >> shift
    return free


def run_length(free: int, offset: int) -> int:
    """Free slots from ``offset`` to the end of its run: the kernel's ``list`` (0 where in use)."""
    taken = ~(free >> offset)
    return (taken & -taken).bit_length() - 1


def longest_run(free: int) -> int:
    """The longest free run, 0..128."""
    if not free:
        return 0
    run, levels = 1, [free]
    while longer := levels[-1] & levels[-1] >> run:
        levels.append(longer)
        run *= 2
    # levels[k] has the starts of runs >= 2^k: add the smaller powers that still fit.
    starts = levels.pop()
    for step in range(len(levels) - 1, -1, -1):
        if longer := starts & levels[step] >> run:
            starts = longer
            run += 1 << step
    return run
