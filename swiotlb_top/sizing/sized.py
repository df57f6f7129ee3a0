"""What each size does to a demand, and which is the smallest that serves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from swiotlb_top.constants import IO_TLB_SEGSIZE
from swiotlb_top.sizing.assumptions import ONE_ORDER, Assumption, growth
from swiotlb_top.sizing.bounds import Ceiling, Floor, ceiling_of, floor_of
from swiotlb_top.sizing.configuration import SIZES_NSLABS, Configuration
from swiotlb_top.sizing.demand import Demand
from swiotlb_top.sizing.need import Need
from swiotlb_top.sizing.simulate import GROWTH_WAIT_NS, Outcome, Patience, simulate
from swiotlb_top.state import DeviceName

HEADROOM_PERCENT: Final = 25


class Standing(Enum):
    """What becomes of a demand, from the best to the worst."""

    HOLDS = "holds"
    UNKNOWN = "unknown"
    """The simulation was given up."""
    MAY_FAIL = "may fail"
    """If what never had slots would have held them long."""
    FAILS = "fails"


class How(Enum):
    """How that is known, from the surest on."""

    BOUND = "bound"
    """Whichever of overlapping calls is first, wherever the pool lies and searches begin."""
    SIMULATED = "simulated"
    """Of one order, one place and one beginning."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a demand; None: as the recorded kernel is."""

    nareas: int | None = None
    """Rounded up to a power of two, as the kernel does."""
    dynamic: bool | None = None
    headroom_percent: int = HEADROOM_PERCENT


@dataclass(frozen=True, slots=True)
class Row:
    """One configuration. What is not known is None: how much fails is, where only a bound tells that something does."""

    configuration: Configuration
    standing: Standing
    how: How
    failures: int | None
    """Needs that find no slots, where each lives as long as it may have."""
    failures_at_least: int | None
    """The same, where each lives as short as it may have."""
    peak_slots: int | None
    high_water_slots: int | None
    outcome: Outcome | None
    """Of a simulation, where there was one."""
    roomy: bool
    """Whether it serves the demand with the headroom, and without growing: for that there may be no memory."""

    @property
    def pools_added(self) -> int | None:
        return self._told(self.outcome.pools_added if self.outcome else None)

    @property
    def transient_pools(self) -> int | None:
        return self._told(self.outcome.transient_pools if self.outcome else None)

    @property
    def memory_bytes(self) -> int:
        """Of all pools, at the most."""
        return self.outcome.memory_bytes if self.outcome else self.configuration.memory_bytes

    def _told(self, number: int | None) -> int | None:
        """Nothing grows where nothing fails for certain, and nowhere in a static kernel."""
        certain = self.standing is Standing.HOLDS or not self.configuration.dynamic
        return 0 if number is None and certain else number

    def as_json(self, names: Mapping[int, str]) -> dict[str, object]:
        """Flat, for machines."""
        outcome = self.outcome
        return {
            "nslabs": self.configuration.nslabs,
            "areas": self.configuration.nareas,
            "dynamic": self.configuration.dynamic,
            "standing": self.standing.value,
            "how": self.how.value,
            "failures": self.failures,
            "failures_at_least": self.failures_at_least,
            "failures_by_cause": {cause.value: count for cause, count in outcome.causes.items()} if outcome else {},
            "failures_by_device": {names[dev]: count for dev, count in outcome.failures_of.items()} if outcome else {},
            "peak_slots": self.peak_slots,
            "high_water_slots": self.high_water_slots,
            "longest_growth_wait_ns": outcome.longest_wait_ns if outcome and outcome.pools_added else None,
            "pools_added": self.pools_added,
            "transient_pools": self.transient_pools,
            "memory_bytes": self.memory_bytes,
            "roomy": self.roomy,
        }


@dataclass(frozen=True, slots=True)
class DeviceNeed:
    """What one device needs alone."""

    name: str
    driver: str
    needs: int
    failures: int
    """Attempts that were recorded to fail."""
    peak_slots: int
    known_as: str = ""
    """What people know it by; empty where that is not known."""
    queue_requests: int = 0
    """The most requests that the queues of its disks held; 0 where it has none, or that is not known."""

    def as_json(self) -> dict[str, object]:
        """Flat, for machines."""
        return {
            "name": self.name,
            "driver": self.driver,
            "known_as": self.known_as or None,
            "queue_requests": self.queue_requests or None,
            "needs": self.needs,
            "failures": self.failures,
            "peak_slots": self.peak_slots,
        }


@dataclass(frozen=True)
class Sized:
    """A recording's demand in every size."""

    demand: Demand
    """Without its needs and slots, of which there may be many, and recordings, too."""
    headroom_percent: int
    floor: Floor
    ceiling: Ceiling
    rows: tuple[Row, ...]
    """By size, from 1 MiB to 4 GiB."""
    today: Row
    """As it was booted."""
    devices: tuple[DeviceNeed, ...]
    names: dict[int, str]
    """Of the devices, as ``/sys/bus`` has them."""

    @property
    def recommended(self) -> Row | None:
        """The smallest that serves the demand with headroom, if any does."""
        return next((row for row in self.rows if row.roomy), None)

    @property
    def smaller(self) -> Row | None:
        """The next smaller than the recommended, of all that were tried."""
        row = self.recommended
        tried = [*self.rows, self.today]
        smaller = [one for one in tried if row is None or one.configuration.nslabs < row.configuration.nslabs]
        return max(smaller, key=lambda one: one.configuration.nslabs, default=None)

    @property
    def assumptions(self) -> tuple[Assumption, ...]:
        """The demand's, and what was assumed to simulate it."""
        simulated = [row for row in (*self.rows, self.today) if row.how is How.SIMULATED]
        grown = any(row.pools_added for row in simulated)
        return (
            *self.demand.assumptions,
            *([ONE_ORDER] if simulated else []),
            *([growth(self.demand.growth_wait_ns or GROWTH_WAIT_NS)] if grown else []),
        )

    @property
    def at_least(self) -> bool:
        """Whether more may be needed than was recorded."""
        return any(one.may_need_more for one in self.assumptions)

    @property
    def certain(self) -> bool:
        """Whether the recommended size cannot fail, for all that was recorded and nothing was held back."""
        row = self.recommended
        return row is not None and row.how is How.BOUND and not self.at_least


