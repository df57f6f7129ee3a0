"""Who holds the slots: the sentence that stands beside whoever fails."""

from __future__ import annotations

from collections.abc import Iterator

from swiotlb_top.accounting import numbers
from swiotlb_top.accounting.snapshot import DeviceView, Snapshot
from swiotlb_top.findings.watched import held_slots


def holders(fullest: Snapshot | None) -> Iterator[str]:
    """Who held most, and how much was held by nobody who is known: at most two sentences.

    :param fullest: the snapshot with the most slots in use.
    """
    if fullest is None or fullest.used_slots <= 0 or fullest.unseen:
        return
    now = fullest
    held = sorted(((held_slots(device), device) for device in now.devices), key=lambda one: -one[0])
    if held and held[0][0] > 0:
        slots, most = held[0]
        counted = "" if most.held_slots >= 0 else "about "
        yield (
            f"when {numbers.count(now.used_slots)} of {numbers.count(now.all_slots)} slots were in use, {who(most)} "
            f"held most: {counted}{numbers.count(slots)} slots in {numbers.counted(most.held_maps, 'mapping')}"
        )
    before = now.used_slots - sum(slots for slots, _ in held)
    if before * 10 >= now.used_slots:
        yield (
            f"about {numbers.count(before)} of them were held since before this began to watch: nobody can tell by whom"
        )


def who(device: DeviceView) -> str:
    """A device by its driver, its name, and what it is known by."""
    name = f"{device.driver} {device.name or '(unknown device)'}".strip()
    return f"{name} ({device.known_as})" if device.known_as else name
