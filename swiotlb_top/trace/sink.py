"""What a recorder writes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from swiotlb_top.events import Gap
from swiotlb_top.state import DeviceName, MemState


class Sink(Protocol):
    """Takes a recording, item by item: a file that grows (:class:`.TraceWriter`), or memory that holds its latest part.

    What each method takes and raises is said there.
    """

    def state(self, mem: MemState) -> None: ...

    def records(self, packed: bytes) -> None: ...

    def device_name(self, device_name: DeviceName) -> None: ...

    def gap(self, gap: Gap) -> None: ...

    def known(self, before_ns: int) -> None: ...

    def end(self, counters: Mapping[str, int], duration_ns: int, lost: int) -> None: ...
