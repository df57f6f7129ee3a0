"""The log: growth, pools, failures, losses and disagreement, in words.

For a recording it is written from the events, with their times (:class:`Journal`). Most calls of a live kernel are only
counted, so there it is written from the changes between two snapshots (:func:`entries`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from swiotlb_top.accounting.past import Past
from swiotlb_top.accounting.snapshot import FailureView, Snapshot, VerdictView
from swiotlb_top.events import Event, Gap, Grow, PoolAdd, PoolFree
from swiotlb_top.state import MemState
from swiotlb_top.stream import Consumer

KEPT: Final = 200
_MOST_DEVICES: Final = 20
"""How many devices one snapshot may add to the log. If a thousand fail at once, the headline says so."""

Weight: TypeAlias = Literal["good", "plain", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log: when it was seen, how grave it is, a word to look for, and a sentence."""

    time_ns: int
    weight: Weight
    word: str
    sentence: str


class Journal(Consumer):
    """The log of a stream of events."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._pools: dict[int, Entry] = {}
        """The pools on the allocator's list, each with the entry for its addition."""

    def state(self, mem: MemState) -> None:
        """A state was read: log the pools that were added or freed while events were lost."""
        known, self._pools = self._pools, {}
        for pool in mem.pools:
            added = _pool(mem.begin_ns, "pool added", pool.start, pool.nslabs, pool.nareas)
            self._pools[pool.address] = known.get(pool.address, added)
            if known and pool.address not in known:
                self._entries.append(added)
        for address, gone in known.items():
            if address not in self._pools:
                self._entries.append(replace(gone, time_ns=mem.begin_ns, word="pool freed"))

    def feed(self, events: Sequence[Event]) -> None:
        """The next events."""
        for event in events:
            if isinstance(event, PoolAdd | Grow):
                self._grew(event)
            elif isinstance(event, PoolFree):
                gone = self._pools.pop(event.pool, None)
                if gone is not None:
                    self._entries.append(replace(gone, time_ns=event.exit_ns, word="pool freed"))

    def gap(self, gap: Gap) -> None:
        """Events were lost."""
        self._entries.append(_gap(gap.exit_ns, gap.lost) if gap.lost else Entry(gap.exit_ns, "warn", "gap", gap.cause))

    def entries(self, begun: Sequence[FailureView], disagreements: Sequence[Entry]) -> tuple[Entry, ...]:
        """All of it, the latest first.

        :param begun: the failures with which devices began to fail.
        :param disagreements: those that are known.
        """
        found = [*self._entries, *(_begun(failure) for failure in begun), *disagreements]
        return tuple(sorted(found, key=lambda entry: -entry.time_ns)[:KEPT])

    def _grew(self, event: PoolAdd | Grow) -> None:
        if event.pool and event.pool not in self._pools:
            self._pools[event.pool] = _pool(event.exit_ns, "pool added", event.start, event.nslabs, event.nareas)
            self._entries.append(self._pools[event.pool])
        if isinstance(event, Grow):
            self._entries.append(Entry(event.exit_ns, "plain", "growth", "swiotlb_dyn_alloc() ran once"))


def disagreement(time_ns: int, sentence: str) -> Entry:
    """What the log says of a disagreement."""
    return Entry(time_ns, "bad", "disagreement", sentence or "the kernel broke an invariant")


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
        since_ns = pool.since_ns if pool.since_ns > 0 else now.time_ns
        yield _pool(since_ns, "pool added", pool.start, pool.nslabs, pool.nareas)
    for address in old.keys() - new.keys() if new else ():
        pool = old[address]
        yield _pool(now.time_ns, "pool freed", pool.start, pool.nslabs, pool.nareas)


def _failing(first: Past, before: Snapshot, now: Snapshot) -> Iterator[Entry]:
    """Devices that fail now and did not since ``first``: a device that fails all the time is logged once."""
    earlier = {device.dev: device.map_failures for device in before.devices}
    begun = [
        device
        for device in now.devices
        if device.map_failures > earlier.get(device.dev, 0) == first.device(device.dev).map_failures
    ]
    for device in begun[:_MOST_DEVICES]:
        yield _begins(now.time_ns, device.name, device.driver, device.last_failure)


def _lost(before: Snapshot, now: Snapshot) -> Iterator[Entry]:
    if now.lost > before.lost:
        yield _gap(now.time_ns, now.lost - before.lost)


def _verdict(before: Snapshot, now: Snapshot) -> Iterator[Entry]:
    old, new = before.verdict, now.verdict
    if new and _faults(new) > (_faults(old) if old else 0):
        yield disagreement(now.time_ns, new.first_disagreement)


_KINDS: Final[tuple[Callable[[Snapshot, Snapshot], Iterator[Entry]], ...]] = (
    _growth,
    _pools,
    _lost,
    _verdict,
)


def _faults(verdict: VerdictView) -> int:
    return verdict.disagree + verdict.safety_violations


def _pool(time_ns: int, word: str, start: int, nslabs: int, nareas: int) -> Entry:
    areas = f"{nareas} area{'' if nareas == 1 else 's'}"
    return Entry(time_ns, "plain", word, f"{start:#x}: {nslabs} slots in {areas}")


def _begun(failure: FailureView) -> Entry:
    return _begins(failure.time_ns, failure.device, failure.driver, failure.sentence)


def _begins(time_ns: int, name: str, driver: str, why: str) -> Entry:
    who = f"{name} ({driver})" if driver else name
    return Entry(time_ns, "bad", "failing", f"{who}: {why}" if why else who)


def _gap(time_ns: int, lost: int) -> Entry:
    return Entry(time_ns, "warn", "gap", f"{lost} event{'' if lost == 1 else 's'} lost")


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
