"""The events: what the kernel did, one typed event for each call.

An event is a closed interval ``[entry_ns, exit_ns]`` on the kernel's monotonic
clock (``bpf_ktime_get_ns()``): the operation took effect somewhere inside it.
``entry_ns`` is -1 where the entry was not seen.  Addresses of kernel objects
(``dev``, ``pool``, ``mem``) are identities, never dereferenced here.

How an event is packed into a record: :mod:`swiotlb_top.records`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from swiotlb_top.constants import DMA_MAPPING_ERROR, NOT_FOUND

ENTRY_UNKNOWN: Final = -1


class Direction(IntEnum):
    """``enum dma_data_direction``; ``UNKNOWN`` if the probe cannot see it."""

    BIDIRECTIONAL = 0
    TO_DEVICE = 1
    FROM_DEVICE = 2
    NONE = 3
    UNKNOWN = 4


class Find(NamedTuple):
    """One ``swiotlb_find_slots()``: ``alloc_size_bytes`` includes alignment padding."""

    entry_ns: int
    exit_ns: int
    cpu: int
    migrated: bool
    dev: int
    pool: int
    orig_addr: int
    alloc_size_bytes: int
    alloc_align_mask: int
    slot: int
    """First slot of the pool's run, or :data:`~swiotlb_top.constants.NOT_FOUND`."""

    @property
    def failed(self) -> bool:
        return self.slot < 0


class Map(NamedTuple):
    """One ``swiotlb_tbl_map_single()``, where ``swiotlb_find_slots()`` cannot be probed."""

    entry_ns: int
    exit_ns: int
    cpu: int
    migrated: bool
    dev: int
    orig_addr: int
    mapping_size_bytes: int
    alloc_align_mask: int
    direction: Direction
    attrs: int
    tlb_addr: int
    """Physical address of the bounce buffer, or :data:`~swiotlb_top.constants.DMA_MAPPING_ERROR`."""
    alloc_size_bytes: int = 0
    """The argument ``alloc_size``, without padding, on kernels that have it (up to 6.9); 0 on later kernels, where
    ``mapping_size`` and ``alloc_align_mask`` decide how much is allocated."""

    @property
    def failed(self) -> bool:
        return self.tlb_addr == DMA_MAPPING_ERROR


class Unmap(NamedTuple):
    """One ``__swiotlb_tbl_unmap_single()``, or ``swiotlb_tbl_unmap_single()`` up to 6.10."""

    entry_ns: int
    exit_ns: int
    cpu: int
    dev: int
    pool: int
    """0 if the call does not tell the pool: it is then the one in which ``tlb_addr`` lies."""
    tlb_addr: int
    mapping_size_bytes: int
    direction: Direction
    attrs: int
    unreachable: bool = False
    """``swiotlb_map()`` gives back what it had, because the device cannot reach it: the map failed."""


class Free(NamedTuple):
    """One ``swiotlb_free()`` or ``swiotlb_free_from_pool()``: releases the slots that ``swiotlb_alloc()``, which
    searches without mapping a buffer, took from a restricted pool. The former tells ``size_bytes``, the latter
    ``pool`` and ``tlb_addr``; the others are 0."""

    entry_ns: int
    exit_ns: int
    cpu: int
    dev: int
    pool: int
    tlb_addr: int
    size_bytes: int


class PoolAlloc(NamedTuple):
    """``swiotlb_alloc_pool()`` returned; ``pool`` is 0 if there was no memory."""

    exit_ns: int
    cpu: int
    pool: int
    start: int
    nslabs: int
    nareas: int


class PoolAdd(NamedTuple):
    """``add_mem_pool()``: the pool went to the head of the allocator's list."""

    entry_ns: int
    exit_ns: int
    mem: int
    pool: int
    start: int
    nslabs: int
    nareas: int


class PoolFree(NamedTuple):
    """``swiotlb_dyn_free()`` (``swiotlb_dyn_free_work()`` in 7.3): a pool's memory went back to the kernel."""

    exit_ns: int
    pool: int


class Grow(NamedTuple):
    """``swiotlb_dyn_alloc()`` ran; ``pool`` and its geometry are the list's head at its return."""

    entry_ns: int
    exit_ns: int
    mem: int
    pool: int
    start: int
    nslabs: int
    nareas: int


class Device(NamedTuple):
    """A device's identity and DMA limits, before its first event (and when its driver changes)."""

    exit_ns: int
    dev: int
    mem: int
    """The allocator it maps from: the default one, or its own, which is restricted to it."""
    dma_mask: int
    bus_dma_limit: int
    seg_boundary_mask: int
    min_align_mask: int


class Gap(NamedTuple):
    """Records were lost between two times; the state after is known anew only from a snapshot."""

    begin_ns: int
    exit_ns: int
    lost: int
    cause: str


Call: TypeAlias = Find | Map | Unmap
"""A call that may show that a map failed."""
Event: TypeAlias = Find | Map | Unmap | Free | PoolAlloc | PoolAdd | PoolFree | Grow | Device | Gap


def failed_map(event: Event) -> Call | None:
    """The event, if it shows that a map failed; None if not."""
    if isinstance(event, Find):
        return event if event.slot < 0 else None
    if isinstance(event, Unmap):
        return event if event.unreachable else None
    return event if isinstance(event, Map) and event.failed else None


_MASKS: Final = ("alloc_align_mask", "min_align_mask", "dma_mask", "bus_dma_limit", "seg_boundary_mask", "attrs")
_IN_HEXADECIMAL: Final = frozenset(("dev", "pool", "mem", "start", "orig_addr", "tlb_addr", *_MASKS))


def as_json(event: Event) -> dict[str, object]:
    """An event for machines: its ``kind``, then its members by name.

    Addresses and masks are hexadecimal. Null is an entry that was not seen, and what a failed call did not find.
    """
    found: dict[str, object] = {"kind": type(event).__name__.lower()}
    for name, value in zip(event._fields, event, strict=True):
        if (name, value) in _NOTHING:
            found[name] = None
        elif isinstance(value, Direction):
            found[name] = value.name.lower()
        else:
            found[name] = f"{value:#x}" if name in _IN_HEXADECIMAL else value
    return found


def in_a_line(event: Event) -> str:
    """The same for people: ``find entry_ns=5, ..., dev=0xffff8880013000c8, ..., slot=3``."""
    kind, *members = as_json(event).items()
    told = (f"{name}={'unknown' if value is None and name == 'entry_ns' else value}" for name, value in members)
    return f"{kind[1]} {', '.join(told)}"


_NOTHING: Final = (("entry_ns", ENTRY_UNKNOWN), ("slot", NOT_FOUND), ("tlb_addr", DMA_MAPPING_ERROR))
