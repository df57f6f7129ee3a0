"""Who holds the slots, as samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from swiotlb_exporter.devices import OTHER, Who, who
from swiotlb_exporter.spec import MetricSpec, Sample, Seen
from swiotlb_top.accounting.snapshot import UNKNOWN


def _held(seen: Seen) -> Iterator[Sample]:
    held: dict[Who, int] = {}
    for device in seen.snapshot.devices:
        if device.all_held_slots != UNKNOWN:
            whose = who(device) if who(device) in seen.devices else OTHER
            held[whose] = held.get(whose, 0) + device.all_held_slots
    yield from held.items()


def _unowned(seen: Seen) -> Iterator[Sample]:
    if seen.snapshot.unowned_slots != UNKNOWN:
        yield (), seen.snapshot.unowned_slots


METRICS: Final = (
    MetricSpec(
        "swiotlb_held_slots",
        "gauge",
        ("device", "driver"),
        "Slots of open mappings: those made since the exporter began, and older ones that the device has synced since.",
        _held,
    ),
    MetricSpec(
        "swiotlb_unowned_slots",
        "gauge",
        (),
        "Slots in use of which no device has shown that it holds them: of mappings from before the exporter began.",
        _unowned,
    ),
)
