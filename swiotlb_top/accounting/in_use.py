"""How many slots are in use: the sum over the areas where they can be read, else the kernel's own count, if credible.

The kernel's count (``io_tlb_used``, ``total_used``) can be wrong for good. It was zeroed late in the boot by 6.4 to
6.8, with slots in use on machines whose disks bounce (Hyper-V): from then on it lacks those slots, and reads close to
2^64 once they are given back. The high water is taken from the same count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from swiotlb_top.accounting.snapshot import UNKNOWN
from swiotlb_top.kernel.debugfs import Counters
from swiotlb_top.state import MemState

SUMMED: Final = (
    "the kernel's own count of slots in use (io_tlb_used) has been above all there are, and is not believed: shown is "
    "the sum over the areas; the high water is not known"
)
"""The note where the areas can be read."""
NOT_KNOWN: Final = (
    "the kernel's own count of slots in use (io_tlb_used) has been above all there are, and is not believed: how many "
    "are in use, and the high water, only the live source can tell"
)
"""The note where they cannot."""
SINCE_ATTACHING: Final = (
    "the kernel keeps no high water: shown is the most in use since swiotlb-top attached its probes"
)
"""The note where the probes keep one."""
_MORE_THAN_ANY_MACHINE_HAS: Final = 1 << 32
"""Slots: 8 TiB."""


@dataclass(frozen=True, slots=True)
class InUse:
    """How many slots are in use, and were at most; -1 is not known."""

    used_slots: int
    used_hiwater_slots: int
    credible: bool = True
    """Whether the kernel's own count can be true. Once it was impossible, it is not believed again."""
    note: str = ""
    """What to tell people about it; empty if the kernel's count is credible."""
    hiwater_is_own: bool = False
    """Whether the high water is that since the probes came, and not the kernel's since boot."""


class OwnHiwater:
    """The most slots that were in use since the probes came, for kernels that keep none."""

    def __init__(self) -> None:
        self._most_slots = UNKNOWN
        self._hiwater_slots = 0

    def instead(self, in_use: InUse, most_slots: int, earlier_slots: int) -> InUse:
        """With this high water, and a note that says so, where the kernel's is not known.

        :param most_slots: the most that mappings held at once which were made since the probes came.
        :param earlier_slots: what older mappings hold still, read later than ``most_slots``. They become fewer, so the
            sum of the two was in use if the former has risen, and perhaps more if these became fewer meanwhile.
        """
        if most_slots > self._most_slots:
            self._most_slots = most_slots
            self._hiwater_slots = max(self._hiwater_slots, most_slots + earlier_slots)
        self._hiwater_slots = max(self._hiwater_slots, in_use.used_slots)
        if in_use.used_hiwater_slots >= 0:
            return in_use
        return replace(
            in_use,
            used_hiwater_slots=self._hiwater_slots,
            note=in_use.note or SINCE_ATTACHING,
            hiwater_is_own=True,
        )


def of_state(mem: MemState, *, credible: bool = True) -> InUse:
    """The slots in use by a state that the probes read, those of transient pools included.

    :param credible: whether the kernel's own count has been credible so far.
    """
    summed = sum(area.used for pool in mem.pools for area in pool.areas)
    # Transient pools are on no list. Kernels that have some and do not say how many (6.6 and 6.7) count them in total.
    complete = not mem.dynamic or mem.transient_nslabs >= 0
    transient = max(0, mem.transient_nslabs)
    credible = credible and not _impossible(mem.total_used, mem.nslabs, grows=mem.dynamic)
    if mem.total_used < 0:
        return InUse(summed + transient, UNKNOWN, credible)
    if not credible:
        return InUse(summed + transient, UNKNOWN, credible, SUMMED)
    used = summed + transient if complete else mem.total_used
    return InUse(used, _hiwater(mem.used_hiwater, used, mem.nslabs, grows=mem.dynamic))


def of_counters(counters: Counters, *, credible: bool = True) -> InUse:
    """The slots in use by the counters in debugfs, which does not show areas.

    :param credible: whether the kernel's own count has been credible so far.
    """
    grows, counted = counters.transient_slots >= 0, counters.used_slots
    if not credible or _impossible(counted, counters.nslabs, grows=grows):
        return InUse(UNKNOWN, UNKNOWN, credible=False, note=NOT_KNOWN)
    hiwater = _hiwater(counters.used_hiwater_slots, counted, counters.nslabs, grows=grows)
    # The files are of different moments, between which transient pools come and go.
    return InUse(counted if counted <= counters.nslabs + max(0, counters.transient_slots) else UNKNOWN, hiwater)


def _impossible(counted: int, nslabs: int, *, grows: bool) -> bool:
    """Whether a count is impossible: above ``nslabs``, or on a kernel that ``grows``, above what any machine has."""
    return counted >= _MORE_THAN_ANY_MACHINE_HAS if grows else counted > nslabs


def _hiwater(kept: int, used: int, nslabs: int, *, grows: bool) -> int:
    """The high water, at least ``used``; -1 if the kernel keeps none, or its value is impossible."""
    if kept < 0 or _impossible(kept, nslabs, grows=grows):
        return UNKNOWN
    return max(kept, used)
