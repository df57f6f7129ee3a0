"""One need: slots from one time to another."""

from __future__ import annotations

from typing import NamedTuple

from swiotlb_top.allocator import Request
from swiotlb_top.sizing.starts import Starts


class Need(NamedTuple):
    """Slots that a device needs from one time to another.

    It was asked for between ``asked_ns`` and ``had_ns`` and given back between ``freeing_ns`` and ``freed_ns``: so it
    surely holds its slots from ``had_ns`` to ``freeing_ns``, and surely not before ``asked_ns`` or after ``freed_ns``.
    """

    asked_ns: int
    had_ns: int
    freeing_ns: int
    freed_ns: int
    cpu: int
    dev: int
    request: Request
    starts: Starts
    """Where its search looks; it knows how many slots that is for."""
