"""Turns the events of a recording into what happened: a mapping began, ended or was refused, a pool grew or went.

It uses the same account as the screen and ``replay``. The tables (:mod:`.opened`) and the timeline are made from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from swiotlb_top.accounting.fields import pool_kind
from swiotlb_top.accounting.pool_account import Held, PoolAccount
from swiotlb_top.accounting.watcher import Watcher
from swiotlb_top.events import Direction, Event, Find, Free, Gap, Grow, Map, PoolAdd, PoolAlloc, PoolFree, Unmap
from swiotlb_top.pipeline import account_of
from swiotlb_top.recording.answers import Answers
from swiotlb_top.recording.clock import Clock
from swiotlb_top.recording.pools import PoolsSeen
from swiotlb_top.recording.rows import Failure, Mapping, Pool
from swiotlb_top.state import DeviceName, KernelInfo, MemState
from swiotlb_top.stream import Consumer

_Call: TypeAlias = Find | Map | Unmap | Free


class Level(NamedTuple):
    """How many slots were in use right after an event."""

    pool: int
    """In the pool of the mapping."""
    all: int
    """In all pools, transient ones too."""
    transient: int
    """In all transient pools."""


@dataclass(frozen=True, slots=True)
class Began:
    """A mapping was made. The fields about its end are None."""

    mapping: Mapping
    call: Find | Map
    pool: PoolAccount | None
    level: Level | None
    """None where it is not known."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A mapping ended, or the recording does not have its end (``unmap_ns`` is None)."""

    mapping: Mapping
    call: Find | Map | None
    """The call that made it; None where that was before the recording, or is not known."""
    pool: PoolAccount | None = None
    level: Level | None = None
    """None where it is not known, or the end of the mapping is not."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A map failed."""

    mapping: Mapping
    failure: Failure
    has_row: bool = True
    """Whether the mapping has no other row: that of slots which were given back at once comes with their end."""


@dataclass(frozen=True, slots=True)
class Grew:
    """``swiotlb_dyn_alloc()`` ran."""

    event: Grow


@dataclass(frozen=True, slots=True)
class Gone:
    """A pool's memory was given back, or the recording no longer has the pool."""

    row: Pool


@dataclass(frozen=True, slots=True)
class Lost:
    """Events were lost. Every mapping that was held gets its row now, without an end: its unmap may be among them."""

    gap: Gap


@dataclass(frozen=True, slots=True)
class Read:
    """A state was read from which the account begins: its pools, oldest first, with the used slots of each area."""

    time_ns: int
    pools: tuple[tuple[PoolAccount, tuple[int, ...]], ...]


Happening: TypeAlias = Began | Ended | Refused | Grew | Gone | Lost | Read


