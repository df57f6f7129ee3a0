"""Why swiotlb has no memory on a machine: then no mapping bounces, and there is nothing to watch."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Final, Self

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import settings

_ZONE: Final = re.compile(r"^Node +\d+, zone +(\w+)$.*?^ +present +(\d+)$", re.MULTILINE | re.DOTALL)
_WITHIN_REACH: Final = frozenset({"DMA", "DMA32"})
"""Zones whose memory a device with a DMA mask of 32 bits reaches."""


class NoPool(Enum):
    """Why swiotlb has no memory; the value is what people are told."""

    NOFORCE = "swiotlb is off: this kernel was booted with swiotlb=noforce"
    ALL_WITHIN_REACH = (
        "swiotlb has no memory, and needs none: its devices reach all of this machine's memory, so the kernel set "
        "nothing aside"
    )
    IOMMU = "swiotlb has no memory, and needs none: this machine's devices reach memory through an IOMMU"
    UNKNOWN = "swiotlb has no memory: the kernel set none aside"

    @property
    def next_step(self) -> str:
        """What to do about it, if anything."""
        return _NEXT_STEPS.get(self, "there is nothing to watch, and nothing to be done")


_NEXT_STEPS: Final = {
    NoPool.NOFORCE: "there is nothing to watch unless it is booted without that",
    NoPool.UNKNOWN: "its log (dmesg) may say why",
}


class NoPoolError(CannotError):
    """swiotlb has no memory on this machine.

    :param next_step: what to do about it; empty for the usual step, ``why.next_step``.
    """

    def __init__(self, why: NoPool, next_step: str = "") -> None:
        super().__init__(why.value, next_step or why.next_step)
        self.why = why

    @classmethod
    def here(cls, root: Path = settings.ROOT) -> Self:
        """The error with the reason that holds on this machine; ``root`` is where proc/ and sys/ are."""
        return cls(why_no_pool(root))


def why_no_pool(root: Path = settings.ROOT) -> NoPool:
    """Why a kernel whose swiotlb has no memory set none aside, as far as it can be told.

    Mirrors ``swiotlb_init_remap()``, which sets memory aside where some memory is beyond the reach of 32 bits, or
    where bouncing is forced; and ``swiotlb_exit()``, which gives it back where an IOMMU serves all devices.

    :param root: where proc/ and sys/ are.
    """
    if "noforce" in settings.boot_words(settings.text("proc/cmdline", root)):
        return NoPool.NOFORCE
    present_pages: dict[str, int] = {}
    for zone, pages in _ZONE.findall(settings.text("proc/zoneinfo", root)):
        present_pages[zone] = present_pages.get(zone, 0) + int(pages)
    if present_pages and all(zone in _WITHIN_REACH or not pages for zone, pages in present_pages.items()):
        return NoPool.ALL_WITHIN_REACH
    return NoPool.IOMMU if any((root / "sys/class/iommu").glob("*")) else NoPool.UNKNOWN
