"""What a trace is made of, besides the state, device names and gaps that live streams have too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from swiotlb_top.events import RECORD, Gap
from swiotlb_top.state import DeviceName, KernelInfo, MemState

Extra: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Header:
    """Where a trace comes from. Event times are on ``clock``; ``started_realtime_ns`` is Unix time."""

    kernel: KernelInfo
    tool_version: str
    clock: str
    started_realtime_ns: int
    extras: Mapping[str, Extra] = field(default_factory=dict)
    """Anything flat that a report may want to show."""


@dataclass(frozen=True, slots=True)
class Records:
    """Consecutive ``struct record``s, 64 bytes each, as they left the ring buffer."""

    data: bytes

    @property
    def count(self) -> int:
        """Number of records."""
        return len(self.data) // RECORD.size


@dataclass(frozen=True, slots=True)
class End:
    """How a recording ended. ``counters`` are the kernel side's own, to check the records against."""

    counters: Mapping[str, int]
    duration_ns: int
    lost: int
    """Records the ring buffer had no room for, over the whole recording."""


Item: TypeAlias = Header | MemState | Records | DeviceName | Gap | End
