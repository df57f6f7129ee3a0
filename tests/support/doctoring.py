"""Doctor a recording: negative controls for the judge are real streams with one thing made wrong.

A recording is loaded into a list with one entry a record; every function here gives a new list and
leaves the one it was given as it was. Indices are of that list::

    entries = load(GROWING)
    at = find(entries, Kind.FIND, nth=100)
    save(change(entries, at, result=entries[at].result + 1), tmp_path / "doctored.swtrace")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

from swiotlb_top.allocator import REVISIONS, Limits, Request
from swiotlb_top.constants import DMA_MAPPING_ERROR, IO_TLB_SIZE
from swiotlb_top.events import Gap
from swiotlb_top.records import RECORD, Kind, RawRecord
from swiotlb_top.state import DeviceName, MemState, PoolState
from swiotlb_top.stream import Consumer, End, Known, Records, tell
from swiotlb_top.trace import Header, TraceReader, TraceWriter
from swiotlb_top.trace.format import MAX_TIME_NS

_ROOT: Final = Path(__file__).resolve().parents[2]
GROWING: Final = _ROOT / "swiotlb_top" / "recordings" / "growing.swtrace"
"""A dynamic kernel on one CPU, which adds pools and uses transient ones."""
STALL: Final = _ROOT / "tests" / "traces" / "stall.swtrace"
"""A distribution's static kernel whose disk stalls: one map in three fails."""
FOUR_AREAS: Final = _ROOT / "tests" / "traces" / "four-areas.swtrace"
"""A dynamic kernel with four areas in each pool."""
FOUR_CPUS: Final = _ROOT / "tests" / "traces" / "four-cpus.swtrace"
"""The first moments of a dynamic kernel that grows while four CPUs read two disks: many calls overlap."""

ALL_OF_THEM_NS: Final = MAX_TIME_NS
"""Of calls: no time is later."""
FLAG_MIGRATED: Final = 0x08
"""Of bpf/record.h."""


class Record(RawRecord):
    """One ``struct record`` of bpf/record.h, raw."""

    @property
    def failed(self) -> bool:
        """A map or search that got nothing."""
        return self.result == DMA_MAPPING_ERROR or self.result >> 31 == 0x1_FFFF_FFFF

    @property
    def entry_ns(self) -> int:
        return self.exit_ns - self.duration_ns


Entry: TypeAlias = Header | MemState | DeviceName | Gap | Known | End | Record
Wanted: TypeAlias = Callable[[Record], bool]


def anything(_: Record) -> bool:
    """Any record will do."""
    return True


def succeeded(record: Record) -> bool:
    """A map or search that got its slots."""
    return not record.failed


# ---- reading and writing -------------------------------------------------


def load(path: Path) -> list[Entry]:
    """A recording, one entry a record. :raises UnreadableError: as the trace reader."""
    entries: list[Entry] = []
    for item in TraceReader(path):
        if isinstance(item, Records):
            entries += map(Record._make, RECORD.iter_unpack(item.data))
        else:
            entries.append(item)
    return entries


def save(entries: Iterable[Entry], path: Path) -> Path:
    """Write a recording anew.

    :param entries: a header first, an end last.
    :returns: ``path``.
    """
    stream = iter(entries)
    header = next(stream)
    if not isinstance(header, Header):
        raise TypeError("a recording begins with its header")
    path.unlink(missing_ok=True)
    with TraceWriter(path, header) as trace:
        packed: list[bytes] = []
        for entry in stream:
            if isinstance(entry, Record):
                packed.append(RECORD.pack(*entry))
            elif not isinstance(entry, Header):
                trace.records(b"".join(packed))
                packed.clear()
                tell(entry, _Written(trace))
    return path


def known_as(word: str, entries: Iterable[Entry]) -> list[Entry]:
    """The recording as it is if every device was known by ``word`` when it was made."""
    return [replace(entry, known_as=word) if isinstance(entry, DeviceName) else entry for entry in entries]


class _Written(Consumer):
    """Writes down what it is told."""

    def __init__(self, trace: TraceWriter) -> None:
        self._trace = trace

    def state(self, mem: MemState) -> None:
        self._trace.state(mem)

    def name(self, name: DeviceName) -> None:
        self._trace.device_name(name)

    def gap(self, gap: Gap) -> None:
        self._trace.gap(gap)

    def known_before(self, time_ns: int) -> None:
        self._trace.known(time_ns)

    def end(self, end: End) -> None:
        self._trace.end(end.counters, end.duration_ns, end.lost)


# ---- finding -------------------------------------------------------------


def record_at(entries: list[Entry], at: int) -> Record:
    """The record there. :raises TypeError: something else stands there."""
    entry = entries[at]
    if not isinstance(entry, Record):
        raise TypeError(f"entry {at} is no record but {entry!r}")
    return entry