def size(demand: Demand, question: Question) -> Sized:
    """Hold a demand against every size."""
    today = demand.today
    dynamic = today.dynamic if question.dynamic is None else question.dynamic
    nareas = 1 << ((question.nareas or max(today.default_nareas, 1)) - 1).bit_length()
    boot = today.pools[-1].nslabs if today.pools else 0
    booted = Configuration.of(
        today.default_nslabs or boot or 1, max(today.default_nareas, 1), today.dynamic, demand.revision
    )
    smallest = min(booted.nslabs, SIZES_NSLABS[0])
    most_areas = max(nareas, booted.nareas)
    asking = Asking.about(demand, most_areas, smallest, question.headroom_percent)
    rows = tuple(asking.row(Configuration.of(nslabs, nareas, dynamic, demand.revision)) for nslabs in SIZES_NSLABS)
    there = next((row for row in rows if row.configuration == booted), None)
    return Sized(
        replace(demand, least=(), most=(), today=replace(today, pools=())),
        question.headroom_percent,
        asking.floor,
        asking.ceiling,
        rows,
        there or asking.row(booted),
        _device_needs(demand),
        {dev: demand.name_of(dev) for dev in demand.devices},
    )


@dataclass(frozen=True, slots=True)
class Asking:
    """A demand and its bounds: each :meth:`row` asks about one more configuration."""

    demand: Demand
    headroom_percent: int
    floor: Floor
    ceiling: Ceiling
    patience: Patience

    @classmethod
    def about(
        cls,
        demand: Demand,
        most_areas: int,
        smallest_nslabs: int,
        headroom_percent: int = HEADROOM_PERCENT,
        patience: Patience | None = None,
    ) -> Asking:
        """To ask about pools of no more areas and of no fewer slots.

        :param patience: is used up; None: that of a demand of which nothing else is asked.
        """
        floor, ceiling = (
            floor_of(demand.least),
            ceiling_of(demand.most, most_areas, smallest_nslabs // IO_TLB_SEGSIZE),
        )
        return cls(demand, headroom_percent, floor, ceiling, patience or Patience(demand.maps + demand.failures))

    def row(self, configuration: Configuration) -> Row:
        """What one configuration does; simulated only where no bound tells."""
        nslabs, peak_slots = configuration.nslabs, self.ceiling.peak_slots
        if configuration.is_regular and self.ceiling.holds(nslabs):
            roomy = self._has_room(nslabs, peak_slots)
            return Row(configuration, Standing.HOLDS, How.BOUND, 0, 0, peak_slots, peak_slots, None, roomy)
        if not configuration.dynamic and self.floor.fails(nslabs):
            return Row(configuration, Standing.FAILS, How.BOUND, None, 1, None, None, None, False)
        wait_ns = self.demand.growth_wait_ns or GROWTH_WAIT_NS
        outcome = simulate(self.demand.most, configuration, self.ceiling.spells, wait_ns, self.patience)
        shortest = outcome
        if outcome.failures and not self.demand.is_one:
            shortest = simulate(self.demand.least, configuration, None, wait_ns, self.patience)
        standing = _standing(outcome, shortest)
        grows = outcome.pools_added or outcome.transient_pools
        return Row(
            configuration,
            standing,
            How.SIMULATED,
            None if outcome.given_up else outcome.failures,
            shortest.failures,
            None if outcome.given_up else outcome.peak_slots,
            None if outcome.given_up else outcome.high_water_slots,
            outcome,
            standing is Standing.HOLDS and not grows and self._has_room(nslabs, outcome.peak_slots),
        )

    def _has_room(self, nslabs: int, peak_slots: int) -> bool:
        return peak_slots * (100 + self.headroom_percent) <= nslabs * 100


def _standing(longest: Outcome, shortest: Outcome) -> Standing:
    if shortest.failures:
        return Standing.FAILS
    if longest.failures:
        return Standing.MAY_FAIL
    return Standing.UNKNOWN if longest.given_up else Standing.HOLDS


def _device_needs(demand: Demand) -> tuple[DeviceNeed, ...]:
    """Each device's, those that need most first."""
    counts = Counter(need.dev for need in demand.most)
    found = []
    for dev, peak_slots in _peaks(demand.most).items():
        name = demand.names.get(dev, DeviceName(dev, "", ""))
        asked = counts[dev], demand.failures_of[dev], peak_slots
        found.append(DeviceNeed(demand.name_of(dev), name.driver, *asked, name.known_as, name.queue_requests))
    return tuple(sorted(found, key=lambda device: -device.peak_slots))


def _peaks(needs: Sequence[Need]) -> dict[int, int]:
    """Most slots in use at once by each device."""
    held: Counter[int] = Counter()
    peaks: Counter[int] = Counter()
    by_end = sorted(needs, key=lambda need: need.freed_ns)
    ended = 0
    for need in needs:
        while by_end[ended].freed_ns < need.asked_ns:
            held[by_end[ended].dev] -= by_end[ended].starts.nslots
            ended += 1
        dev = need.dev
        held[dev] += need.starts.nslots
        if held[dev] > peaks[dev]:
            peaks[dev] = held[dev]
    return peaks
