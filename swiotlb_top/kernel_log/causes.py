"""Why a map failed, as far as the kernel's line tells: in the reference's words, and never more than the line says."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from swiotlb_top.allocator import ABSURD_BYTES, Cause
from swiotlb_top.constants import IO_TLB_SEGSIZE, IO_TLB_SIZE, MAX_ALLOC_BYTES
from swiotlb_top.kernel_log.lines import Line
from swiotlb_top.kernel_log.wordings import Kind

_WRAPPED_SLOTS: Final = 1 << 31
"""A counter of slots that reads more than this has fallen below 0."""
_MOST_PADDING_BYTES: Final = IO_TLB_SIZE - 1
"""Before 6.9 a size is printed without what is put before a buffer, so that its low bits stay the same."""


_MOST_ADDRESS_BITS: Final = 56
"""No processor addresses memory beyond."""


class LogCause(Enum):
    """What a line tells of the cause. What each means is in :mod:`.meanings`."""

    NOT_INITIALISED = Cause.NOT_INITIALISED.value
    ABSURD_SIZE = Cause.ABSURD_SIZE.value
    TOO_LARGE = Cause.TOO_LARGE.value
    EXHAUSTED = Cause.EXHAUSTED.value
    NO_RUN = "no_run"
    UNSUITABLE_RUN = "unsuitable_run"
    UNTOLD = "untold"
    UNREACHABLE = "unreachable"
    NOT_BOUNCED = "not_bounced"
    POOL_NOT_ADDED = "pool_not_added"
    POOL_NOT_MADE = "pool_not_made"
    MISUSE = "misuse"

    @property
    def fails_maps(self) -> bool:
        """Whether each such line is a map that failed."""
        return self not in (LogCause.POOL_NOT_ADDED, LogCause.POOL_NOT_MADE, LogCause.MISUSE)

    @property
    def possible(self) -> tuple[Cause, ...]:
        """The reference's causes that the line leaves possible, the likelier first; one where it is known."""
        return _POSSIBLE.get(self, ())


_RARELY: Final = (Cause.PADDED, Cause.OVERTAKEN)
_POSSIBLE: Final = {
    LogCause.NOT_INITIALISED: (Cause.NOT_INITIALISED,),
    LogCause.ABSURD_SIZE: (Cause.ABSURD_SIZE,),
    # Since 6.9 the size has the padding in it.
    LogCause.TOO_LARGE: (Cause.TOO_LARGE, Cause.PADDED),
    LogCause.EXHAUSTED: (Cause.EXHAUSTED,),
    # What was in use is counted after the search: it may have been more before others gave back.
    LogCause.NO_RUN: (Cause.FRAGMENTED, Cause.MISALIGNED, Cause.BOUNDARY, Cause.EXHAUSTED, *_RARELY),
    LogCause.UNSUITABLE_RUN: (Cause.MISALIGNED, Cause.BOUNDARY, Cause.EXHAUSTED, Cause.FRAGMENTED, *_RARELY),
    LogCause.UNTOLD: (Cause.EXHAUSTED, Cause.FRAGMENTED, Cause.MISALIGNED, Cause.BOUNDARY, *_RARELY),
}

_BY_KIND: Final = {
    Kind.NO_POOL: LogCause.NOT_INITIALISED,
    Kind.UNREACHABLE: LogCause.UNREACHABLE,
    Kind.NOT_BOUNCED: LogCause.NOT_BOUNCED,
    Kind.POOL_NOT_ADDED: LogCause.POOL_NOT_ADDED,
    Kind.POOL_NOT_MADE: LogCause.POOL_NOT_MADE,
    Kind.MISUSE: LogCause.MISUSE,
}


class Verdict(NamedTuple):
    """The cause, and what is odd about the line's numbers, a sentence each."""

    cause: LogCause
    remarks: tuple[str, ...] = ()


def cause_of(line: Line) -> Verdict | None:
    """Why; None for a line that tells of no trouble of its own (of boot, of lines not printed, or one unknown)."""
    if line.kind is Kind.ECHO and line.mask is not None:
        return Verdict(LogCause.UNREACHABLE, _reach(line))
    if line.kind in (Kind.REFUSED, Kind.ECHO):
        return _refused(line)
    cause = _BY_KIND.get(line.kind)
    return Verdict(cause, _reach(line)) if cause else None


