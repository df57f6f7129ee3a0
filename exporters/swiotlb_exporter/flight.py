"""The flight recorder that runs beside the source, as samples; none where none is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from swiotlb_top.accounting.snapshot import Snapshot


def number(snapshot: Snapshot, name: Literal["recording", "held_bytes", "files", "not_written"]) -> Iterator[Any]:
    """A number of :class:`.FlightView`."""
    if snapshot.flight:
        yield (), getattr(snapshot.flight, name)


def fired(snapshot: Snapshot) -> Iterator[Any]:
    """How often each trigger fired."""
    if snapshot.flight:
        yield from (((kind,), times) for kind, times in snapshot.flight.fired)


def last_file(snapshot: Snapshot) -> Iterator[Any]:
    """The latest file, and when its trigger fired."""
    flight = snapshot.flight
    if flight and flight.last_file:
        yield (flight.last_file, flight.last_trigger), flight.last_wall_ns / 1e9
