"""What changed from one snapshot to the next, in words: growth, pools, failures, losses, disagreement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from swiotlb_top.accounting.past import Past
from swiotlb_top.accounting.snapshot import DeviceView, Snapshot, VerdictView

KEPT: Final = 200
_MOST_DEVICES: Final = 20
"""Devices named in one go; a thousand that fail at once are told by the headline."""

Weight: TypeAlias = Literal["good", "plain", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log: when it was seen, how grave it is, a word to look for, and a sentence."""

    time_ns: int
    weight: Weight
    word: str
    sentence: str


def entries(first: Past, before: Snapshot, now: Snapshot) -> tuple[Entry, ...]:
    """What happened between two snapshots; ``first`` is as far back as is known."""
    return (*(entry for kind in _KINDS for entry in kind(before, now)), *_failing(first, before, now))


def _growth(before: Snapshot, now: Snapshot) -> Iterator[Entry]:
    if 0 <= before.growths < now.growths:
        times = now.growths - before.growths
        yield Entry(now.time_ns, "plain", "growth", f"swiotlb_dyn_alloc() ran {_times(times)}")


def _pools(before: Snapshot, now: Snapshot) -> Iterator[Entry]:
    old = {pool.address: pool for pool in before.pools if not pool.transient}
    new = {pool.address: pool for pool in now.pools if not pool.transient}
    for address in new.keys() - old.keys() if old else ():
        pool = new[address]
        areas = f"{pool.nareas} area{'s' if pool.nareas > 1 else ''}"
        yield Entry(now.time_ns, "plain", "pool added", f"{pool.start:#x}: {pool.nslabs} slots in {areas}")
    for address in old.keys() - new.keys() if new else ():
        yield Entry(now.time_ns, "plain", "pool freed", f"{old[address].start:#x}: {old[address].nslabs} slots")


def _failing(first: Past, before: Snapshot, now: Snapshot) -> Iterator[Entry]:
    """Devices that fail and did not as far back as is known: who fails all the time fails once."""
    earlier = {device.dev: device.map_failures for device in before.devices}
    begun = [
        device
        for device in now.devices
        if device.map_failures > earlier.get(device.dev, 0) == first.device(device.dev).map_failures
    ]
    for device in begun[:_MOST_DEVICES]:
        why = f": {device.last_failure}" if device.last_failure else ""
        yield Entry(now.time_ns, "bad", "failing", f"{_who(device)}{why}")


def _lost(before: Snapshot, now: Snapshot) -> Iterator[Entry]:
    if now.lost > before.lost:
        yield Entry(now.time_ns, "warn", "gap", f"{now.lost - before.lost} events lost")


def _verdict(before: Snapshot, now: Snapshot) -> Iterator[Entry]:
    old, new = before.verdict, now.verdict
    if new and _faults(new) > (_faults(old) if old else 0):
        yield Entry(now.time_ns, "bad", "disagreement", new.first_disagreement or "the kernel broke an invariant")


_KINDS: Final[tuple[Callable[[Snapshot, Snapshot], Iterator[Entry]], ...]] = (
    _growth,
    _pools,
    _lost,
    _verdict,
)


def _faults(verdict: VerdictView) -> int:
    return verdict.disagree + verdict.safety_violations


def _who(device: DeviceView) -> str:
    return f"{device.name} ({device.driver})" if device.driver else device.name


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
