"""The kinds of disagreement: each operation that disagrees is of exactly one, so that their counts add up."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from swiotlb_top.allocator import Hazard, Violation


class Fault(Enum):
    """What is wrong with an operation. The harm counts before the deviation from the reference that led to it."""

    OVERLAP = "overlap"
    OUT_OF_BOUNDS = "out_of_bounds"
    MISALIGNED_ADDRESS = "misaligned_address"
    MISALIGNED_SLOT = "misaligned_slot"
    SPANS_BOUNDARY = "spans_boundary"
    NOT_MAPPED = "not_mapped"
    UNKNOWN_POOL = "unknown_pool"
    FAILED = "failed_with_room"
    OTHER_SLOTS = "other_slots"
    OTHER_ADDRESS = "other_address"
    TRANSIENT = "transient_pool"
    RELEASE = "release"
    GROWTH = "growth"
    POOL_LIST = "pool_list"
    STATE = "state"


MEANINGS: Final = {
    Fault.OVERLAP: "slots were given out that are in use",
    Fault.OUT_OF_BOUNDS: "slots were given out that the pool does not have",
    Fault.MISALIGNED_ADDRESS: "the bounce buffer lost low bits of the address that the device asks to keep",
    Fault.MISALIGNED_SLOT: "the first slot is not aligned as the caller asks",
    Fault.SPANS_BOUNDARY: "the slots cross a boundary that the device may not cross",
    Fault.NOT_MAPPED: "something was released that is not mapped, or not with this size",
    Fault.UNKNOWN_POOL: "slots of a pool that nobody announced",
    Fault.FAILED: "a search failed, and the reference finds slots",
    Fault.OTHER_SLOTS: "a search found other slots than the reference, which may find none",
    Fault.OTHER_ADDRESS: "the address that was returned is not that of these slots",
    Fault.TRANSIENT: "a transient pool that the reference does not use, or not with this size",
    Fault.RELEASE: "the reference does not have the mapping that was released",
    Fault.GROWTH: "a pool was added of a size that growth does not try",
    Fault.POOL_LIST: "the list of pools, read later, is not the reference's",
    Fault.STATE: "an area, read later, is not as the reference has it",
}
"""Each in words."""

_HARM: Final = {hazard: Fault(hazard.value) for hazard in Hazard}


def worst(violations: Iterable[Violation]) -> Fault | None:
    """The safety rule that counts, of several that are broken; None if none is."""
    broken = {_HARM[violation.hazard] for violation in violations}
    return next((fault for fault in Fault if fault in broken), None)
