"""Random machines and what is done on them, in the words of the driver; a fixed seed gives fixed commands.

The reference is asked as the commands are made: an unmap must name what is mapped. So what comes out is a list of
commands and of the reference's answers. Only what a sound kernel may be asked is asked.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from swiotlb_top.allocator import Revision
from tests.oracle.reference import Reference

OPERATIONS: Final = ("map", "unmap", "alloc", "free")
"""Commands that count as operations; all others set the stage or look."""
_NAREAS: Final = (1, 1, 2, 2, 3, 4, 4, 5, 6, 8, 8, 12, 16, 24)
_MIN_ALIGN_MASKS: Final = (0, 0, 0, 0x1FF, 0x7FF, 0xFFF, 0xFFF, 0x1FFF, 0x3FFF, 0xFFFF)
_SEG_BOUNDARY_MASKS: Final = (
    *(0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF),
    *(0xFFF, 0x1FFF, 0x3FFF, 0xFFFF, 0x1FFFF, 0x3FFFF, 0xFFFFF),
)
_DMA_MASKS: Final = (0xFFFF_FFFF_FFFF_FFFF, 0xFF_FFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF, 0x7FFF_FFFF)
_BUS_DMA_LIMITS: Final = (0, 0, 0, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF, 0x5FFF_FFFF)
_ALLOC_ALIGN_MASKS: Final = (0, 0, 0, 0, 0x7FF, 0xFFF, 0xFFF, 0x1FFF, 0x3FFF, 0xFFFF)
_LARGEST_BYTES: Final = 512 << 10
_PAGE_SIZE: Final = 4096
_REGION_SIZE: Final = 8 << 20
"""Each pool that is made has its pages in a region of its own: room for the largest block, wherever it is aligned."""
_NREGIONS: Final = 511
_LOW, _HIGH = 0x4000_0000, 0x1_4000_0000
"""Where regions begin; the high ones are out of many devices' reach."""
_REQUESTS: Final = 160
_SOMETHING_ELSE_EVERY: Final = 16


@dataclass(frozen=True, slots=True)
class Mode:
    """How a kernel's swiotlb is used."""

    dynamic: bool = False
    """Built with CONFIG_SWIOTLB_DYNAMIC."""
    restricted: bool = False
    """All devices have reserved memory, with one area. Else some have where the kernel is static."""
    may_track_hiwater: bool = False
    """Some are booted with swiotlb=...,track_hiwater, where that option is known."""

    @property
    def name(self) -> str:
        return "restricted" if self.restricted else "dynamic" if self.dynamic else "static"


@dataclass(frozen=True, slots=True)
class Request:
    """What a driver asks again and again; `line` is the command."""

    line: str
    dev: int
    cpu: int
    orig_addr: int
    size_bytes: int
    align_mask: int
    alloc_size: int | None


