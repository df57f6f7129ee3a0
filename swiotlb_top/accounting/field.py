"""What a field is: a number that is shown somewhere, with its name, title, unit, origin and help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, TypeVar

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import UNKNOWN, DeviceView, FailureView, PoolView, Snapshot
from swiotlb_top.accounting.units import Unit, Value

Row = TypeVar("Row", DeviceView, PoolView, FailureView, Snapshot)


class Origin(Enum):
    """Where a field comes from."""

    COUNTERS = "counted at every call"
    CALLS = "recorded calls; live: in bursts"
    RECORDING = "recorded calls; live: not known"
    READINGS = "all readings so far"
    STATE = "the allocator's own state"
    SLOTS = "the slots, as last read; live: in bursts"


RARE: Final = 12


@dataclass(frozen=True, slots=True)
class Field(Generic[Row]):
    """One field. ``rank`` says which go first where there is little room: the lowest stay.

    A field of rank :data:`RARE` or more has no column where nothing of it is known.
    """

    name: str
    title: str
    unit: Unit
    origin: Origin
    rank: int
    help: str
    value: Callable[[Frame, Row], Value]


def known(value: float) -> float | None:
    """The number, or None where it is not known."""
    return None if value == UNKNOWN else value


def age_ns(frame: Frame, since_ns: int) -> int | None:
    """The time from then to that of the frame; None where it is not known when that was."""
    return None if since_ns == UNKNOWN else max(0, frame.now.time_ns - since_ns)
