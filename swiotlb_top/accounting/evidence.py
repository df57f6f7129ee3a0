"""What is known of why a device's mappings bounce: its limits, its recorded maps, and the machine around it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from swiotlb_top.allocator import Limits
from swiotlb_top.constants import IO_TLB_SIZE, PAGE_SIZE
from swiotlb_top.events import Find, Map
from swiotlb_top.kernel.around import Around

SMALL_BYTES: Final = 256
"""Only buffers below twice ARCH_DMA_MINALIGN, 128 bytes at most, bounce because of kmalloc()."""


@dataclass(slots=True)
class Tried:
    """Recorded maps of a device, refused ones too, by where their buffers lie. All were to bounce."""

    translated: int = 0
    """Asked for by dma-iommu, which alone asks for an alignment: the device is behind an IOMMU."""
    beyond: int = 0
    """Of the others: the buffer ends above what the device reaches."""
    small: int = 0
    """It lies within the device's reach, and has less than 256 bytes."""
    within: int = 0
    """It lies within the device's reach, and is larger."""

    def add(self, call: Find | Map, limits: Limits) -> None:
        """Count a map of a device with these limits."""
        if call.orig_addr == 0:  # swiotlb_alloc(), which has no buffer
            return
        if call.alloc_align_mask >= PAGE_SIZE - 1:
            self.translated += 1
            return
        size_bytes = call.mapping_size_bytes if isinstance(call, Map) else _mapping_size_bytes(call, limits)
        if call.orig_addr + size_bytes - 1 > limits.phys_limit:
            self.beyond += 1
        elif size_bytes < SMALL_BYTES:
            self.small += 1
        else:
            self.within += 1

    @property
    def direct(self) -> int:
        """Those of dma-direct."""
        return self.beyond + self.small + self.within

    def copy(self) -> Tried:
        return replace(self)


def _mapping_size_bytes(search: Find, limits: Limits) -> int:
    """What dma-direct maps: a search is told of it with the bytes before the buffer in its first slot."""
    return search.alloc_size_bytes - (search.orig_addr & limits.min_align_mask & (IO_TLB_SIZE - 1))


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it, for one device. None: not known."""

    limits: Limits | None = None
    restricted: bool | None = None
    """It has an allocator of its own, which a restricted-dma-pool of the device tree gives it."""
    forced: bool | None = None
    """``force_bounce`` of the machine's allocator."""
    tried: Tried = field(default_factory=Tried)
    around: Around = field(default_factory=Around)

    @property
    def is_direct(self) -> bool | None:
        """Whether dma-direct maps for it, and not dma-iommu, which gives it addresses that an IOMMU translates."""
        if self.tried.translated:
            return False
        if self.tried.direct:
            return True
        return None if self.around.translated is None else not self.around.translated

    @property
    def reach(self) -> int | None:
        """The highest address that the device reaches."""
        return self.around.reach if self.limits is None else self.limits.phys_limit
