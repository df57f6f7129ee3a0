"""What is varied from one sound kernel to the next, and from one mapping to the next."""

from __future__ import annotations

from typing import Final, NamedTuple

from swiotlb_top.allocator import NO_BOUNDARY

ALIGN_MASKS: Final = (0, 0, 0xFFF, 0x3FFF, 0xFFFF)
MIN_ALIGN_MASKS: Final = (0, 0x1FF, 0xFFF, 0x3FFF)
BOUNDARIES: Final = (NO_BOUNDARY, 0xFFFF_FFFF, 0x3_FFFF, 0xFFFF)
OFFSETS: Final = (0, 0x1, 0x200, 0x7FF, 0x800, 0xA00, 0x1800, 0xFFF)
SIZES_BYTES: Final = (1, 700, 2048, 4096, 5000, 0x7FFF, 64 << 10, 200_000, 256 << 10, 512 << 10)
SIZE_WEIGHTS: Final = (4, 6, 6, 8, 6, 4, 4, 2, 2, 1)


class Setting(NamedTuple):
    """What a kernel is, and how it is seen."""

    revision: str
    map_hook: bool
    """``swiotlb_find_slots()`` is inlined, and the map tells of the search."""
    dynamic: bool
    odd_areas: bool
    own_pool: bool
    """A device has a restricted pool."""
    overlapping: bool
    """Calls on several CPUs overlap, and some move to another CPU."""
    late: bool
    """The state is read in the middle of things."""

    def __str__(self) -> str:
        words = [name for name, value in zip(self._fields, self, strict=True) if value is True]
        return " ".join([self.revision, *words])


class Asked(NamedTuple):
    """What a mapping asks for, in all that is varied."""

    alloc_align_mask: int
    min_align_mask: int
    seg_boundary_mask: int
    offset: int
    size_bytes: int
