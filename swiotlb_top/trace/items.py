"""What a trace is made of: a header that says where it comes from, and a stream as from a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from swiotlb_top import stream
from swiotlb_top.state import KernelInfo
from swiotlb_top.stream import End, Known, Records

__all__ = ["PARTIAL", "End", "Header", "Item", "Known", "Records"]

PARTIAL: Final = "it has the calls of some devices or pools only, which nobody can judge without the others"
"""What is said of a recording that is partial."""


@dataclass(frozen=True, slots=True)
class Header:
    """Where a trace comes from. Event times are on ``clock``; ``started_realtime_ns`` is Unix time.

    The last four are not in the first recordings.
    """

    kernel: KernelInfo
    tool_version: str
    clock: str
    started_realtime_ns: int
    started_monotonic_ns: int = 0
    """The same moment on ``clock``; 0 where it is not told."""
    host: str = ""
    """The machine's name; empty where it is not told."""
    anonymised: bool = False
    """Whether addresses and names in it are not the machine's."""
    partial: bool = False
    """Whether it has the calls of some devices only, or those in some pools only."""


Item: TypeAlias = Header | stream.Item