def places(entries: list[Entry], kind: Kind, wanted: Wanted = anything) -> Iterator[int]:
    """Where the records of a kind stand, in order."""
    for at, entry in enumerate(entries):
        if isinstance(entry, Record) and entry.kind == kind and wanted(entry):
            yield at


def find(entries: list[Entry], kind: Kind, wanted: Wanted = anything, *, nth: int = 0) -> int:
    """Where the nth such record stands. :raises LookupError: there are not as many."""
    for count, at in enumerate(places(entries, kind, wanted)):
        if count == nth:
            return at
    raise LookupError(f"no {nth}th such {kind.name}")


def states(entries: list[Entry]) -> list[int]:
    """Where the states stand."""
    return [at for at, entry in enumerate(entries) if isinstance(entry, MemState)]


def release_of(entries: list[Entry], at: int, start: int) -> int:
    """Where the slots of the FIND at ``at`` are released.

    :param start: address of its pool's first slot.
    :raises LookupError: nowhere.
    """
    found = record_at(entries, at)
    limits = _limits(entries, found.object)
    slot = found.result + REVISIONS["6.10"].pad_slots(Request(found.address, found.size, found.align_mask, limits))
    for later in range(at + 1, len(entries)):
        entry = entries[later]
        if isinstance(entry, Record) and entry.kind == Kind.UNMAP and entry.pool == found.pool:
            offset = entry.address & limits.min_align_mask & (IO_TLB_SIZE - 1)
            if (entry.address - offset - start) // IO_TLB_SIZE == slot:
                return later
    raise LookupError(f"what entry {at} took is never released")


def pool_starts(entries: Sequence[Entry]) -> dict[int, int]:
    """Every pool's first byte, by the address of its ``struct io_tlb_pool`` (the latest there)."""
    starts: dict[int, int] = {}
    for entry in entries:
        if isinstance(entry, MemState):
            starts.update((pool.address, pool.start) for pool in entry.pools)
        elif isinstance(entry, Record) and entry.kind in (Kind.POOL_ALLOC, Kind.POOL_ADD, Kind.GROW):
            starts[entry.pool] = entry.address
    return starts


def _limits(entries: list[Entry], dev: int) -> Limits:
    device = record_at(entries, find(entries, Kind.DEVICE, lambda record: record.object == dev))
    return Limits(device.result, device.align_mask, device.address, device.size)


# ---- doctoring -----------------------------------------------------------


def change(entries: list[Entry], at: int, **fields: int) -> list[Entry]:
    """One record with other values."""
    changed = list(entries)
    changed[at] = record_at(entries, at)._replace(**fields)
    return changed


def drop(entries: list[Entry], *ats: int) -> list[Entry]:
    """Without these entries."""
    gone = set(ats)
    return [entry for at, entry in enumerate(entries) if at not in gone]


def insert(entries: list[Entry], at: int, *new: Entry) -> list[Entry]:
    """With new entries before the one at ``at``."""
    return [*entries[:at], *new, *entries[at:]]


def cut(entries: list[Entry], at: int) -> list[Entry]:
    """Only what stands before ``at``, as if the recording had been ended there when no call was under way."""
    return [*entries[:at], Known(ALL_OF_THEM_NS), End({}, 0, 0)]


def with_no_call_under_way(entries: list[Entry]) -> list[Entry]:
    """As a recorder tells it that found no call under way at the end; the recordings here are older than that."""
    return insert(entries, len(entries) - 1, Known(ALL_OF_THEM_NS))


def swap(entries: list[Entry], one: int, other: int) -> list[Entry]:
    """Two records change places, their times stay: each is said to have happened when the other did."""
    a, b = record_at(entries, one), record_at(entries, other)
    swapped = list(entries)
    swapped[one] = b._replace(exit_ns=a.exit_ns, duration_ns=a.duration_ns)
    swapped[other] = a._replace(exit_ns=b.exit_ns, duration_ns=b.duration_ns)
    return swapped


def overlap(entries: list[Entry], one: int, other: int) -> list[Entry]:
    """Both of two records under way at the same time: the later was entered when the earlier was."""
    earlier, later = sorted((record_at(entries, one), record_at(entries, other)))
    at = other if record_at(entries, other) is later else one
    return change(entries, at, duration_ns=later.exit_ns - earlier.entry_ns)


def unseen_entry(entries: list[Entry], at: int, **fields: int) -> list[Entry]:
    """A call that ended on another CPU than it began on: nobody saw it begin."""
    return change(entries, at, flags=record_at(entries, at).flags | FLAG_MIGRATED, duration_ns=0xFFFF_FFFF, **fields)


def change_state(entries: list[Entry], at: int, doctored: Callable[[PoolState], PoolState]) -> list[Entry]:
    """The first pool of a state with something else in it."""
    mem = entries[at]
    if not isinstance(mem, MemState):
        raise TypeError(f"entry {at} is no state")
    changed = list(entries)
    changed[at] = replace(mem, pools=(doctored(mem.pools[0]), *mem.pools[1:]))
    return changed