def needed_slots(size_bytes: int) -> int:
    """Slots that so many bytes take, at least one."""
    return max(1, -(-size_bytes // IO_TLB_SIZE))


def least_used_without_run(total_slots: int, needed: int) -> int:
    """Slots that must be in use, at least, for no run of ``needed`` (1..128) slots to be free anywhere.

    A run lies in one slot set of 128, and one slot in use in each ``needed`` of them is what it takes.
    """
    return total_slots // IO_TLB_SEGSIZE * (IO_TLB_SEGSIZE // needed)


def _reach(line: Line) -> tuple[str, ...]:
    """How far the address of a line lies beyond what the device can address."""
    if line.address is None or line.mask is None:
        return ()
    last = line.address + max(line.size_bytes or 1, 1) - 1
    if last.bit_length() > _MOST_ADDRESS_BITS:
        return (f"No machine has memory at {line.address:#x}: a caller handed over what is no address of a buffer.",)
    if last > line.mask:
        bits = line.mask.bit_length()
        return (f"The address takes {last.bit_length()} bits, and the device's DMA mask has {bits}.",)
    if line.bus_limit and last > line.bus_limit:
        return ("The address is within the device's DMA mask, and beyond the limit of the bus that it is on.",)
    return ("The address is within the device's DMA mask and its bus's limit: it may be below where they begin.",)


def _refused(line: Line) -> Verdict:
    size, total, used = line.size_bytes, line.total_slots, line.used_slots
    if total == 0:
        return Verdict(LogCause.NOT_INITIALISED)
    if size is None:
        return Verdict(LogCause.UNTOLD, ("The line has no numbers.",))
    if not 0 <= size <= MAX_ALLOC_BYTES:
        return _beyond(size)
    if total is None or used is None:
        return Verdict(LogCause.UNTOLD, ("The line does not say how full the pool was (kernels before 5.2).",))
    if used > total:
        return Verdict(LogCause.UNTOLD, (_miscounted(total, used),))
    needed = needed_slots(size)
    if total - used < needed:
        return Verdict(LogCause.EXHAUSTED)
    return Verdict(*_no_run(size, total, used, needed))


def _beyond(size: int) -> Verdict:
    """More than any map can have, or less than nothing."""
    if 0 <= size < ABSURD_BYTES:
        return Verdict(LogCause.TOO_LARGE)
    absurd = f"{size} bytes is no size that anybody means: a driver's miscalculation."
    return Verdict(LogCause.ABSURD_SIZE, (absurd,))


def _no_run(size: int, total: int, used: int, needed: int) -> tuple[LogCause, tuple[str, ...]]:
    """Enough slots were free: was there a run of them that is long enough?"""
    remarks = []
    if needed_slots(size + _MOST_PADDING_BYTES) > IO_TLB_SEGSIZE:
        remarks.append(
            "Before 6.9 the size is printed without padding: with it, this map may have needed "
            f"{IO_TLB_SEGSIZE + 1} slots, and so have been too large."
        )
    enough = least_used_without_run(total, needed)
    if used >= enough:
        return LogCause.NO_RUN, tuple(remarks)
    remarks.append(
        f"To leave no run of {needed} slots free, at least {enough} of {total} must be in use, and {used} were: "
        "some run was long enough, at least right after the search."
    )
    return LogCause.UNSUITABLE_RUN, tuple(remarks)


def _miscounted(total: int, used: int) -> str:
    if used >= _WRAPPED_SLOTS:
        return (
            f"used reads {used}, which is a counter that fell below 0: kernels 6.4 to 6.8 set it to 0 while maps were "
            "there (Hyper-V's storage, for one). How full the pool was is not known."
        )
    return (
        f"used is {used} of {total}: pools that live for one mapping are counted in it (CONFIG_SWIOTLB_DYNAMIC), or "
        "it is wrong. How full the pools were is not known."
    )