class Books(Consumer, Watcher):
    """Takes a stream of items, and gives what happened.

    :param answers: the answers of the judge; None if the recording is not judged.
    :raises UsageError: there is no such revision.
    :raises CannotError: no revision is known for this kernel, or none would be true of this machine.
    """

    def __init__(self, kernel: KernelInfo, revision: str | None, clock: Clock, answers: Answers | None) -> None:
        self.account = account_of(kernel, revision, self)
        self._clock = clock
        self._answers = answers
        self._happened: list[Happening] = []
        self._open: dict[int, tuple[Find | Map, Mapping]] = {}
        """Mappings that are held, by the ``id()`` of the call that made them. The account keeps these calls alive."""
        self._pools = PoolsSeen(clock)
        self._place = -1
        """The number of the present event in the stream."""
        self._failures = 0
        self._latest_cause: str | None = None
        """Of the latest failed map."""

    def take(self) -> Iterator[Happening]:
        """What happened since the last call."""
        happened, self._happened = self._happened, []
        return iter(happened)

    # ---- the stream ------------------------------------------------------

    def state(self, mem: MemState) -> None:
        begins = self.account.blind
        if begins:
            self._forget_open()
        self.account.state(mem)
        if begins:
            used = {pool.address: tuple(area.used for area in pool.areas) for pool in mem.pools}
            there = self.account.pools
            self._happened += map(Gone, self._pools.read(there.values()))
            self._happened.append(Read(mem.begin_ns, tuple((pool, used[at]) for at, pool in there.items())))

    def gap(self, gap: Gap) -> None:
        self.account.gap(gap)
        self._pools.lost()
        self._forget_open()
        self._happened.append(Lost(gap))

    def name(self, name: DeviceName) -> None:
        self.account.name(name)

    def feed(self, events: Sequence[Event]) -> None:
        for event in events:
            self._place += 1
            if isinstance(event, PoolAlloc | PoolFree):
                self._happened += map(Gone, self._pools.gone(event.pool, event.exit_ns, isinstance(event, PoolFree)))
            self.account.feed((event,))
            if isinstance(event, PoolAdd | Grow):
                if (pool := self.account.pools.get(event.pool)) is not None:
                    self._pools.seen(pool)
                if isinstance(event, Grow):
                    self._happened.append(Grew(event))

    def finish(self) -> None:
        """The stream is over: give the mappings that are still held, and the pools that are still there."""
        self._forget_open()
        self._happened += map(Gone, self._pools.rest())

    # ---- mappings, as the account enters them --------------------------------

    def mapped(self, call: Find | Map, size_bytes: int, nslots: int, pool: PoolAccount | None, slot: int) -> None:
        mapping = self._row(call, size_bytes, nslots)
        if pool is not None:
            self._pools.took(pool)
            mapping = mapping._replace(pool=_address(pool), pool_kind=pool_kind(pool), slot=slot)
        self._happened.append(Began(mapping, call, pool, self._level(pool)))
        if pool is None:
            self._happened.append(Ended(mapping, call))
        else:
            self._open[id(call)] = call, mapping

    def refused(self, call: Find | Map, size_bytes: int, nslots: int) -> None:
        self._fail(call, size_bytes, nslots, has_row=True)

    def unreachable(self, call: Unmap, size_bytes: int, nslots: int) -> None:
        self._fail(call, size_bytes, nslots, has_row=False)

    def _fail(self, call: Find | Map | Unmap, size_bytes: int, nslots: int, *, has_row: bool) -> None:
        why = self._answers.why(self._failures) if self._answers else None
        self._failures += 1
        self._latest_cause = why.cause if why else None
        mapping = self._row(call, size_bytes, nslots)._replace(failed=True, cause=self._latest_cause)
        account = self.account
        failure = Failure(
            wall_ns=self._clock.wall_ns(call.exit_ns),
            time_ns=call.exit_ns,
            device=mapping.device,
            driver=mapping.driver,
            cpu=call.cpu,
            size_bytes=size_bytes,
            needed_slots=nslots,
            latency_ns=mapping.latency_ns,
            cause=mapping.cause,
            sentence=why.sentence if why else None,
            longest_free_slots=why.longest_free_slots if why else None,
            verdict=mapping.verdict,
            used_slots=None if account.blind or account.used_slots < 0 else account.used_slots,
            nslabs=account.nslabs,
        )
        self._happened.append(Refused(mapping, failure, has_row))

    def released(self, call: Unmap | Free, pool: PoolAccount | None, slot: int, held: Held) -> None:
        began = self._open.pop(id(held.call), None) if held.call is not None else None
        mapping = began[1] if began else self._row_from_before(call, pool, slot, held)
        if isinstance(call, Unmap) and call.unreachable:
            mapping = mapping._replace(failed=True, cause=self._latest_cause)
        end = {
            "unmap_wall_ns": self._clock.wall_ns(call.exit_ns),
            "unmap_ns": call.exit_ns,
            "hold_ns": None if mapping.map_ns is None else call.exit_ns - mapping.map_ns,
            "unmap_cpu": call.cpu,
            "direction": mapping.direction or (_direction(call.direction) if isinstance(call, Unmap) else None),
            "unmap_latency_ns": _latency_ns(call),
            "unmap_verdict": self._answers.verdict(self._place) if self._answers else None,
        }
        self._happened.append(Ended(mapping._replace(**end), began[0] if began else None, pool, self._level(pool)))  # type: ignore[arg-type]

    def _forget_open(self) -> None:
        self._happened += [Ended(mapping, call) for call, mapping in self._open.values()]
        self._open.clear()

    def _level(self, pool: PoolAccount | None) -> Level | None:
        account = self.account
        if pool is None or account.blind or min(pool.used_slots, account.used_slots) < 0:
            return None
        return Level(pool.used_slots, account.used_slots, account.transient_slots)

    def _row(self, call: _Call, size_bytes: int, nslots: int | None) -> Mapping:
        """The part of a row that a map shows."""
        device = self.account.devices[call.dev]
        latency_ns = _latency_ns(call)
        judged = self._answers
        return _NOTHING._replace(
            map_wall_ns=self._clock.wall_ns(call.exit_ns),
            map_ns=call.exit_ns,
            cpu=call.cpu,
            device=device.shown_name,
            driver=device.driver,
            known_as=device.known_as or None,
            nslots=nslots,
            size_bytes=size_bytes,
            direction=_direction(call.direction) if isinstance(call, Map) else None,
            latency_ns=latency_ns,
            verdict=judged.verdict(self._place) if judged else None,
            overlap=judged.overlap(self._place) if judged and latency_ns is not None else None,
        )

    def _row_from_before(self, call: Unmap | Free, pool: PoolAccount | None, slot: int, held: Held) -> Mapping:
        """The part of a row that an unmap shows, if the map of this mapping is not known."""
        device = self.account.devices[call.dev]
        size_bytes = call.size_bytes if isinstance(call, Free) else call.mapping_size_bytes
        row = _NOTHING._replace(
            device=device.shown_name, driver=device.driver, known_as=device.known_as or None, size_bytes=size_bytes
        )
        if pool is None:
            return row
        return row._replace(pool=_address(pool), pool_kind=pool_kind(pool), slot=slot, nslots=held.nslots or None)


_NOTHING = Mapping(
    *(None,) * 7,
    device="",
    driver="",
    pool=None,
    pool_kind=None,
    slot=None,
    nslots=None,
    size_bytes=0,
    direction=None,
    latency_ns=None,
    unmap_latency_ns=None,
    failed=False,
    cause=None,
    verdict=None,
    unmap_verdict=None,
    overlap=None,
    known_as=None,
)


def _address(pool: PoolAccount) -> str | None:
    return f"{pool.start:#x}" if pool.start else None


def _direction(direction: Direction) -> str | None:
    return None if direction is Direction.UNKNOWN else direction.name.lower()


def _latency_ns(call: _Call) -> int | None:
    return call.exit_ns - call.entry_ns if call.entry_ns >= 0 else None
