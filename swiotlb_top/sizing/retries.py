"""Attempts, and the needs behind them.

A driver that is refused tries again, and releases what else it had mapped for the same I/O. So attempts for one
buffer that follow each other are one need, and what they held says little of how long it would have been held. Two
lists of needs bracket that: in ``least`` each is over as soon as anything recorded allows, in ``most`` as late.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

from swiotlb_top.sizing.need import Need

RETRY_NS: Final = 1_000_000_000
"""Attempts for a buffer that are no further apart are one need. Drivers wait some milliseconds, virtio-net's refill
half a second."""

_Buffer: TypeAlias = tuple[int, int, int]
"""Device, address and size of what is mapped."""


@dataclass
class Attempts:
    """Every attempt that was recorded."""

    had: list[Need] = field(default_factory=list)
    """Got slots."""
    failed: list[Need] = field(default_factory=list)
    """Did not; they are over when they fail."""


class Bracket(NamedTuple):
    """The needs behind attempts; nothing is between the two where they are one list."""

    least: Sequence[Need]
    most: Sequence[Need]
    failed_needs: int
    """Buffers that failed at least once."""
    never_had: int
    """Those of them that never had slots, so that their lifetime is another's."""
    endless: int
    """Of what is in ``most``, that is held until the end for want of any lifetime of its device."""


class _Lives(NamedTuple):
    """How long a device's mappings lived, in nanoseconds."""

    shortest_ns: int
    longest_ns: int
    """Of those that no failure of the device fell into; -1 where there was none."""


def bracket(attempts: Attempts, end_ns: int) -> Bracket:
    """The needs behind attempts.

    :param end_ns: when the recording ended.
    """
    had = sorted(attempts.had)
    if not attempts.failed:
        return Bracket(had, had, 0, 0, 0)
    made = _Maker(attempts, end_ns)
    least: list[Need] = []
    most: list[Need] = []
    for need in had:
        if need.dev not in made.failing:
            least.append(need)
            most.append(need)
    for chain in made.chains():
        least += made.at_least(chain)
        most.append(made.at_most(chain))
    return Bracket(sorted(least), sorted(most), made.failed_needs, made.never_had, made.endless)


class _Maker:
    """Makes needs of the attempts of those devices whose maps failed."""

    def __init__(self, attempts: Attempts, end_ns: int) -> None:
        self._end_ns = end_ns
        self._failed = set(map(id, attempts.failed))
        self.failing: dict[int, list[int]] = defaultdict(list)
        """Of each device, when its maps failed, in order."""
        for need in attempts.failed:
            self.failing[need.dev].append(need.had_ns)
        for times_ns in self.failing.values():
            times_ns.sort()
        self._of_buffer: defaultdict[_Buffer, list[Need]] = defaultdict(list)
        for need in (*attempts.had, *attempts.failed):
            if need.dev in self.failing:
                request = need.request
                self._of_buffer[need.dev, request.orig_addr, request.alloc_size_bytes].append(need)
        self._lives = {dev: self._lives_of(dev, attempts.had) for dev in self.failing}
        self.failed_needs = self.never_had = self.endless = 0

    def chains(self) -> Iterator[list[Need]]:
        """Attempts that are one need: all but the last failed, or were released in the course of a failure."""
        for attempts in self._of_buffer.values():
            attempts.sort()
            chain = attempts[:1]
            for one, next_ in pairwise(attempts):
                if not self._is_disturbed(one) or next_.asked_ns - one.freed_ns > RETRY_NS:
                    yield chain
                    chain = []
                chain.append(next_)
            yield chain

    def at_least(self, chain: list[Need]) -> Iterator[Need]:
        """What was recorded; a need that failed is there from its first attempt, as long as it was in the end."""
        if not self._has_failed(chain):
            yield from chain
            return
        first, last = chain[0], chain[-1]
        life_ns = self._lives[first.dev].shortest_ns
        if id(last) not in self._failed:
            life_ns = last.freeing_ns - last.had_ns
        end_ns = first.had_ns + life_ns
        yield first._replace(freeing_ns=end_ns, freed_ns=end_ns)

    def at_most(self, chain: list[Need]) -> Need:
        """From the first attempt to the last release; longer where that was due to a failure."""
        first, last = chain[0], chain[-1]
        failed = self._has_failed(chain)
        self.failed_needs += failed
        self.never_had += failed and all(id(need) in self._failed for need in chain)
        end_ns = max(need.freed_ns for need in chain)
        if self._is_disturbed(last):
            longest_ns = self._lives[first.dev].longest_ns
            self.endless += longest_ns < 0
            end_ns = max(end_ns, last.had_ns + longest_ns if longest_ns >= 0 else self._end_ns)
        return first._replace(freeing_ns=end_ns, freed_ns=end_ns)

    def _has_failed(self, chain: list[Need]) -> bool:
        return any(id(need) in self._failed for need in chain)

    def _is_disturbed(self, need: Need) -> bool:
        """Whether it failed, or a map of its device failed while it was there."""
        if id(need) in self._failed:
            return True
        times_ns = self.failing[need.dev]
        at = bisect_left(times_ns, need.asked_ns)
        return at < len(times_ns) and times_ns[at] <= need.freed_ns

    def _lives_of(self, dev: int, had: Sequence[Need]) -> _Lives:
        own = [need for need in had if need.dev == dev]
        shortest_ns = min((need.freeing_ns - need.had_ns for need in own), default=0)
        longest_ns = max((need.freed_ns - need.asked_ns for need in own if not self._is_disturbed(need)), default=-1)
        return _Lives(shortest_ns, longest_ns)