class Scenario:
    """A machine, and so many operations on it (what only looks at it comes on top)."""

    def __init__(self, seed: int, revision: Revision, mode: Mode, operations: int) -> None:
        self.commands: list[str] = []
        self.answers: list[str] = []
        self._random = random.Random(seed)  # noqa: S311
        self._mode = mode
        self._revision = revision
        self._reference = Reference(revision, dynamic=mode.dynamic)
        self._live: list[tuple[int, int, int]] = []
        """Mappings: device, address, size."""
        self._handed_out: list[tuple[int, int, int]] = []
        """Pages of `swiotlb_alloc()`: device, address, size."""
        self._regions = [*range(_NREGIONS, -1, -1)]
        self._region = -1
        self._returning: list[int] = []
        self._grows = False
        self._set_the_stage()
        self._requests = [self._request() for _ in range(_REQUESTS)]
        self._play(operations)
        self._look()
        if self._random.randrange(4) == 0:
            for pool in self._reference.allocator.pools:
                self._do(f"state {pool.start:x}")

    # ---- the machine ----

    def _set_the_stage(self) -> None:
        pick, mode = self._random.choice, self._mode
        if mode.may_track_hiwater:
            self._do(f"track {pick((0, 1))}")
        # A small pool is full soon, and then there are transient ones.
        nareas = pick(_NAREAS if pick((True, not mode.dynamic)) else (1, 1, 2))
        area_nslabs = pick((128, 128, 128, 256, 384, 160, 200, 512))
        nslabs = max(nareas * area_nslabs + 127 & ~127, 256)
        restricted = mode.restricted or (not mode.dynamic and pick((True, *[False] * 7)))
        self._grows = mode.dynamic and not restricted and pick((True, True, True, False))
        limit = pick((0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF, 0x4FFF_FFFF))
        default_nareas = nareas if pick((True, True, False)) else pick(_NAREAS)
        start = 0x1000_0000 + self._random.randrange(1 << 14) * _PAGE_SIZE
        self._do(f"init {nslabs} {nareas} {default_nareas} {start:x} {self._grows:d} {limit:x}")
        if restricted:
            nslabs = pick((128, 256, 512, 1024))
            if pick((True, False)):
                nslabs += self._random.randrange(2, 128, 2)
            self._do(f"restricted {nslabs} {start + (8 << 30):x}")
        for dev in range(self._random.randrange(1, 5)):
            limits = (pick(_MIN_ALIGN_MASKS), pick(_SEG_BOUNDARY_MASKS), pick(_DMA_MASKS), pick(_BUS_DMA_LIMITS))
            self._do(f"dev {dev} " + " ".join(f"{limit:x}" for limit in limits))

    def _request(self) -> Request:
        draw, pick = self._random.randrange, self._random.choice
        dev, cpu, align_mask = draw(len(self._reference.limits)), draw(pick((2, 8, 32))), pick(_ALLOC_ALIGN_MASKS)
        # Page, half page and 512 bytes are where buffers begin; some anywhere. 0 would be no buffer.
        orig_addr = (draw(1, 1 << 24) << 12) + draw(4096) // pick((1, 512, 2048, 4096)) * pick((1, 512, 2048))
        size_bytes = pick(
            (draw(1, 4096), draw(1, 32768), draw(1, 1 << 18), draw(1, _LARGEST_BYTES + 1), 512, 4096, 8192, 65536)
        )
        if draw(3):
            size_bytes = min(size_bytes, draw(1, 1 << draw(9, 17)))
        if draw(4):
            # What is longer than a segment is never had: not too much of that.
            size_bytes = min(size_bytes, self._reference.limits[dev].seg_boundary_mask + 1)
        alloc_size = None
        if not self._revision.rounds_size and not draw(4):
            # Who maps may want more than there is to map; less is refused.
            alloc_size = max(size_bytes + draw(-64, 8192), 1)
        line = f"map {dev} {cpu} {orig_addr:x} {size_bytes} {align_mask:x}"
        if alloc_size is not None:
            line += f" {alloc_size}"
        return Request(line, dev, cpu, orig_addr, size_bytes, align_mask, alloc_size)

    # ---- what is done ----

    def _play(self, operations: int) -> None:
        draw = self._random.random
        maps = 0.8
        for operation in range(operations):
            if operation % _SOMETHING_ELSE_EVERY == 0:
                maps = self._something_else(maps)
            if draw() < maps:
                self._map()
            elif self._handed_out and draw() < 0.5:
                self._free()
            elif self._live:
                self._unmap()
            else:
                self._map()

    def _something_else(self, maps: float) -> float:
        one_in = self._random.randrange
        allocator = self._reference.allocator
        if self._mode.dynamic:
            if one_in(4) == 0:
                self._name_pages()
            if allocator.growth_pending and one_in(16) == 0 and len(allocator.pools) < 12:
                self._work()
            if one_in(4) == 0:
                self._do("grace")
                self._regions += self._returning
                self._returning.clear()
        if one_in(16) == 0:
            self._look()
        if one_in(64) == 0:
            self._do("hiwater0")
        if not self._grows and one_in(1 if self._mode.restricted else 8) == 0:
            self._alloc()
        # Filling, holding and emptying take turns, for long enough that pools become full, and empty.
        return self._random.choice((0.35, 0.5, 0.65, 0.8)) if one_in(6) == 0 else maps

    def _look(self) -> None:
        self._do("sum")
        if self._mode.dynamic:
            self._do("transient")

    def _map(self) -> None:
        reference = self._reference
        if self._grows:
            self._have_pages()
        its = self._requests[int(self._random.random() * _REQUESTS)]
        answer = reference.map(its.dev, its.cpu, its.orig_addr, its.size_bytes, its.align_mask, its.alloc_size)
        self.commands.append(its.line)
        self.answers.append(answer)
        if not answer.startswith(("fail", "hang")):
            self._live.append((its.dev, int(answer.partition(" ")[0], 16), its.size_bytes))

    def _unmap(self) -> None:
        live = self._live
        chosen = int(self._random.random() * len(live))
        live[chosen], live[-1] = live[-1], live[chosen]
        dev, address, size_bytes = live.pop()
        self.commands.append(f"unmap {dev} {address:x} {size_bytes}")
        self.answers.append(self._reference.unmap(dev, address, size_bytes))
        if self._reference.returned:
            self._returning.append(_region_of(address))

    def _work(self) -> None:
        self._have_pages()
        self._do("work")

    def _have_pages(self) -> None:
        if self._region < 0 or self._reference.pages_spent:
            self._name_pages()

    def _alloc(self) -> None:
        draw = self._random.randrange
        dev, size_bytes = draw(len(self._reference.limits)), draw(1, 1 << draw(1, 20))
        answer = self._do(f"alloc {dev} {draw(8)} {size_bytes}")
        # Up to 6.8 half a page may have been handed out, and freeing it would free what is in its other half.
        if answer.startswith("page") and self._reference.page_is_whole:
            self._handed_out.append((dev, int(answer.split()[1], 16), size_bytes))

    def _free(self) -> None:
        dev, address, size_bytes = self._handed_out.pop(self._random.randrange(len(self._handed_out)))
        self._do(f"free {dev} {address:x} {size_bytes}")

    def _name_pages(self) -> None:
        """The next pages are in a region that no pool has; the one that came back last, as from a page allocator."""
        if self._region >= 0 and not self._reference.pages_spent:
            self._regions.append(self._region)
        self._region = self._regions.pop()
        base = _HIGH if self._random.randrange(8) == 0 else _LOW
        start = base + self._region * _REGION_SIZE + self._random.randrange(1024) * _PAGE_SIZE
        fails = self._random.choice((0, 0, 0, 0, 0, 0, 1, 2, 4))
        self._do(f"pages {start:x} {fails}")

    def _do(self, command: str) -> str:
        answer = self._reference.perform(command)
        self.commands.append(command)
        self.answers.append(answer)
        return answer


def _region_of(address: int) -> int:
    return (address - (_HIGH if address >= _HIGH else _LOW)) // _REGION_SIZE
