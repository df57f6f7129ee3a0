"""One memory pool: its slots, areas and live mappings (``struct io_tlb_pool``).

Free slots are bit masks, a Python int a slot set; the kernel's ``list`` follows from them
(:mod:`swiotlb_top.allocator.free`). ``search`` says where ``swiotlb_search_pool_area()`` would
go, ``take`` and ``release`` are what it and ``swiotlb_release_slots()`` do, and each returns
what ``undo`` needs, so that orders of events can be tried and taken back.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from swiotlb_top.allocator.alignment import NEWEST_RULE, AlignmentRule
from swiotlb_top.allocator.free import OFFSET_IN_SET, FreeSlots
from swiotlb_top.allocator.geometry import slot_addr, spans_boundary
from swiotlb_top.allocator.mapping import Mapping
from swiotlb_top.allocator.request import Request
from swiotlb_top.allocator.runs import ONES
from swiotlb_top.allocator.walk import NEVER_ENDS, Walk, WalkClass, candidates, first_index, walk_of
from swiotlb_top.constants import IO_TLB_SEGSIZE, IO_TLB_SHIFT, IO_TLB_SIZE, NOT_FOUND, PAGE_SIZE, SLOT_SET_SHIFT

_OFFSET_IN_SLOT: Final = IO_TLB_SIZE - 1


class Undo(NamedTuple):
    """The state before one ``take`` or ``release``, for :meth:`Pool.undo`, which undoes the last one first."""

    mapping: Mapping
    taken: bool
    free: int
    bound: int
    area_index: int
    unsettled: bool
    behind: int


class Pool:
    """A pool as ``swiotlb_init_io_tlb_pool()`` leaves it: all slots free, each area from its first.

    :param address: of ``struct io_tlb_pool``, an identity only.
    :param start: physical address of the first slot (the kernel's are page-aligned).
    :param nslabs: slots, at least ``nareas``; any number, the last slot set may be short.
    :param rule: how this kernel aligns, see :data:`swiotlb_top.allocator.revision.REVISIONS`.
    :raises ValueError: no area, or areas without a slot.

    Slots count from the pool's first. ``area_used`` and ``area_index`` are the kernel's
    ``areas[i].used`` and ``areas[i].index``.
    """

    __slots__ = (
        "_alignment",
        "_behind",
        "_free",
        "_list_end",
        "_live",
        "_pads_slots",
        "_unsettled",
        "_walks",
        "address",
        "area_index",
        "area_nslabs",
        "area_used",
        "nareas",
        "nslabs",
        "slots_looked_at",
        "start",
        "transient",
    )

    def __init__(
        self,
        address: int,
        start: int,
        nslabs: int,
        nareas: int,
        transient: bool = False,
        *,
        rule: AlignmentRule = NEWEST_RULE,
    ) -> None:
        if not 1 <= nareas <= nslabs:
            raise ValueError(f"{nslabs} slots cannot be {nareas} areas")
        self.address = address
        self.start = start
        self.nslabs = nslabs
        self.nareas = nareas
        self.transient = transient
        self.area_nslabs = nslabs // nareas
        self.area_used = [0] * nareas
        self.area_index = [0] * nareas
        self._alignment, self._pads_slots, bounds_list = rule
        # Where the free list of this kernel ends: behind the pool's last slot, or with its last slot set.
        self._list_end = nslabs if bounds_list else -(-nslabs // IO_TLB_SEGSIZE) * IO_TLB_SEGSIZE
        self._free = FreeSlots.all_of(self._list_end)
        # Slots behind the pool's last that are free by the kernel's memory: one bit for each slot of the last slot set.
        self._behind = 0
        self._live: dict[int, Mapping] = {}
        # Mappings of a snapshot taken before the map was over: each of their slots may be the buffer's first.
        self._unsettled: dict[int, Mapping] = {}
        self._walks: dict[WalkClass, Walk] = {}
        self.slots_looked_at = 0
        """How many slots searches may have looked at that went from one slot to the next; :meth:`Allocator.charge`
        takes them off its patience."""

    def search(self, area_index: int, request: Request) -> int:
        """The slot ``swiotlb_search_pool_area()`` would take, or -1. Changes nothing.

        Negative, too, is :data:`~swiotlb_top.allocator.walk.NEVER_ENDS`: kernels up to 6.2 can hang here.

        :raises ValueError: ``alloc_size_bytes`` is 0 (the kernel's BUG_ON).
        """
        orig_addr, alloc_size_bytes, alloc_align_mask, limits = request
        nslots = (alloc_size_bytes + _OFFSET_IN_SLOT) >> IO_TLB_SHIFT
        if nslots < 1:
            raise ValueError("a request needs at least one slot")
        area_nslabs = self.area_nslabs
        if nslots > area_nslabs - self.area_used[area_index]:
            return NOT_FOUND
        walk_class = (alloc_align_mask, limits, alloc_size_bytes >= PAGE_SIZE, not orig_addr)
        walk = self._walks.get(walk_class)
        if walk is None:
            walk = self._walks[walk_class] = walk_of(self._alignment, self.start, self._list_end, walk_class)
        period, step, stride, match_mask, aligned, _, _, _, alignment = walk
        if alignment.until_back or not period:
            return self._search_otherwise(area_index, nslots, orig_addr, walk)
        if nslots > IO_TLB_SEGSIZE:
            return NOT_FOUND

        base = area_index * area_nslabs
        end = base + area_nslabs
        index = self.area_index[area_index]
        aligned += (orig_addr & match_mask) >> IO_TLB_SHIFT
        begin = base + index
        begin += (aligned - begin) & (period - 1)
        slot = self._free.first_fit(begin, end, nslots, walk)
        if slot >= 0 or not index:
            return slot
        # The last step before the wrap is a whole stride and may overshoot the area's end.
        # It counts in slots_checked, so the search ends that much before it comes round.
        last = begin + (end - 1 - begin) // step * step
        overshoot = max(last + stride - end, 0) if begin < end else 0
        begin = base + ((aligned - base) & (period - 1))
        return self._free.first_fit(begin, base + index - overshoot, nslots, walk)

    def _search_otherwise(self, area_index: int, nslots: int, orig_addr: int, walk: Walk) -> int:
        """The search where it is no walk round the area over one residue class."""
        base = area_index * self.area_nslabs
        index = self.area_index[area_index]
        if walk.period and nslots <= IO_TLB_SEGSIZE:
            return self._search_until_back(base, index, nslots, orig_addr, walk)
        boundary_slots = walk.boundary_slots
        self.slots_looked_at += self.area_nslabs
        for slot in candidates(walk, base, self.area_nslabs, index, orig_addr):
            if slot == NEVER_ENDS:
                return NEVER_ENDS
            if self.free_run(slot) < nslots:
                continue
            if not boundary_slots or not spans_boundary(slot, nslots, walk.boundary_shift, boundary_slots):
                return slot
        return NOT_FOUND

    def _search_until_back(self, base: int, index: int, nslots: int, orig_addr: int, walk: Walk) -> int:
        """Up to 6.2: from a multiple of the stride, creeping to alignment, until back at that multiple."""
        begin = first_index(index, self.area_nslabs, walk.stride)
        aligned = walk.aligned + ((orig_addr & walk.match_mask) >> IO_TLB_SHIFT)
        creep = (aligned - base) & (walk.period - 1)
        slot = self._free.first_fit(base + begin + creep, base + self.area_nslabs, nslots, walk)
        if slot >= 0 or not begin:
            return slot
        slot = self._free.first_fit(base + creep, base + begin, nslots, walk)
        # Having crept once, it steps over the place where it began, every time.
        return slot if slot >= 0 or not creep else NEVER_ENDS

    def take(self, slot: int, request: Request, dev: int) -> Undo:
        """Commit a request to the slots from ``slot`` on, as the found path of the search does.

        :raises ValueError: not all of these slots are free, they leave their slot set, or the first
            lies in no area.
        """
        orig_addr, alloc_size_bytes, alloc_align_mask, limits = request
        nslots = (alloc_size_bytes + _OFFSET_IN_SLOT) >> IO_TLB_SHIFT
        if not (0 <= slot < self.nareas * self.area_nslabs and 0 < nslots <= IO_TLB_SEGSIZE):
            raise ValueError(f"{nslots} slots cannot be taken from slot {slot}")
        slot_set = slot >> SLOT_SET_SHIFT
        masks = self._free.masks
        free = masks[slot_set]
        slots = ONES[nslots] << (slot & OFFSET_IN_SET)
        if slots & ~free:
            raise ValueError(f"slots {slot}..{slot + nslots - 1} are not free")
        pad_slots = 0
        if alloc_align_mask and self._pads_slots:
            # A size without its padding, which no kernel asks for, or one that was cut: the buffer's slot is its own.
            pad_slots = min((orig_addr & limits[1] & alloc_align_mask) >> IO_TLB_SHIFT, nslots - 1)
        mapping = tuple.__new__(Mapping, (slot, nslots, pad_slots, alloc_size_bytes, orig_addr, dev))  # the fastest
        area_nslabs = self.area_nslabs
        area = slot // area_nslabs
        index = self.area_index[area]
        undo = tuple.__new__(Undo, (mapping, True, free, self._free.bounds[slot_set], index, False, self._behind))
        if slot + nslots > self.nslabs:
            self._behind &= ~slots
        masks[slot_set] = free ^ slots
        self._live[slot + pad_slots] = mapping
        self.area_used[area] += nslots
        next_index = slot - area * area_nslabs + nslots
        self.area_index[area] = next_index if next_index < area_nslabs else 0
        return undo

    def find_mapping(self, tlb_addr: int, min_align_mask: int) -> Mapping | None:
        """The live mapping whose buffer begins in the slot of ``tlb_addr``, found as
        ``swiotlb_release_slots()`` does; None where no mapping begins there."""
        slot = (tlb_addr - (tlb_addr & min_align_mask & _OFFSET_IN_SLOT) - self.start) >> IO_TLB_SHIFT
        return self._live.get(slot) or self._unsettled.get(slot)

    def release(self, mapping: Mapping) -> Undo:
        """Return a live mapping's slots to the free list, as ``swiotlb_release_slots()`` does.

        :raises KeyError: the mapping is not live in this pool.
        """
        slot, nslots, pad_slots, _, _, _ = mapping
        slot_set = slot >> SLOT_SET_SHIFT
        unsettled = self._live.get(slot + pad_slots) is not mapping
        area = slot // self.area_nslabs
        masks, bounds = self._free.masks, self._free.bounds
        free, bound = masks[slot_set], bounds[slot_set]
        undo = tuple.__new__(Undo, (mapping, False, free, bound, self.area_index[area], unsettled, self._behind))
        if unsettled:
            self._forget_unsettled(mapping)
        else:
            del self._live[slot + pad_slots]
        if slot + nslots >= self.nslabs < self._list_end:
            # The list runs on past the pool's end: the kernel reads there what follows these slots.
            offset, bound = slot & OFFSET_IN_SET, IO_TLB_SEGSIZE
            free = free & ONES[offset] | self._behind & ~ONES[offset + nslots]
            self._behind |= ONES[nslots] << offset
        masks[slot_set] = free | ONES[nslots] << (slot & OFFSET_IN_SET)
        # The new run is at most: an old one below, the released slots, an old one above.
        bounds[slot_set] = bound + bound + nslots
        self.area_used[area] -= nslots
        return undo

    def undo(self, undo: Undo) -> None:
        """Undo one ``take`` or ``release``. All of them must be undone, in reverse order."""
        mapping, taken, free, bound, index, unsettled, self._behind = undo
        slot_set = mapping.slot >> SLOT_SET_SHIFT
        area = mapping.slot // self.area_nslabs
        self._free.masks[slot_set] = free
        self._free.bounds[slot_set] = bound
        self.area_index[area] = index
        if taken:
            del self._live[mapping.slot + mapping.pad_slots]
            self.area_used[area] -= mapping.nslots
            return
        self.area_used[area] += mapping.nslots
        if unsettled:
            self._remember_unsettled(mapping)
        else:
            self._live[mapping.slot + mapping.pad_slots] = mapping

    def force(self, slot: int, request: Request, dev: int) -> tuple[Mapping, ...]:
        """Take slots because the kernel did, even if they are in use: mappings in the way are released.

        A run that would leave its slot set (or the free list) is cut there. There is no undo.

        :returns: the mappings that were in the way.
        :raises ValueError: the first slot lies in no area.
        """
        slot_set_end = min((slot | OFFSET_IN_SET) + 1, self._list_end)
        size_bytes = min(request.alloc_size_bytes, (slot_set_end - slot) << IO_TLB_SHIFT)
        nslots = (size_bytes + _OFFSET_IN_SLOT) >> IO_TLB_SHIFT
        near = self.mappings_near(slot)
        in_the_way = tuple(m for m in near if m.slot < slot + nslots and slot < m.slot + m.nslots)
        for mapping in in_the_way:
            self.release(mapping)
        # What is in use and in no mapping lies behind the last area.
        self._free.masks[slot >> SLOT_SET_SHIFT] |= ONES[nslots] << (slot & OFFSET_IN_SET)
        self._free.bounds[slot >> SLOT_SET_SHIFT] = IO_TLB_SEGSIZE
        self.take(slot, request._replace(alloc_size_bytes=size_bytes), dev)
        return in_the_way

    def restore(self, free: list[int], used: list[int], index: list[int], live: list[tuple[Mapping, bool]]) -> None:
        """Become the pool a snapshot shows (:mod:`swiotlb_top.allocator.adopt`).

        :param free: a bit mask a slot set.
        :param used: of each area, as the kernel counts it.
        :param index: of each area.
        :param live: the mappings, each with whether it is known where its buffer begins.
        """
        self._free = FreeSlots(free)
        # A list that runs on past the pool's end is unchanged, or says what was written there.
        in_pool = ONES[(self.nslabs - 1 & OFFSET_IN_SET) + 1]
        at_first = ONES[self._list_end - self.nslabs] << (self.nslabs - 1 & OFFSET_IN_SET) + 1
        self._behind = 0 if free[-1] & ~in_pool == at_first else free[-1] & ~in_pool
        self.area_used = list(used)
        self.area_index = list(index)
        self._live = {mapping.slot + mapping.pad_slots: mapping for mapping, settled in live if settled}
        self._unsettled = {}
        for mapping, settled in live:
            if not settled:
                self._remember_unsettled(mapping)

    def take_over(self, other: Pool, area: int, slots: range) -> None:
        """Make one area what it is in another state of this pool.

        :param slots: the slots of that area, which need not be whole slot sets.
        """
        self.area_used[area], self.area_index[area] = other.area_used[area], other.area_index[area]
        free, others = self._free, other._free
        for slot_set in range(slots.start >> SLOT_SET_SHIFT, (slots.stop + OFFSET_IN_SET) >> SLOT_SET_SHIFT):
            first = slot_set << SLOT_SET_SHIFT
            begin, end = max(slots.start - first, 0), min(slots.stop - first, IO_TLB_SEGSIZE)
            if slots.stop >= self.nslabs:
                end = min(self._list_end - first, IO_TLB_SEGSIZE)
                self._behind = other._behind
            own = ONES[end - begin] << begin
            free.masks[slot_set] = free.masks[slot_set] & ~own | others.masks[slot_set] & own
            free.bounds[slot_set] = IO_TLB_SEGSIZE
            for mine, theirs in ((self._live, other._live), (self._unsettled, other._unsettled)):
                for at in range(first, first + IO_TLB_SEGSIZE):
                    if at in mine and mine[at].slot in slots:
                        del mine[at]
                    if at in theirs and theirs[at].slot in slots:
                        mine[at] = theirs[at]

    def mappings(self) -> tuple[Mapping, ...]:
        """Every live mapping, in slot order."""
        live = self._live
        settled = [live[slot] for slot in sorted(live)]  # none reaches into another: in the order of their buffers
        return tuple(sorted({*settled, *self._unsettled.values()}) if self._unsettled else settled)

    def held(self, most: int) -> tuple[Mapping, ...] | None:
        """Every live mapping, in no order; None if there are more than ``most``."""
        return None if len(self._live) > most else (*self._live.values(), *{*self._unsettled.values()})

    def mapping_over(self, slot: int) -> Mapping | None:
        """The live mapping that has a slot."""
        if self._free.masks[slot >> SLOT_SET_SHIFT] >> (slot & OFFSET_IN_SET) & 1:
            return None
        return next((m for m in self.mappings_near(slot) if m.slot <= slot < m.slot + m.nslots), None)

    def mappings_near(self, slot: int) -> tuple[Mapping, ...]:
        """Those of the slot set that ``slot`` lies in, in slot order."""
        first = slot & ~OFFSET_IN_SET
        live, unsettled, in_set = self._live, self._unsettled, range(first, first + IO_TLB_SEGSIZE)
        if not unsettled:
            return tuple([live[at] for at in in_set if at in live])  # in the order of their buffers, as in mappings()
        return tuple(sorted({mapping for at in in_set if (mapping := live.get(at) or unsettled.get(at))}))

    @property
    def list_end(self) -> int:
        """The slot at which the free list ends: behind the pool's last, on old kernels behind its last slot set."""
        return self._list_end

    @property
    def end(self) -> int:
        """Address of the first byte after the pool."""
        return slot_addr(self.start, self.nslabs)

    @property
    def settled(self) -> bool:
        """Whether it is known of each mapping where its buffer begins."""
        return not self._unsettled

    @property
    def used_slots(self) -> int:
        """Slots in use, as ``mem_pool_used()`` sums them."""
        return sum(self.area_used)

    def free_slots(self, area_index: int) -> int:
        """Slots the area may still give out: ``area_nslabs - used``, what the kernel asks first.

        Not always the free slots inside it: where areas are no whole slot sets, a mapping may
        reach into the next area, and counts in the one it began in.
        """
        return self.area_nslabs - self.area_used[area_index]

    def free_run(self, slot: int) -> int:
        """The kernel's ``slots[slot].list``: free slots from here to the end of the run, 0..128."""
        return self._free.run(slot)

    def free_masks(self) -> tuple[int, ...]:
        """Free slots, a bit mask a slot set (bit i set = slot i of the set is free)."""
        return tuple(self._free.masks)

    def free_list(self) -> list[int]:
        """``list`` of every slot."""
        return [self.free_run(slot) for slot in range(self.nslabs)]

    def longest_free_slots(self, area_index: int | None = None) -> int:
        """The longest free run that begins in an area, or in any; 0..128 slots."""
        begin, areas = (0, self.nareas) if area_index is None else (area_index * self.area_nslabs, 1)
        return self._free.longest_run(begin, begin + areas * self.area_nslabs)

    def _remember_unsettled(self, mapping: Mapping) -> None:
        for slot in range(mapping.slot, mapping.slot + mapping.nslots):
            self._unsettled[slot] = mapping

    def _forget_unsettled(self, mapping: Mapping) -> None:
        for slot in range(mapping.slot, mapping.slot + mapping.nslots):
            if self._unsettled[slot] is not mapping:
                raise KeyError(f"{mapping} is not live")
            del self._unsettled[slot]
