"""What numbers count, and what a number may be."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

Value: TypeAlias = str | int | float | tuple[int, ...] | None
"""A cell's; None is: not known."""


class Unit(Enum):
    """What a number counts, and so how it is written."""

    WORDS = "words"
    ADDRESS = "physical address"
    COUNT = "count"
    SLOTS = "slots of 2 KiB"
    PERCENT = "%"
    BYTES = "bytes"
    PER_SECOND = "per second"
    PER_MINUTE = "per minute"
    BYTES_PER_SECOND = "MB per second"
    DURATION = "time"
    AGE = "time since"
    CLOCK = "time on the kernel's clock"
    HISTOGRAM = "counts by size"
