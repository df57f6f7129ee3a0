"""A kernel without a fault: the reference allocator does what it is asked, and tells of it as the probes would.

Its calls take effect one after the other and overlap around that moment, as calls on several CPUs do. The memory of
pools that were freed is used again, and so are the addresses of their structs and those of devices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Final, NamedTuple

from swiotlb_top.allocator import DMA_MAPPING_ERROR, REVISIONS, Allocator, Limits, Pages, Pool, Request
from swiotlb_top.allocator.geometry import nr_slots
from swiotlb_top.allocator.walk import NEVER_ENDS
from swiotlb_top.constants import IO_TLB_SHIFT, IO_TLB_SIZE, NOT_FOUND
from swiotlb_top.cpus import Cpus
from swiotlb_top.events import (
    ENTRY_UNKNOWN,
    Device,
    Direction,
    Event,
    Find,
    Free,
    Grow,
    Map,
    PoolAlloc,
    PoolFree,
    Unmap,
)
from swiotlb_top.state import KernelInfo, MemState, PoolState
from tests.support.histories import machine, state_of
from tests.support.sound_kernel_settings import (
    ALIGN_MASKS,
    BOUNDARIES,
    MIN_ALIGN_MASKS,
    OFFSETS,
    SIZE_WEIGHTS,
    SIZES_BYTES,
    Asked,
    Setting,
)

MEM, OWN_MEM = 0xFF00_0000, 0xFF00_8000
POOL, OWN_POOL = MEM + 0x40, OWN_MEM + 0x40
START, OWN_START = 0x1000_1000, 0x3000_0000
FRAMES: Final = [0x4000_0000 + n * 0x80_0000 + offset for n, offset in enumerate((0, 0x1000, 0, 0x3000, 0x8000, 0) * 4)]
"""Where pages for new pools are had, none of them far apart from the next: soon they are used again."""
LONG_NS: Final = 40_000_000
"""No call takes as long."""
MOVED: Final = 0.02
"""Of so many searches the entry is not seen: they began on one CPU and end on another. Nothing else goes on then."""
STRUCTS: Final = [0xFF10_0000 + n * 0x40 for n in range(24)]
LATER_FRAME: Final = 3
"""Of so many that were freed last, the next is any."""
DEVICES: Final = (0xD0, 0xD8, 0xE0)
OWN_DEVICE: Final = 0xF0
DMA_MASK: Final = (1 << 36) - 1
CPUS: Final = Cpus.parse("0-1,4,6")
DEFAULT_NSLABS: Final = {False: 512, True: 640 + 24}
"""Slots of the default pool, by whether its areas are no whole slot sets and the last is followed by slots of none."""
TOLD_POOL: Final = frozenset({"6.10", "7.3", "6.10 in 6.6's order"})
SKIP_CPU_SYNC: Final = 1 << 5


class Live(NamedTuple):
    """A mapping."""

    dev: int
    tlb_addr: int
    size_bytes: int
    pool: Pool
    mapped_ns: int
    """When its map returned."""


@dataclass(frozen=True)
class Span:
    """When a call was entered, took effect and returned."""

    entry_ns: int
    moment_ns: int
    exit_ns: int
    cpu: int


class SoundKernel:
    """Plays a kernel; ``events`` is what was seen of it, in the order it ended."""

    def __init__(self, setting: Setting, seed: int) -> None:
        self.setting = setting
        self.random = Random(seed)  # noqa: S311
        # 6.1 gives out slots past the end of a pool that is no whole slot sets, and is then no sound kernel.
        self.revision = replace(REVISIONS[setting.revision], bounds_list=True)
        self.events: list[Event] = []
        self.asked: set[Asked] = set()
        self.live: list[Live] = []
        self.failures = self.maps = self.unmaps = 0
        self._now_ns = 1000
        self._free_ns = dict.fromkeys(CPUS.numbers(), 0)
        self._limits: dict[int, Limits] = {}
        self._frames = list(FRAMES)
        self._structs = list(STRUCTS)
        self._growth_asked = False
        self.stands_in = setting.map_hook and setting.revision == "6.1" and self.random.random() < 0.5
        """``swiotlb_map()`` is watched, which no IOMMU calls."""
        nareas = 5 if setting.odd_areas else 4
        self.swiotlb = Allocator(
            self.revision,
            [Pool(POOL, START, DEFAULT_NSLABS[setting.odd_areas], nareas, rule=self.revision.rule)],
            DEFAULT_NSLABS[setting.odd_areas],
            nareas,
            can_grow=setting.dynamic,
            dynamic=setting.dynamic,
        )
        own = Pool(OWN_POOL, OWN_START, 300, 1, rule=self.revision.rule)
        self.own = Allocator.restricted(self.revision, own, dynamic=setting.dynamic)
        self.told_pool = not setting.dynamic or (setting.revision in TOLD_POOL and self.random.random() < 0.8)
        for dev in (*DEVICES, *((OWN_DEVICE,) if setting.own_pool else ())):
            self.plug_in(dev)

    @property
    def info(self) -> KernelInfo:
        return KernelInfo("6.12.0", "x86_64", "", CPUS, (), ())

    def forget(self) -> None:
        """Nobody watched until now."""
        self.events.clear()
        self.failures = self.maps = self.unmaps = 0

    # ---- time --------------------------------------------------------------

    def span(self, not_before_ns: int = 0, *, lasts_ns: int = 30) -> Span:
        """A call on a CPU that has nothing else to do.

        :param lasts_ns: how long it may go on after its effect.
        """
        draw = self.random.randrange
        cpu = self.random.choice(CPUS.numbers()) if self.setting.overlapping else CPUS.numbers()[0]
        begin_ns = max(self._free_ns[cpu], not_before_ns) + 1
        moment_ns = max(self._now_ns + draw(3, 12), begin_ns + 2)
        entry_ns = max(begin_ns, moment_ns - draw(2, 30))
        exit_ns = moment_ns + draw(2, lasts_ns if self.setting.overlapping else 3)
        self._now_ns, self._free_ns[cpu] = moment_ns, exit_ns
        return Span(entry_ns, moment_ns, exit_ns, cpu)

    def let_all_end(self, pause_ns: int = 100) -> int:
        """A time at which no call is under way, and none was for some time."""
        self._now_ns = max(self._now_ns, *self._free_ns.values()) + pause_ns
        return self._now_ns

    # ---- what happens ------------------------------------------------------

    def step(self) -> None:
        """Anything."""
        draw = self.random.random()
        if self._growth_asked and draw < 0.3:
            self.grow()
        elif draw < 0.36 and self.setting.own_pool:
            self.use_own_pool()
        elif 0.36 <= draw < 0.37 and self.setting.map_hook and not self.revision.rounds_size and not self.stands_in:
            self.refuse_a_map()
        elif draw < (0.5 if self.swiotlb.awaiting_grace else 0.37):
            self.end_grace_period()
        elif 0.37 < draw < 0.39:
            self.plug_in(self.random.choice(DEVICES))
        elif draw < 0.7 + (0.2 if len(self.live) < 12 else -0.1):
            self.map(self.random.choice(DEVICES))
        elif self.live:
            self.unmap(self.random.randrange(len(self.live)))

    def plug_in(self, dev: int) -> None:
        """A device at this address, which another had before if nothing is mapped for that one."""
        if any(live.dev == dev for live in self.live):
            return
        draw = self.random.choice
        mem = OWN_MEM if dev == OWN_DEVICE else MEM
        boundary_mask, min_align_mask = draw(BOUNDARIES[:2] * 4 + BOUNDARIES), draw(MIN_ALIGN_MASKS)
        self._limits[dev] = Limits(boundary_mask, min_align_mask, DMA_MASK)
        self.events.append(Device(self.let_all_end(), dev, mem, DMA_MASK, 0, boundary_mask, min_align_mask))

    def ask(self, dev: int) -> Asked:
        draw, limits = self.random.choice, self._limits[dev]
        (size_bytes,) = self.random.choices(SIZES_BYTES, SIZE_WEIGHTS)
        align_mask = 0 if self.stands_in else draw(ALIGN_MASKS)
        return Asked(align_mask, limits.min_align_mask, limits.seg_boundary_mask, draw(OFFSETS), size_bytes)

    def map(self, dev: int, size_bytes: int = 0) -> None:
        """``swiotlb_tbl_map_single()``, of any size if none is given."""
        asked, limits = self.ask(dev), self._limits[dev]
        if size_bytes:
            asked = asked._replace(size_bytes=size_bytes)
        swiotlb = self.own if dev == OWN_DEVICE else self.swiotlb
        orig_addr = 0x20_0000 + asked.offset
        request = self.revision.request(asked.size_bytes, orig_addr, asked.alloc_align_mask, limits)
        moved = self.setting.overlapping and self.random.random() < MOVED
        if moved:
            self.let_all_end(LONG_NS)
        span = self.span()
        if any(pool.search(area, request) == NEVER_ENDS for pool, area in set(swiotlb.attempts(span.cpu))):
            return  # nobody would hear of it again
        grows = swiotlb.find_slots(span.cpu, request) is None and swiotlb.grows_for(request)
        pages = self.pages(nr_slots(request.alloc_size_bytes)) if grows else None
        if grows:
            self._growth_asked = True
            self.tell_pool(pages, span, swiotlb.transient_pool(request, pages).nslabs if pages else 0)
        waiting = len(swiotlb.awaiting_grace)
        tlb_addr = swiotlb.map(span.cpu, dev, orig_addr, asked.size_bytes, asked.alloc_align_mask, limits, pages)
        self.asked.add(asked)
        failed = tlb_addr == DMA_MAPPING_ERROR
        if failed:
            self.failures += 1
            if pages is not None and len(swiotlb.awaiting_grace) == waiting:
                self.give_back(pages)
            self.tell_map(span, dev, request, asked, tlb_addr, None, moved=moved)
            return
        pool = swiotlb.find_pool(dev, tlb_addr)
        assert pool is not None
        if self.stands_in and not moved and self.random.random() < 0.05:
            self.take_back(span, dev, request, asked, tlb_addr, pool)
            return
        self.maps += 1
        self.live.append(Live(dev, tlb_addr, asked.size_bytes, pool, span.exit_ns))
        self.tell_map(span, dev, request, asked, tlb_addr, pool, moved=moved)

    def take_back(self, span: Span, dev: int, request: Request, asked: Asked, tlb_addr: int, pool: Pool) -> None:
        """``swiotlb_map()`` finds that the device cannot reach the buffer."""
        swiotlb = self.own if dev == OWN_DEVICE else self.swiotlb
        swiotlb.unmap(dev, tlb_addr, self._limits[dev].min_align_mask)
        self.failures += 1
        self.unmaps += 1
        times = span.moment_ns, span.moment_ns + 1, span.cpu
        unmap = Unmap(*times, dev, pool.address, tlb_addr, asked.size_bytes, Direction.TO_DEVICE, SKIP_CPU_SYNC)
        self.events.append(unmap)
        self.tell_map(span, dev, request, asked, DMA_MAPPING_ERROR, None, moved=False)

    def refuse_a_map(self) -> None:
        """Who maps wants less allocated than mapped: up to 6.9 that is turned down before any search."""
        span = self.span()
        self.failures += 1
        times = span.entry_ns, span.exit_ns, span.cpu
        refused = Map(*times, False, DEVICES[0], 0x20_0000, 4096, 0, Direction.TO_DEVICE, 0, DMA_MAPPING_ERROR, 2048)
        self.events.append(refused)

    def unmap(self, which: int) -> None:
        """``swiotlb_tbl_unmap_single()`` by the size that was mapped, as every driver does."""
        gone = self.live.pop(which)
        swiotlb = self.own if gone.dev == OWN_DEVICE else self.swiotlb
        span = self.span(gone.mapped_ns, lasts_ns=100 if gone.pool.transient else 30)
        assert swiotlb.unmap(gone.dev, gone.tlb_addr, self._limits[gone.dev].min_align_mask) is not None
        self.unmaps += 1
        pool = gone.pool.address if self.told_pool else 0
        times = span.entry_ns, span.exit_ns, span.cpu
        self.events.append(Unmap(*times, gone.dev, pool, gone.tlb_addr, gone.size_bytes, Direction.TO_DEVICE, 0))
        if gone.pool.transient and self.random.random() < 0.5:
            # Its memory is another pool's before the unmap returns.
            self.end_grace_period()
            self.map(gone.dev, gone.size_bytes)

    def grow(self) -> None:
        """``swiotlb_dyn_alloc()``, by a worker on a CPU of its own."""
        self._growth_asked = False
        self._now_ns += 40
        entry_ns, moment_ns, exit_ns = self._now_ns - 30, self._now_ns, self._now_ns + 30
        span = Span(entry_ns, moment_ns, exit_ns, CPUS.end)

        def page_source(nslabs: int) -> Pages | None:
            pages = self.pages(nslabs)
            self.tell_pool(pages, span, nslabs, self.nareas_of(nslabs))
            return pages

        self.swiotlb.run_worker(page_source)
        head = self.swiotlb.pools[0]
        self.events.append(Grow(entry_ns, exit_ns, MEM, head.address, head.start, head.nslabs, head.nareas))

    def nareas_of(self, nslabs: int) -> int:
        default = self.swiotlb.default_nslabs, self.swiotlb.default_nareas
        return next(nareas for slots, nareas in self.revision.grow_sizes(*default) if slots == nslabs)

    def use_own_pool(self) -> None:
        """``swiotlb_alloc()`` and ``swiotlb_free()``, or a mapping, of the device that has a pool for itself.

        Up to 6.8 the former is not sound: it may hand out half of somebody else's page (CVE-2024-35814).
        """
        if self.random.random() < 0.5 or self.setting.map_hook or not self.revision.aligns_alloc:
            self.map(OWN_DEVICE)
            return
        size_bytes = self.random.choice((4096, 5000))
        span = self.span()
        request = Request(0, size_bytes, self.revision.alloc_align_mask(size_bytes), self._limits[OWN_DEVICE])
        found = self.own.find_slots(span.cpu, request)
        page = self.own.alloc(span.cpu, OWN_DEVICE, size_bytes, self._limits[OWN_DEVICE])
        slot, pool = (found.slot, OWN_POOL) if found else (NOT_FOUND, 0)
        times = span.entry_ns, span.exit_ns, span.cpu
        self.events.append(Find(*times[:3], False, OWN_DEVICE, pool, 0, size_bytes, request.alloc_align_mask, slot))
        self.maps += slot >= 0
        self.failures += slot < 0
        if slot >= 0:
            span = self.span(span.exit_ns)
            self.unmaps += 1
            if page is not None:
                self.own.free(OWN_DEVICE, page)
            self.events.append(Free(span.entry_ns, span.exit_ns, span.cpu, OWN_DEVICE, OWN_POOL, page or 0, size_bytes))

    def end_grace_period(self) -> None:
        """The memory of transient pools goes back, and may be had again at once."""
        self._now_ns += 5
        for pool in self.swiotlb.end_grace_period():
            self._now_ns += 2
            self.events.append(PoolFree(self._now_ns, pool.address))
            self.give_back(Pages(pool.address, pool.start))

    # ---- memory --------------------------------------------------------------

    def pages(self, nslabs: int) -> Pages | None:
        """Memory for a pool, mostly what was freed a short time ago."""
        assert nslabs << IO_TLB_SHIFT < FRAMES[2] - FRAMES[0]
        if len(self._frames) < 2 or self.random.random() < 0.1:
            return None
        return Pages(self._any_of(self._structs), self._any_of(self._frames))

    def _any_of(self, free: list[int]) -> int:
        return free.pop(-self.random.randint(1, min(LATER_FRAME, len(free))))

    def give_back(self, pages: Pages) -> None:
        self._structs.append(pages.address)
        self._frames.append(pages.start)

    # ---- what is seen of it ----------------------------------------------------

    def tell_pool(self, pages: Pages | None, span: Span, nslabs: int, nareas: int = 1) -> None:
        """``swiotlb_alloc_pool()`` returned, some time before its caller has what it wants."""
        address, start = pages or (0, 0)
        if address:
            self.events.append(PoolAlloc(span.moment_ns - 1, span.cpu, address, start, nslabs, nareas))
        else:
            self.events.append(PoolAlloc(span.moment_ns - 1, span.cpu, 0, 0, 0, 0))

    def tell_map(
        self, span: Span, dev: int, request: Request, asked: Asked, tlb_addr: int, pool: Pool | None, *, moved: bool
    ) -> None:
        entry_ns, cpu = span.entry_ns, span.cpu
        if moved:
            entry_ns, cpu = ENTRY_UNKNOWN, self.random.choice(CPUS.numbers())
        align_mask = asked.alloc_align_mask
        if self.setting.map_hook:
            alloc = 0 if self.revision.rounds_size or self.stands_in else (asked.size_bytes + align_mask) & ~align_mask
            self.events.append(
                Map(entry_ns, span.exit_ns, cpu, moved, dev, request.orig_addr, asked.size_bytes, align_mask,
                    Direction.TO_DEVICE, 0, tlb_addr, alloc)
            )  # fmt: skip
            return
        address, slot = 0, NOT_FOUND
        if pool is not None:
            slot = ((tlb_addr - pool.start) >> IO_TLB_SHIFT) - self.revision.pad_slots(request)
            address = pool.address
        self.events.append(
            Find(entry_ns, span.exit_ns, cpu, moved, dev, address, request.orig_addr, request.alloc_size_bytes,
                 align_mask, slot)
        )  # fmt: skip

    def state(self) -> MemState:
        """The allocator as it is read now, while nothing is under way."""
        begin_ns = self.let_all_end(LONG_NS)
        end_ns = self.let_all_end()
        pools = tuple(self._read(pool, begin_ns, end_ns) for pool in self.swiotlb.pools)
        swiotlb = self.swiotlb
        if not self.setting.late:
            self.let_all_end()  # or the next call may have been entered before, and nobody judges it
        return replace(
            machine(*pools, can_grow=swiotlb.can_grow, transient_nslabs=swiotlb.transient_nslabs),
            address=MEM,
            dynamic=swiotlb.dynamic,
            default_nslabs=swiotlb.default_nslabs,
            default_nareas=swiotlb.default_nareas,
        )

    def _read(self, pool: Pool, begin_ns: int, end_ns: int) -> PoolState:
        """As the kernel keeps it: what precedes the buffer in its first slot is in no slot's ``alloc_size``."""
        state = state_of(pool, begin_ns, end_ns)
        alloc_size = list(state.alloc_size)
        for mapping in pool.mappings():
            limits = self._limits[mapping.dev]
            offset = mapping.orig_addr & limits.min_align_mask & (IO_TLB_SIZE - 1)
            for slot in range(mapping.slot, mapping.slot + mapping.nslots):
                alloc_size[slot] = (alloc_size[slot] - offset) & 0xFFFF_FFFF_FFFF_FFFF
        return replace(state, alloc_size=tuple(alloc_size))
