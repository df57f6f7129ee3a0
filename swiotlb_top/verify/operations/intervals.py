"""The interval of a call: from its invocation to its response.

The probe sees every response. It may miss an invocation, or see it on another CPU; then the time of the invocation is
assumed.
"""

from __future__ import annotations

from typing import Final

from swiotlb_top.events import ENTRY_UNKNOWN, Find, Free, Grow, Map, PoolAdd, Unmap

NEVER_NS: Final = 1 << 64
"""Later than any time of a stream, in nanoseconds."""
ASSUMED_DURATION_NS: Final = 30_000_000
"""How long a call whose invocation was not seen is assumed to have taken.

On four busy virtual CPUs that shared two real ones, one call in 10,000 took more than a third of this. It may have
taken any time: a disagreement while it may have been under way is therefore inconclusive
(:mod:`swiotlb_top.verify.diagnose.unconfirmed`).
"""


def assumed_entry_ns(event: Find | Map | Unmap | Free | PoolAdd | Grow) -> int:
    """When a call was invoked; if that was not seen, the time before which it was probably not."""
    return event.exit_ns - ASSUMED_DURATION_NS if event.entry_ns == ENTRY_UNKNOWN else event.entry_ns


def latest_entry_ns(event: Unmap) -> int:
    """When a call was invoked; if that was not seen, the last time at which it can have been."""
    return event.exit_ns if event.entry_ns == ENTRY_UNKNOWN else event.entry_ns
