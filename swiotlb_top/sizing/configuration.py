"""What swiotlb could be booted with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from swiotlb_top.allocator import Revision
from swiotlb_top.allocator.growth import limit_nareas
from swiotlb_top.constants import IO_TLB_SEGSIZE, IO_TLB_SHIFT

SMALLEST_NSLABS: Final = (1 << 20) >> IO_TLB_SHIFT
LARGEST_NSLABS: Final = (4 << 30) >> IO_TLB_SHIFT
SIZES_NSLABS: Final = tuple(
    1 << order for order in range(SMALLEST_NSLABS.bit_length() - 1, LARGEST_NSLABS.bit_length())
)
"""Every power of two from 1 MiB to 4 GiB, in slots."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A pool at boot, and whether it may grow."""

    nslabs: int
    nareas: int
    dynamic: bool
    revision: Revision

    @classmethod
    def of(cls, nslabs: int, nareas: int, dynamic: bool, revision: Revision) -> Configuration:
        """With no more areas than such a pool has slot sets, as ``limit_nareas()``; one at least."""
        return cls(nslabs, max(limit_nareas(nareas, nslabs), 1), dynamic, revision)

    @property
    def is_regular(self) -> bool:
        """Whether its areas are whole slot sets, and a search asks all of them: what the bounds suppose."""
        return self.nareas & (self.nareas - 1) == 0 and self.nslabs % (self.nareas * IO_TLB_SEGSIZE) == 0

    @property
    def memory_bytes(self) -> int:
        """Of the slots at boot."""
        return self.nslabs << IO_TLB_SHIFT

    @property
    def command_line(self) -> str:
        """The kernel's parameter for it."""
        return f"swiotlb={self.nslabs},{self.nareas}"
