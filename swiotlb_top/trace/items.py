"""What a trace is made of, besides the state, device names and gaps that live streams have too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Event, Gap
from swiotlb_top.records import count, decode
from swiotlb_top.state import DeviceName, KernelInfo, MemState


@dataclass(frozen=True, slots=True)
class Header:
    """Where a trace comes from. Event times are on ``clock``; ``started_realtime_ns`` is Unix time."""

    kernel: KernelInfo
    tool_version: str
    clock: str
    started_realtime_ns: int


@dataclass(frozen=True, slots=True)
class Records:
    """Consecutive ``struct record``s, 64 bytes each, as they left the ring buffer."""

    data: bytes

    @property
    def count(self) -> int:
        """Number of records."""
        return count(self.data)

    def events(self) -> Iterator[Event]:
        """Decode them. :raises UnreadableError: one is of a kind that only another swiotlb-top writes."""
        try:
            yield from decode(self.data)
        except ValueError as error:
            raise UnreadableError(f"the recording holds events this swiotlb-top does not know: {error}") from None


@dataclass(frozen=True, slots=True)
class End:
    """How a recording ended. ``counters`` are the kernel side's own, to check the records against."""

    counters: Mapping[str, int]
    duration_ns: int
    lost: int
    """Records the ring buffer had no room for, over the whole recording."""


@dataclass(frozen=True, slots=True)
class Known:
    """Every call that was entered before a moment has returned, and stands before this in the trace."""

    before_ns: int


Item: TypeAlias = Header | MemState | Records | DeviceName | Gap | Known | End
