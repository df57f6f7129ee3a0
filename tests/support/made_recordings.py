"""Hand-made needs, and the demand of hand-made events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from swiotlb_top.allocator import REVISIONS, Limits, Request, Revision
from swiotlb_top.events import Event
from swiotlb_top.sizing.demand import Demand, DemandReader
from swiotlb_top.sizing.need import Need
from swiotlb_top.sizing.starts import starts_of
from swiotlb_top.state import MemState

NEWEST: Final = REVISIONS["6.10"]
SLOT_BYTES: Final = 2048
BUFFER: Final = 0x20_0000
DISK: Final = 7
UNLIMITED: Final = Limits()
CALLED: Final = "made.swtrace"


def need(
    begin_ns: int,
    end_ns: int,
    nslots: int,
    *,
    orig_addr: int = BUFFER,
    dev: int = DISK,
    cpu: int = 0,
    limits: Limits = UNLIMITED,
    alloc_align_mask: int = 0,
    revision: Revision = NEWEST,
) -> Need:
    """Slots from ``begin_ns`` to ``end_ns``, by calls that take no time."""
    request = Request(orig_addr, nslots * SLOT_BYTES, alloc_align_mask, limits)
    return Need(begin_ns, begin_ns, end_ns, end_ns, cpu, dev, request, starts_of(revision, request))


def demand(mem: MemState | None, *events: Event, revision: Revision = NEWEST) -> Demand:
    """What these events asked for, of a kernel that was in this state before."""
    reader = DemandReader(CALLED, NEWEST, revision)
    if mem:
        reader.state(mem)
    reader.feed(events)
    return reader.demand("6.12")


def spans(needs: Sequence[Need]) -> list[tuple[int, int, int]]:
    """From when to when each is surely held, and how many slots it takes."""
    return [(one.had_ns, one.freeing_ns, one.starts.nslots) for one in needs]
