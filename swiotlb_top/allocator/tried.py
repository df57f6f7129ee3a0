"""How the reference was tried for each revision: what kernels of its kind were at hand to compare it with."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from swiotlb_top.allocator.differences import SEED
from swiotlb_top.allocator.revision import Revision
from swiotlb_top.allocator.trees import OPENEULER_24, RHEL_9, STABLE_6_6_24, STABLE_6_6_35, TREES, UBUNTU_6_8


class Tried(Enum):
    """What was compared with a revision. The value is what people are told."""

    BOOTED = "kernels of its kind were booted and compared"
    PATCHED = "a kernel with patches of ours that do the same was booted and compared, and so was the C of its kind"
    COMPILED = "the C of its kind was compiled in userspace and compared, and no kernel booted"
    NOTHING = "nothing of its kind was tried"


_BOOTED: Final = ("6.1", SEED, "6.10", "6.10 in 6.6's order", "7.3")
"""Debian's 6.1 and 7.3, and its 6.12, as they are and built anew; the seed as a patch of 6.12 (tests/lab)."""
_COMPILED: Final = ("6.0", "6.6.0", "6.6", "6.8", "6.9", *(tree.name for tree in TREES))
"""tests/zoo has what the C of these answered."""
_PATCHED: Final = (
    *("6.6", "6.8", "6.9"),
    *(tree.name for tree in (STABLE_6_6_24, STABLE_6_6_35, UBUNTU_6_8, RHEL_9, OPENEULER_24)),
)
"""6.12 with patches, as ``make matrix`` boots it: docs/support.md."""
_TRIED: Final[Mapping[str, Tried]] = {
    **dict.fromkeys(_COMPILED, Tried.COMPILED),
    **dict.fromkeys(_PATCHED, Tried.PATCHED),
    **dict.fromkeys(_BOOTED, Tried.BOOTED),
}


def tried(revision: Revision) -> Tried:
    """How it was tried."""
    return _TRIED.get(revision.name, Tried.NOTHING)
