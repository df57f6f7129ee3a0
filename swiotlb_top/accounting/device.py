"""The account of one device, kept from its events."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from swiotlb_top.accounting.durations import Latencies, Lifetimes
from swiotlb_top.accounting.evidence import Evidence, Tried
from swiotlb_top.accounting.snapshot import UNKNOWN, DeviceView, Starved
from swiotlb_top.accounting.totals import DeviceTotals
from swiotlb_top.allocator import Cause, Explanation, Limits
from swiotlb_top.constants import SIZE_BUCKETS_SLOTS
from swiotlb_top.events import Direction, Find, Map
from swiotlb_top.kernel.around import Around

_LAST_BUCKET: Final = len(SIZE_BUCKETS_SLOTS)
_BUCKETS: Final = tuple(max(nslots - 1, 0).bit_length() for nslots in range(SIZE_BUCKETS_SLOTS[-1] + 1))


def size_bucket(nslots: int) -> int:
    """Which bucket of a sizes histogram a mapping of so many slots falls in."""
    return _BUCKETS[nslots] if nslots < len(_BUCKETS) else _LAST_BUCKET


@dataclass(slots=True)
class DeviceAccount:
    """One device's totals."""

    dev: int
    name: str = ""
    driver: str = ""
    known_as: str = ""
    limits: Limits = field(default_factory=Limits)
    mem: int = 0
    """Address of the allocator from which it maps; 0 until an event tells it."""
    restricted: bool = False
    """Whether that is a restricted pool: its slots are not in the pools of this account."""
    forced: bool | None = None
    """``force_bounce`` of the machine's allocator; None: not known."""
    tried: Tried = field(default_factory=Tried)
    around: Around = field(default_factory=Around)
    maps: int = 0
    map_failures: int = 0
    unmaps: int = 0
    mapped_bytes: int = 0
    by_direction_bytes: list[int] = field(default_factory=lambda: [0] * len(Direction))
    """Of what was unmapped."""
    held_slots: int = 0
    causes: Counter[Cause] = field(default_factory=Counter)
    last_failure: str = ""
    latencies: Latencies = field(default_factory=Latencies)
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    sizes: list[int] = field(default_factory=lambda: [0] * (_LAST_BUCKET + 1))
    asked_slots: int = 0
    starved: Starved | None = None
    """How it stood when its latest map failed; None where that is not known."""
    since_ns: int = 0
    """When the probes counted it first; 0 if no probes count it, or they have not been read yet."""

    @property
    def shown_name(self) -> str:
        """Its name; if it was gone before its name was read, "device" and the end of its address."""
        return self.name or f"device {self.dev & 0xFFFF:04x}"

    def asked(self, nslots: int) -> None:
        """It asked for ``nslots`` slots, padding included."""
        self.sizes[size_bucket(nslots)] += 1
        self.asked_slots += nslots

    def mapped(self, size_bytes: int, nslots: int) -> None:
        """It got ``nslots`` slots for a mapping of ``size_bytes``."""
        self.maps += 1
        self.mapped_bytes += size_bytes
        self.held_slots += nslots

    def refused(self, starved: Starved | None) -> None:
        """One of its maps failed; ``starved`` is how it stood, if that is known."""
        self.map_failures += 1
        self.starved = starved

    def released(self, nslots: int, call: Find | Map | None, exit_ns: int) -> None:
        """The ``nslots`` slots that ``call`` took for it were released at ``exit_ns``."""
        self.held_slots -= nslots
        self.lifetimes.ended(call, exit_ns)

    def forget_held(self) -> None:
        """What it holds is not known any more."""
        self.held_slots = 0
        self.lifetimes.forget_open()

    def unmapped(self, size_bytes: int, direction: Direction) -> None:
        """It gave a mapping of ``size_bytes`` back."""
        self.unmaps += 1
        self.by_direction_bytes[direction] += size_bytes

    def failed(self, explanation: Explanation) -> None:
        """Why one of its mappings failed, as the reference explains it."""
        self.causes[explanation.cause] += 1
        self.last_failure = explanation.sentence

    def evidence(self) -> Evidence:
        """What is known of why its mappings bounce."""
        introduced = self.mem != 0
        return Evidence(
            limits=self.limits if introduced else None,
            restricted=self.restricted if introduced else None,
            forced=self.forced,
            tried=self.tried.copy(),
            around=self.around,
        )

    def totals(self) -> DeviceTotals:
        """What its events add up to."""
        return DeviceTotals(
            maps=self.maps,
            map_failures=self.map_failures,
            unmaps=self.unmaps,
            mapped_bytes=self.mapped_bytes,
            unmapped_bytes_by_direction=tuple(self.by_direction_bytes),
            requests=tuple(self.sizes),
            requested_slots=self.asked_slots,
            # An unmap does not tell how many slots it gives back to a pool that is not in this account.
            held_slots=UNKNOWN if self.restricted else self.held_slots,
        )

    def view(self, counted: DeviceTotals | None = None) -> DeviceView:
        """An immutable copy.

        :param counted: the totals to show; None: those that were counted from its events.
        """
        counted = counted or self.totals()
        both_ways_bytes, to_bytes, from_bytes, *_ = counted.unmapped_bytes_by_direction
        unseen_bytes = sum(counted.unmapped_bytes_by_direction[Direction.UNKNOWN :])
        direction_seen = unseen_bytes < counted.unmapped_bytes or not counted.unmaps
        return DeviceView(
            dev=self.dev,
            name=self.shown_name,
            driver=self.driver,
            known_as=self.known_as,
            maps=counted.maps,
            map_failures=counted.map_failures,
            unmaps=counted.unmaps,
            mapped_bytes=counted.mapped_bytes,
            unmapped_bytes=counted.unmapped_bytes,
            causes=tuple(self.causes.most_common()),
            last_failure=self.last_failure,
            held_slots=counted.held_slots,
            map_p50_ns=self.latencies.percentile(50),
            map_p99_ns=self.latencies.percentile(99),
            sizes=counted.requests,
            asked_slots=counted.requested_slots,
            to_device_bytes=both_ways_bytes + to_bytes if direction_seen else UNKNOWN,
            from_device_bytes=both_ways_bytes + from_bytes if direction_seen else UNKNOWN,
            latencies=self.latencies.counts,
            fine_latencies=self.latencies.fine,
            latency_sum_ns=self.latencies.sum_ns,
            evidence=self.evidence(),
            hold_p50_ns=self.lifetimes.percentile(50),
            hold_p99_ns=self.lifetimes.percentile(99),
            hold_max_ns=self.lifetimes.longest_ns,
            holds=self.lifetimes.counts,
            oldest_ns=self.lifetimes.oldest_ns,
            starved=self.starved,
            most_slots=counted.most_slots,
            earlier=counted.earlier,
            askers=counted.askers,
        )
