"""Finding an order of overlapping operations that the reference accepts.

Probe times are not the points at which operations took effect; an operation took effect somewhere
in its closed interval.  Operations that do not overlap are ordered by time, so a stream falls
into clusters, and only inside a cluster orders have to be tried (Wing & Gong's search, as in
Herlihy & Wing 1990, over one cluster at a time).

A search for slots is not one step: it asks one area after another, each under its own lock.
First each search is tried as one step.  Where no order does, every area it asked in vain may have
been full at another moment than that at which it found its slots, and only the order of those
moments is fixed.  Reading an area early never takes a possibility away, so readings are made at
the first moment they fit, and only the taking of slots is tried in different places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from swiotlb_top.allocator import Allocator, Pool
from swiotlb_top.allocator.geometry import MAX_ALLOC_BYTES
from swiotlb_top.events import Event
from swiotlb_top.state import PoolState
from swiotlb_top.verify.operations import AddPool, Operation, Take, Undo

DEFAULT_BUDGET: Final = 20_000

Item = Event | PoolState
Span = tuple[int, int, Item]
"""(exit_ns, entry_ns, item)"""

Progress = dict[tuple[Pool, ...], int]
"""For the pool lists a search may have begun with: how many areas it has asked in vain."""


@dataclass(slots=True)
class Outcome:
    """What became of a cluster. ``order`` is empty where none was found; ``exhausted`` then says
    whether the search gave up before it had proved that there is none."""

    order: list[Operation] = field(default_factory=list)
    exhausted: bool = False
    steps: int = 0
    overlapping: int = 0


class _GaveUpError(Exception):
    """The budget is used up."""


def clusters(spans: Sequence[Span], before_ns: int) -> Iterator[list[Item]]:
    """Cut items, sorted by exit, into runs that overlap nothing outside.

    Only clusters that are over by ``before_ns`` are given, oldest first: a later one may still grow.
    """
    # Of each place, the earliest entry from there on, and of its end, what may still come.
    entries = accumulate((span[1] for span in reversed(spans)), min, initial=before_ns)
    earliest = list(entries)[::-1]
    begin = 0
    for end, span in enumerate(spans, 1):
        if span[0] < earliest[end]:
            yield [item for _, _, item in spans[begin:end]]
            begin = end


def arrange(world: Allocator, cluster: list[Operation], budget: int = DEFAULT_BUDGET) -> Outcome:
    """Find an order the reference accepts and carry it out on ``world``.

    Where none is found ``world`` is left as it was.

    :param cluster: operations that overlap, sorted by exit.
    :param budget: steps to try at most, in each of the two searches.
    """
    steps = 0
    exhausted = False
    for whole in (True, False):
        search = _Search(world, budget, whole)
        try:
            if search.find(cluster, {}):
                return Outcome(search.order, steps=steps + search.steps)
        except _GaveUpError:
            search.rewind()
            exhausted = True
        steps += search.steps
    # Between two rounds over the pools a search may see a longer list than before; with several
    # areas that is not tried, so then nothing is proved.
    unsure = world.default_nareas > 1 and any(isinstance(op, AddPool) for op in cluster)
    return Outcome(exhausted=exhausted or unsure, steps=steps, overlapping=len(cluster) - 1)


class _Search:
    """One depth-first search; ``whole`` takes each search for slots as one step."""

    def __init__(self, world: Allocator, budget: int, whole: bool) -> None:
        self.order: list[Operation] = []
        self.steps = 0
        self._undo: list[Undo] = []
        self._world = world
        self._budget = budget
        self._whole = whole

    def find(self, remaining: list[Operation], progress: dict[Operation, Progress]) -> bool:
        if not remaining:
            return True
        last_entry = remaining[0].exit_ns  # sorted by exit: what was entered after that comes later
        eligible = [op for op in remaining if op.entry_ns <= last_entry]
        if not self._whole:
            progress = self._read_on(eligible, progress)
        for operation in eligible:
            self.steps += 1
            if self.steps > self._budget:
                raise _GaveUpError
            undo = self._step(operation, progress)
            if undo is None:
                continue
            self.order.append(operation)
            self._undo.append(undo)
            if self.find([op for op in remaining if op is not operation], progress):
                return True
            self.order.pop()
            self._undo.pop()()
        return False

    def rewind(self) -> None:
        """Take back everything done so far."""
        while self._undo:
            self._undo.pop()()

    def _step(self, operation: Operation, progress: dict[Operation, Progress]) -> Undo | None:
        if self._whole or not isinstance(operation, Take):
            return operation.attempt(self._world)
        world = self._world
        done = any(asked == len(self._asked_in_vain(operation, pools)) for pools, asked in progress[operation].items())
        if not done:
            return None
        if not operation.listed(world):
            return operation.attempt_beyond_pools(world)
        pool = operation.pool
        assert pool is not None  # noqa: S101 (listed() said so)
        if pool.search(operation.area, operation.request) != operation.slot:
            return None
        undo = pool.take(operation.slot, operation.request, operation.dev)
        return lambda: pool.undo(undo)

    def _read_on(self, eligible: list[Operation], before: dict[Operation, Progress]) -> dict[Operation, Progress]:
        """Let every search that can be under way ask on, as far as what it asks is full now."""
        progress = dict(before)
        for operation in eligible:
            if isinstance(operation, Take):
                so_far = {self._world.pools: 0, **before.get(operation, {})}
                progress[operation] = {pools: self._ask_on(operation, pools, at) for pools, at in so_far.items()}
        return progress

    def _ask_on(self, operation: Take, pools: tuple[Pool, ...], at: int) -> int:
        asked = self._asked_in_vain(operation, pools)
        while at < len(asked) and asked[at][0].search(asked[at][1], operation.request) < 0:
            at += 1
        return at

    def _asked_in_vain(self, operation: Take, pools: tuple[Pool, ...]) -> list[tuple[Pool, int]]:
        """The areas a search that began with this pool list asked before it found its slots."""
        world = self._world
        if world.dynamic and operation.request.alloc_size_bytes > MAX_ALLOC_BYTES:
            return []
        now, world.pools = world.pools, pools
        try:
            asked = list(world.attempts(operation.cpu))
        finally:
            world.pools = now
        target = (operation.pool, operation.area)
        if operation.listed(world) and target in asked:
            return asked[: asked.index(target)]
        return asked
