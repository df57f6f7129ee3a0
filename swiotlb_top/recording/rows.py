"""The rows of a recording's tables, with the meaning of each column. A test compares docs/recordings.md with them.

Names end in units: ``_ns`` (nanoseconds), ``_bytes``, ``_slots``. Times in ``_wall_ns`` are Unix time, all others are
on the kernel's monotonic clock. None means that it is not known, or that there is none. Addresses and masks are
hexadecimal texts, so that no reader takes them for numbers and rounds them.
"""

from __future__ import annotations

from types import NoneType
from typing import Any, Final, NamedTuple, TypeAlias, get_args, get_type_hints

Row: TypeAlias = tuple[Any, ...]


class Mapping(NamedTuple):
    """One call that asked for slots, and the call that gave them back."""

    map_wall_ns: int | None
    """When the map returned; None for what was mapped before the recording, or while events were lost."""
    unmap_wall_ns: int | None
    """When the unmap returned; None where it is not in the recording."""
    map_ns: int | None
    unmap_ns: int | None
    hold_ns: int | None
    """From the one to the other."""
    cpu: int | None
    """The CPU on which the map returned."""
    unmap_cpu: int | None
    device: str
    driver: str
    pool: str | None
    """Physical address of the pool's first slot."""
    pool_kind: str | None
    """``default``, ``grown`` or ``transient``, as it was known when the map returned."""
    slot: int | None
    """The first slot of its run in the pool, padding included; of a mapping from before, where its buffer begins."""
    nslots: int | None
    size_bytes: int
    """What was mapped, without padding. Of a refused map seen in ``swiotlb_find_slots()``, padding included."""
    direction: str | None
    """``to_device``, ``from_device``, ``bidirectional`` or ``none``; None where no probe saw it."""
    latency_ns: int | None
    """How long the map took in the kernel; None where its beginning was not seen."""
    unmap_latency_ns: int | None
    failed: bool
    """Whether the map was refused."""
    cause: str | None
    """Why, in a word of the reference; None where it is not known, or not judged."""
    verdict: str | None
    """On the map: ``agree``, ``disagree`` or ``inconclusive``; None: not judged, or in another allocator."""
    unmap_verdict: str | None
    overlap: int | None
    """So many other calls were under way at some time of the map, 255 or more as 255. None: not judged, or its
    beginning was not seen."""
    known_as: str | None
    """What people know the device by, as "vda"; None where that is not known."""


class Failure(NamedTuple):
    """One map that was refused."""

    wall_ns: int
    time_ns: int
    device: str
    driver: str
    cpu: int
    size_bytes: int
    """As in ``mappings``."""
    needed_slots: int
    """Slots it asked for, in one run."""
    latency_ns: int | None
    cause: str | None
    sentence: str | None
    """Why, in a sentence of the reference."""
    verdict: str | None
    used_slots: int | None
    """Slots in use in all pools when it failed; None after a loss, until the state was read again."""
    nslabs: int
    """Slots in all pools on the list."""
    longest_free_slots: int | None
    """The longest free run in any area that the search asked; None where the cause is not known."""


class Pool(NamedTuple):
    """One memory pool."""

    pool: str | None
    """Physical address of its first slot; None where its allocation was not seen."""
    pool_kind: str
    """``default``, ``grown`` or ``transient``."""
    nslabs: int
    nareas: int
    added_wall_ns: int | None
    """When it was allocated, or first seen on the list; None where it was there before the recording."""
    freed_wall_ns: int | None
    """When its memory was given back; None where that is not in the recording."""
    added_ns: int | None
    freed_ns: int | None
    maps: int
    """Mappings made in it."""
    peak_used_slots: int | None
    """Most slots in use at once; None where that is not known, as calls are missing."""


class Device(NamedTuple):
    """One device. Where another device came to be at the same address, the later one."""

    device: str
    driver: str
    maps: int
    map_failures: int
    unmaps: int
    mapped_bytes: int
    unmapped_bytes: int
    held_slots: int | None
    """Slots of its mappings at the end, of those made since the recording began, or since calls were missing; None
    where it has a pool of its own (restricted)."""
    map_p50_ns: int | None
    map_p99_ns: int | None
    """Half, and 99 of 100, of its latest 512 maps took no longer."""
    dma_mask: str | None
    min_align_mask: str | None
    seg_boundary_mask: str | None
    """Its limits; None where it never introduced itself."""
    known_as: str | None
    """What people know it by, as "vda"; None where that is not known."""


class Slots(NamedTuple):
    """A step of time in which anything happened."""

    wall_ns: int
    time_ns: int
    """Where the step begins, as a multiple of the step's length."""
    used_slots: int | None
    """In use at the step's end; None after a loss, until the state was read again."""
    used_max_slots: int | None
    """Most in use at once during the step."""
    transient_slots: int | None
    nslabs: int
    """Slots in all pools on the list."""
    maps: int
    map_failures: int
    unmaps: int


TABLES: Final[dict[str, type[Row]]] = {
    "mappings": Mapping,
    "failures": Failure,
    "pools": Pool,
    "devices": Device,
    "slots": Slots,
}


def columns(row: type[Row]) -> dict[str, type]:
    """The names of a row's columns, each with ``int``, ``str`` or ``bool``; any of them may be None besides."""
    hints = get_type_hints(row)
    return {
        name: next((kind for kind in get_args(hints[name]) if kind is not NoneType), hints[name])
        for name in row._fields  # type: ignore[attr-defined]
    }
