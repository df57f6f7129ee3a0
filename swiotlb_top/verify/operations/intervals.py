"""An operation that was not seen to begin: since when it was probably under way.

The probe missed its entry, or saw it on another CPU.
"""

from __future__ import annotations

from typing import Final

from swiotlb_top.events import ENTRY_UNKNOWN, Find, Free, Grow, Map, PoolAdd, Unmap

NEVER_NS: Final = 1 << 64
"""Later than any time of a stream."""
ASSUMED_DURATION_NS: Final = 30_000_000
"""So long such a call is tried to have taken. On four busy virtual CPUs that shared two real ones, one call in 10,000
took over a third of it. It may have taken any time: what does not agree while it may have been under way is
inconclusive (:mod:`swiotlb_top.verify.diagnose.unconfirmed`)."""


def assumed_entry_ns(event: Find | Map | Unmap | Free | PoolAdd | Grow) -> int:
    """When a call was entered, or probably not before."""
    return event.exit_ns - ASSUMED_DURATION_NS if event.entry_ns == ENTRY_UNKNOWN else event.entry_ns


def latest_entry_ns(event: Unmap) -> int:
    """When a call was entered, or can have been at the latest."""
    return event.exit_ns if event.entry_ns == ENTRY_UNKNOWN else event.entry_ns
