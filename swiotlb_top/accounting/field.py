"""What a field is: a number that is shown somewhere, with its name, title, unit, origin and help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import DeviceView, FailureView, PoolView, Snapshot

Value: TypeAlias = str | int | float | tuple[int, ...] | None
"""A cell's; None is: not known."""
Row = TypeVar("Row", DeviceView, PoolView, FailureView, Snapshot)


class Unit(Enum):
    """What a number counts, and so how it is written."""

    WORDS = "words"
    ADDRESS = "physical address"
    COUNT = "count"
    SLOTS = "slots of 2 KiB"
    PERCENT = "%"
    BYTES = "bytes"
    PER_SECOND = "per second"
    BYTES_PER_SECOND = "MB per second"
    DURATION = "time"
    AGE = "time since"
    CLOCK = "time on the kernel's clock"
    HISTOGRAM = "counts by size"


class Origin(Enum):
    """Where a field comes from."""

    COUNTERS = "counted at every call"
    CALLS = "recorded calls; live: in bursts"
    RECORDING = "recorded calls; live: not known"
    STATE = "the allocator's own state"
    SLOTS = "the slots, as last read; live: in bursts"


@dataclass(frozen=True, slots=True)
class Field(Generic[Row]):
    """One field. ``rank`` says which go first where there is little room: the lowest stay."""

    name: str
    title: str
    unit: Unit
    origin: Origin
    rank: int
    help: str
    value: Callable[[Frame, Row], Value]
