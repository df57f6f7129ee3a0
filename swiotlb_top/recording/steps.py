"""How many slots are in use over time, in steps of equal length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from swiotlb_top.events import Event, Gap
from swiotlb_top.pipeline import Account
from swiotlb_top.recording.clock import Clock
from swiotlb_top.recording.rows import Slots
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.stream import Consumer

STEP_NS: Final = 10_000_000


class Steps(Consumer):
    """Takes a stream of items, and gives how many slots were in use at the end of each step, and at most during it.

    An event that comes after a later one in the stream counts in the step of the later one.
    """

    def __init__(self, account: Account, clock: Clock, step_ns: int) -> None:
        self._account = account
        self._clock = clock
        self._step_ns = step_ns
        self._step: int | None = None
        """The number of the present step; None before the first event."""
        self._most = 0
        self._sure = False
        """Whether it was known during the whole step how many slots are in use."""
        self._before = (0, 0, 0)
        """How many maps, failures and unmaps came before the step."""
        self._over: list[Slots] = []

    def take(self) -> Iterator[Slots]:
        """The steps that ended since the last call."""
        over, self._over = self._over, []
        return iter(over)

    def state(self, mem: MemState) -> None:
        self._account.state(mem)

    def gap(self, gap: Gap) -> None:
        self._account.gap(gap)
        self._sure = False

    def name(self, name: DeviceName) -> None:
        self._account.name(name)

    def feed(self, events: Sequence[Event]) -> None:
        account = self._account
        for event in events:
            step = event.exit_ns // self._step_ns
            if self._step is None or step > self._step:
                self.finish()
                self._step, self._most, self._sure = step, account.used_slots, not account.blind
            account.feed((event,))
            if account.used_slots > self._most:
                self._most = account.used_slots

    def finish(self) -> None:
        """The present step is over."""
        if self._step is None:
            return
        account, at_ns = self._account, self._step * self._step_ns
        totals = account.maps, account.map_failures, account.unmaps
        known = not account.blind and account.used_slots >= 0
        self._over.append(
            Slots(
                wall_ns=self._clock.wall_ns(at_ns),
                time_ns=at_ns,
                used_slots=account.used_slots if known else None,
                used_max_slots=self._most if known and self._sure else None,
                transient_slots=None if account.blind else account.transient_slots,
                nslabs=account.nslabs,
                maps=totals[0] - self._before[0],
                map_failures=totals[1] - self._before[1],
                unmaps=totals[2] - self._before[2],
            )
        )
        self._before = totals
        self._step = None
