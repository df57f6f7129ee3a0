"""Who holds the slots: it stands beside whoever fails."""

from __future__ import annotations

from collections.abc import Iterator

from swiotlb_top.accounting import numbers
from swiotlb_top.accounting.finding import Holder
from swiotlb_top.accounting.snapshot import UNKNOWN, DeviceView, Snapshot
from swiotlb_top.findings.watched import Watched, held_slots


def holder(watched: Watched) -> Holder | None:
    """The device that held most when most slots were in use; None if that is not known, or none held any."""
    then = _fullest(watched)
    if then is None:
        return None
    most = max(then.devices, key=lambda device: (held_slots(device), device.name), default=None)
    if most is None or held_slots(most) <= max(then.unowned_slots, 0):
        return None  # where more is nobody's, somebody may hold more
    return Holder(
        device=most.name,
        driver=most.driver,
        held_slots=held_slots(most),
        is_exact=most.held_slots >= 0,
        held_maps=most.all_held_maps,
        oldest_open_ns=max(then.time_ns - most.oldest_ns, 0) if most.oldest_ns >= 0 else UNKNOWN,
        used_slots=then.used_slots,
        all_slots=then.all_slots,
        is_now=then.time_ns == watched.now.time_ns,
        known_as=most.known_as,
        older_slots=most.earlier.slots,
    )


def itself(device: DeviceView) -> Holder | None:
    """The device whose map failed, if it held most of the slots in use then itself; None if not, or not known."""
    then = device.starved
    if then is None or then.held_slots * 2 <= then.used_slots:
        return None
    return Holder(
        device=device.name,
        driver=device.driver,
        held_slots=then.held_slots,
        is_exact=True,
        held_maps=UNKNOWN,
        oldest_open_ns=UNKNOWN,
        used_slots=then.used_slots,
        all_slots=then.all_slots,
        is_now=False,
        known_as=device.known_as,
    )


def told_of_itself(device: DeviceView) -> Iterator[str]:
    """How it stood when its latest map failed: a sentence, if that is known."""
    then = device.starved
    if then is not None:
        yield (
            f"when its latest map failed, {numbers.count(then.used_slots)} of {numbers.count(then.all_slots)} slots "
            f"were in use; it held {numbers.count(then.held_slots)} of them itself"
        )


def told(watched: Watched, most: Holder | None) -> Iterator[str]:
    """Who held most, and how much was held by nobody who is known: at most two sentences.

    :param most: what :func:`holder` says.
    """
    then = _fullest(watched)
    if then is None:
        return
    if most is not None:
        name = f"{most.driver} {most.device or '(unknown device)'}".strip()
        who = f"{name} ({most.known_as})" if most.known_as else name
        yield (
            f"when {numbers.count(then.used_slots)} of {numbers.count(then.all_slots)} slots were in use, {who} "
            f"held most: {most.slots} slots in {numbers.counted(most.held_maps, 'mapping')}{most.oldest}{most.older}"
        )
    nobodys = then.unowned_slots
    about = "" if nobodys >= 0 else "about "
    if nobodys < 0:
        nobodys = then.used_slots - sum(map(held_slots, then.devices))
    if nobodys * 10 >= then.used_slots:
        of = "them" if most is not None else f"{numbers.count(then.used_slots)} slots in use"
        yield (
            f"{about}{numbers.count(nobodys)} of {of} were held since before this began to watch: nobody can tell by "
            "whom"
        )


def _fullest(watched: Watched) -> Snapshot | None:
    then = watched.fullest
    return None if then is None or then.used_slots <= 0 or then.unseen else then
