"""What each bug of a faulty kernel does: as ftrace tells it, as the tool's events do, and as what it is reported."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from swiotlb_top.allocator import Hazard
from swiotlb_top.records import Kind
from swiotlb_top.state import MemState
from tests.lab.support.ftrace import FAILED, Map, Unmap
from tests.lab.support.tool import NVME, VIRTIO_BLK
from tests.support.doctoring import Entry, Record, pool_starts

SLOT = 2048
PAGE = 4096
MICROSECOND_NS = 1000
ODD_SLOT = SLOT
"""The bit by which the slots of a page differ."""


@dataclass(frozen=True)
class Seen:
    """What a kernel did, as ftrace and debugfs tell it."""

    calls: list[Map | Unmap]
    used_slots: int
    """Afterwards, when nothing is mapped."""
    released: Mapping[int, Sequence[int]]
    """When releases of each address began, in order of time, by the tool's own recording of the same load: ftrace
    misses a few, and what it holds to be mapped may not be."""

    @property
    def maps(self) -> list[Map]:
        return [call for call in self.calls if isinstance(call, Map)]

    def released_between(self, tlb_addr: int, since_ns: int, until_ns: int) -> bool:
        times = self.released.get(tlb_addr, ())
        return bisect_left(times, since_ns) < bisect_left(times, until_ns + MICROSECOND_NS)

    def mapped(self, device: str) -> Iterator[Map]:
        return (call for call in self.maps if call.device == device and call.tlb_addr != FAILED)

    def pages_of_vda_on_odd_slots(self) -> list[Map]:
        return [call for call in self.mapped(VIRTIO_BLK) if call.size_bytes >= PAGE and call.tlb_addr & ODD_SLOT]


@dataclass(frozen=True)
class Calls:
    """The searches and releases of a recording as they ended, numbered from 1, and what is known of their pools."""

    entries: list[Entry]

    @cached_property
    def records(self) -> list[Record]:
        records = (entry for entry in self.entries if isinstance(entry, Record))
        return sorted(records, key=lambda record: record.exit_ns)

    @cached_property
    def released(self) -> Mapping[int, Sequence[int]]:
        """When each address was. A release gives slots back after it has begun, and may last on."""
        begun: dict[int, list[int]] = defaultdict(list)
        for call in sorted(self.records, key=lambda record: record.entry_ns):
            if call.kind == Kind.UNMAP:
                begun[call.address].append(call.entry_ns)
        return begun

    def numbered(self) -> Iterator[tuple[int, Record]]:
        return enumerate((call for call in self.records if call.kind in (Kind.FIND, Kind.UNMAP)), 1)

    def found(self) -> Iterator[tuple[int, Record]]:
        return ((number, call) for number, call in self.numbered() if call.kind == Kind.FIND and not call.failed)

    def min_align_mask(self, dev: int) -> int:
        """0 where the device asks for no alignment."""
        devices = (entry for entry in self.entries if isinstance(entry, Record) and entry.kind == Kind.DEVICE)
        return next(device.align_mask for device in devices if device.object == dev)


# ---- what each bug does, as ftrace tells it


def nothing_is_refused(seen: Seen) -> bool:
    """No transient pool has a place for a buffer in the second half of a page that begins at one and is not longer."""
    return all(call.tlb_addr != FAILED for call in seen.maps if call.device == NVME)


def pages_lie_as_their_buffers_do(seen: Seen) -> bool:
    odd = seen.pages_of_vda_on_odd_slots()
    return bool(odd) and all(call.orig_addr & ODD_SLOT for call in odd)


def pages_lie_anywhere(seen: Seen) -> bool:
    return not all(call.orig_addr & ODD_SLOT for call in seen.pages_of_vda_on_odd_slots())


def places_in_pages_are_not_kept(seen: Seen) -> bool:
    return any((call.tlb_addr ^ call.orig_addr) % PAGE for call in seen.mapped(NVME))


@dataclass(eq=False)
class Held:
    """A mapping that is there."""

    mapped: Map
    slots: range
    beside: list[Held] = field(default_factory=list)
    """Others that had one of its slots while it had."""
    released: bool = False


def two_have_one_slot(seen: Seen) -> bool:
    """Both were mapped before either was released, as both releases tell: one that was not told proves nothing."""
    held: dict[int, list[Held]] = {}
    holders: dict[int, list[Held]] = {}
    for call in seen.calls:
        if isinstance(call, Unmap):
            if not held.get(call.tlb_addr):
                continue
            gone = held[call.tlb_addr].pop()
            gone.released = True
            if any(other.released for other in gone.beside):
                return True
            for slot in gone.slots:
                holders[slot].remove(gone)
        elif call.tlb_addr != FAILED:
            new = Held(call, range(call.tlb_addr // SLOT, (call.tlb_addr + call.size_bytes - 1) // SLOT + 1))
            held.setdefault(call.tlb_addr, []).append(new)
            for slot in new.slots:
                for other in holders.setdefault(slot, []):
                    if seen.released_between(other.mapped.tlb_addr, other.mapped.at_ns, call.at_ns):
                        continue
                    other.beside.append(new)
                    new.beside.append(other)
                holders[slot].append(new)
    return False


def slots_stay_taken(seen: Seen) -> bool:
    return seen.used_slots > 0


# ---- when each bug has happened, as the events alone tell


def a_transient_pool_was_overrun(calls: Calls) -> int:
    numbers = {call: number for number, call in calls.numbered()}
    nslabs: dict[int, int] = {}
    for call in calls.records:
        if call.kind == Kind.POOL_ALLOC:
            nslabs[call.pool] = call.size if call.align_mask == 1 else 0  # where another pool may have been
        elif (
            call.kind == Kind.FIND
            and not call.failed
            and call.result + -(-call.size // SLOT) > nslabs.get(call.pool, 0) > 0
        ):
            return numbers[call]
    raise AssertionError("no transient pool was overrun")


def a_page_was_at_an_odd_slot(calls: Calls) -> int:
    return next(
        number
        for number, call in calls.found()
        if call.size >= PAGE and not calls.min_align_mask(call.object) and call.result % 2
    )


def a_place_in_a_page_was_not_kept(calls: Calls) -> int:
    return next(
        number
        for number, call in calls.found()
        if calls.min_align_mask(call.object) & SLOT and (call.result ^ call.address // SLOT) % 2
    )


def two_were_in_one_slot(calls: Calls) -> int:
    """A search got a slot that no release gave back, up to the search's end or at once after it."""
    starts = pool_starts([entry for entry in calls.entries if isinstance(entry, MemState)][:1])
    live: set[int] = set()
    releases = [call for _, call in calls.numbered() if call.kind == Kind.UNMAP]
    numbers = {call: number for number, call in calls.numbered()}
    for call in calls.records:
        if call.kind == Kind.POOL_ALLOC:
            starts[call.pool] = call.address  # where another pool may have been, whose memory went back
        elif call.kind == Kind.UNMAP:
            live.discard(call.address // SLOT)
        elif call.kind == Kind.FIND and not call.failed:
            slot = starts[call.pool] // SLOT + call.result
            if slot in live and not any(
                other.address // SLOT == slot and other.exit_ns - other.duration_ns <= call.exit_ns < other.exit_ns
                for other in releases
            ):
                return numbers[call]
            live.add(slot)
    raise AssertionError("no two mappings were in one slot")


def the_32nd_release_of_several_slots(calls: Calls) -> int:
    several = [number for number, call in calls.numbered() if call.kind == Kind.UNMAP and call.size > SLOT]
    return several[31]


class Bug(NamedTuple):
    """How a bug is known."""

    shows: Callable[[Seen], bool]
    happened: Callable[[Calls], int]
    """The operation by whose end it has."""
    first_harm: Hazard | None
    """None: other slots than the reference's, which are free and do no harm."""
    slots_lost: bool = False
    """The kernel counts slots as used that it took and gave back."""


BUGS: Mapping[str, Bug] = MappingProxyType(
    {
        "cve-2023-52790": Bug(nothing_is_refused, a_transient_pool_was_overrun, Hazard.OUT_OF_BOUNDS),
        "cve-2024-35814": Bug(pages_lie_as_their_buffers_do, a_page_was_at_an_odd_slot, None),
        "no-min-alignment": Bug(
            places_in_pages_are_not_kept, a_place_in_a_page_was_not_kept, Hazard.MISALIGNED_ADDRESS
        ),
        "no-page-alignment": Bug(pages_lie_anywhere, a_page_was_at_an_odd_slot, None),
        "injected-overlap": Bug(two_have_one_slot, two_were_in_one_slot, Hazard.OVERLAP, slots_lost=True),
        "injected-lost-release": Bug(slots_stay_taken, the_32nd_release_of_several_slots, None, slots_lost=True),
    }
)
