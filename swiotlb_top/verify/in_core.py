"""The judge's part in the native core: it takes a copy of the model, and the model takes over what the core did in it.

The core judges calls that overlap no other, in pools on the list, and agrees or stops: what it stops at is judged by
Python, from the same state. The copy costs as much as there is in use, so that it is made for many calls only.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Final

from swiotlb_top.allocator import Allocator, Ledger, Mapping, Pool
from swiotlb_top.allocator.free import OFFSET_IN_SET
from swiotlb_top.allocator.order import SearchOrder, each_offset_every_pool, each_pool_every_area
from swiotlb_top.allocator.runs import ONES
from swiotlb_top.allocator.safety import Entry
from swiotlb_top.allocator.walk import Walk, WalkClass, walk_of
from swiotlb_top.constants import IO_TLB_SEGSIZE, PAGE_SIZE, SLOT_SET_SHIFT
from swiotlb_top.events import Find, Map
from swiotlb_top.native import core, layout
from swiotlb_top.native.pause import Pause
from swiotlb_top.verify.operations.lone_calls import LoneCalls, Meaning, Run

_ORDERS: Final[dict[SearchOrder, layout.Order]] = {
    each_pool_every_area: layout.Order.EACH_POOL_EVERY_AREA,
    each_offset_every_pool: layout.Order.EACH_OFFSET_EVERY_POOL,
}
_MOST_CLASSES: Final = 64
_MOST_SLOTS: Final = 1 << 19
_USED_AS_ONE: Final = 4
"""To copy the mappings of so many slots takes as long as to judge a call,"""
_SLOTS_AS_ONE: Final = 64
"""and so does to copy so many slots, used or not."""
_LOW: Final = (1 << 64) - 1


class Tables:
    """What addresses mean, as the core has it."""

    def __init__(self, meaning: Meaning) -> None:
        self.meaning = meaning
        self._tables = _tables(meaning)

    def resolved(self, run: Run) -> Run:
        """Those of a run, from the first on, whose pools and devices are known."""
        library = core()
        known = library.resolved(self._tables, run.address, len(run)) if library else 0
        return run.part(run.begin, run.begin + known)


def judge_at_once(model: Allocator, ledger: Ledger, calls: LoneCalls, pause: Pause) -> set[tuple[Pool, int]]:
    """Judge lone calls up to the first that the core does not know, or that the reference would do otherwise.

    :returns: the areas in which searches found slots.
    """
    library, pools, cost = core(), model.pools, cost_of(model.pools)
    if library is None or len(calls.run) < cost or model.order not in _ORDERS:
        pause.tried(0, len(calls.run))
        return set()
    alike = all(pool is calls.meaning.pools.get(pool.address, (None, 0))[0] for pool in pools)
    copy = _Copy.of(library, model, ledger, calls.meaning) if alike else None
    done = copy.judge(calls.run) if copy else 0
    pause.tried(done, cost)
    calls.judged_at_once(done)
    return copy.give_back(ledger) if copy and done else set()


def cost_of(pools: Iterable[Pool]) -> int:
    """What it takes to copy the model, and to take the copy back: as long as to judge so many calls one by one."""
    return sum(pool.used_slots // _USED_AS_ONE + pool.nslabs // _SLOTS_AS_ONE for pool in pools)


class _PoolCopy:
    """One pool of the model, as the core has it.

    :raises ValueError: it is not as the core knows pools, or the ledger does not say the same.
    """

    def __init__(self, pool: Pool, since_ns: int, ledger: Ledger) -> None:
        self.pool = pool
        self.before = pool.free_masks()
        self.mappings = {mapping.slot + mapping.pad_slots: mapping for mapping in pool.held(pool.nslabs) or ()}
        self.free = (ctypes.c_uint64 * (2 * len(self.before)))()
        self.used = (ctypes.c_int64 * pool.nareas)(*pool.area_used)
        self.index = (ctypes.c_uint32 * pool.nareas)(*pool.area_index)
        self.searched = (ctypes.c_uint8 * pool.nareas)()
        self.live = bytearray(layout.MAPPING.size * pool.nslabs)
        if pool.transient or not pool.settled or pool.list_end != pool.nslabs or not self._is_possible():
            raise ValueError
        mapped = self._fill(dict(ledger.entries(pool)))
        for at, (free, used) in enumerate(zip(self.before, ledger.used_slots(pool), strict=True)):
            if free & used or used != mapped.get(at, 0):
                raise ValueError
            self.free[2 * at], self.free[2 * at + 1] = free & _LOW, free >> 64
        live = ctypes.addressof((ctypes.c_char * len(self.live)).from_buffer(self.live))
        numbers = pool.address, pool.start, since_ns, pool.nslabs, pool.nareas, pool.area_nslabs, 0
        self.struct = layout.Pool(*numbers, self.free, self.used, self.index, self.searched, live)

    def _is_possible(self) -> bool:
        """Whether its numbers are those of a kernel, so that the core can count with them."""
        pool = self.pool
        return (
            not pool.start % PAGE_SIZE
            and all(0 <= used <= pool.nslabs for used in pool.area_used)
            and all(0 <= index < pool.area_nslabs for index in pool.area_index)
            and not self.before[-1] & ~ONES[(pool.nslabs - 1 & OFFSET_IN_SET) + 1]
        )

    def _fill(self, entries: dict[int, Entry]) -> dict[int, int]:
        """Enter the mappings, of which the ledger must say the same. Returns their slots, a bit mask a slot set."""
        mapped: dict[int, int] = {}
        for data_slot, mapping in self.mappings.items():
            slot, nslots, pad_slots, size_bytes, orig_addr, dev = mapping
            entry = entries.pop(data_slot, None)
            if entry is None or (entry.slot, entry.nslots) != (slot, nslots) or not 0 < nslots <= IO_TLB_SEGSIZE:
                raise ValueError
            told = nslots, pad_slots, size_bytes, orig_addr, dev, entry.tlb_addr & _LOW, 0
            layout.MAPPING.pack_into(self.live, data_slot * layout.MAPPING.size, *told)
            at = slot >> SLOT_SET_SHIFT
            mapped[at] = mapped.get(at, 0) | ONES[nslots] << (slot & OFFSET_IN_SET)
        if entries:
            raise ValueError
        return mapped

    def give_back(self, library: ctypes.CDLL, ledger: Ledger) -> set[tuple[Pool, int]]:
        """Make the pool and the ledger what the core has made of the copy. Returns the areas that were searched."""
        pool = self.pool
        free = [low | high << 64 for low, high in zip(self.free[::2], self.free[1::2], strict=True)]
        slots = (ctypes.c_uint32 * pool.nslabs)()
        made = {at: self._at(at) for at in slots[: library.made(self.struct, slots)]}
        live = {at: mapping for at, mapping in self.mappings.items() if self._is_as_before(at)}
        entries = {}
        for at, mapping in sorted(made.items(), key=lambda one: one[1][-1]):
            nslots, pad_slots, size_bytes, orig_addr, dev, tlb_addr, _ = mapping
            live[at] = Mapping(at - pad_slots, nslots, pad_slots, size_bytes, orig_addr, dev)
            entries[at] = Entry(at - pad_slots, nslots, tlb_addr)
        changed = [one ^ other for one, other in zip(self.before, free, strict=True)]
        gone = [at for at in self.mappings if at in entries or at not in live]
        ledger.take_over(pool, gone, entries, changed)
        pool.restore(free, list(self.used), list(self.index), [(mapping, True) for mapping in live.values()])
        return {(pool, area) for area in range(pool.nareas) if self.searched[area]}

    def _is_as_before(self, at: int) -> bool:
        nslots, *_, made_by = self._at(at)
        return bool(nslots) and not made_by

    def _at(self, at: int) -> tuple[int, ...]:
        return layout.MAPPING.unpack_from(self.live, at * layout.MAPPING.size)


class _Copy:
    """The model, as the core has it."""

    def __init__(self, library: ctypes.CDLL, model: Allocator, ledger: Ledger, meaning: Meaning) -> None:
        self._library = library
        self._model = model
        self._limits = meaning.devices
        self._devices = {dev: at for at, dev in enumerate(meaning.devices)}
        self._pools = [_PoolCopy(pool, meaning.pools[pool.address][1], ledger) for pool in model.pools]
        self._walks: dict[tuple[int, WalkClass], ctypes.Array[layout.Walk]] = {}
        self._kept = _tables(meaning)
        pools = (layout.Pool * len(self._pools))(*(pool.struct for pool in self._pools))
        self._classes = (layout.WalkClass * _MOST_CLASSES)()
        self._struct = layout.Allocator(
            pools, self._kept.devices, self._classes, len(pools), len(self._devices), 0,
            _ORDERS[model.order], model.default_nareas, model.revision.pads_slots, model.revision.rounds_size, 0,
            meaning.told_from_ns, model.patience,
        )  # fmt: skip

    @classmethod
    def of(cls, library: ctypes.CDLL, model: Allocator, ledger: Ledger, meaning: Meaning) -> _Copy | None:
        """A copy; None where the core cannot have it."""
        if sum(pool.nslabs for pool in model.pools) > _MOST_SLOTS:
            return None
        try:
            return cls(library, model, ledger, meaning)
        except ValueError:
            return None

    def judge(self, run: Run) -> int:
        """Judge calls. Returns how many are judged: those that stand before the first that the core left."""
        done = 0
        while done < len(run):
            left = run.part(run.begin + done, run.end)
            done += int(self._library.judged(self._struct, left.address, len(left)))
            if done == len(run) or not self._is_new(run.part(run.begin + done, run.begin + done + 1)):
                break
        self._model.patience = self._struct.patience
        return done

    def give_back(self, ledger: Ledger) -> set[tuple[Pool, int]]:
        """Make the model and the ledger what the core has made of the copy. Returns the areas that were searched."""
        return set().union(*(pool.give_back(self._library, ledger) for pool in self._pools))

    def _is_new(self, stopped_at: Run) -> bool:
        """Whether the core stopped at a search of a new class, which it knows from now on."""
        (call,) = stopped_at.events()
        if not isinstance(call, Find | Map):
            return False
        limits, no_buffer = self._limits[call.dev], not call.orig_addr
        asked = self._model.revision.request_of(call, limits) if isinstance(call, Map) else call
        page_or_more = asked.alloc_size_bytes >= PAGE_SIZE
        walk_class = call.alloc_align_mask, limits, page_or_more, no_buffer
        key = call.dev, walk_class
        if key in self._walks or len(self._walks) == _MOST_CLASSES:
            return False
        align = self._model.revision.alignment
        walks = [walk_of(align, pool.start, pool.list_end, walk_class) for pool in self._model.pools]
        table = self._walks[key] = (layout.Walk * len(walks))(*map(_walk, walks))
        self._classes[len(self._walks) - 1] = layout.WalkClass(
            self._devices[call.dev], call.alloc_align_mask, page_or_more, no_buffer, table
        )
        self._struct.nclasses = len(self._walks)
        return True


def _walk(walk: Walk) -> layout.Walk:
    """As the core has it; it does not walk until it is back where it began."""
    period, step, stride, match_mask, aligned, boundary_slots, boundary_shift, _, alignment = walk
    known_period = 0 if alignment.until_back else period
    return layout.Walk(known_period, step, stride, match_mask, aligned & _LOW, boundary_slots, boundary_shift)


def _tables(meaning: Meaning) -> layout.Allocator:
    """What the core must know to resolve calls."""
    pools = (layout.Pool * len(meaning.pools))(
        *(
            layout.Pool(address, pool.start, since_ns, pool.nslabs)
            for address, (pool, since_ns) in meaning.pools.items()
        )
    )
    devices = (layout.Device * len(meaning.devices))(
        *(
            layout.Device(dev, limits.min_align_mask, limits.seg_boundary_mask, limits.phys_limit)
            for dev, limits in meaning.devices.items()
        )
    )
    counts = {"npools": len(pools), "ndevices": len(devices)}
    return layout.Allocator(pools=pools, devices=devices, **counts, told_from_ns=meaning.told_from_ns)
