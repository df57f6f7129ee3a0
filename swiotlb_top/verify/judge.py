"""The judge: replays what the kernel did through the model, and compares.

It takes a stream - states, events and gaps, in the order in which they were recorded - and answers *agree*,
*disagree* or *inconclusive* for every mapping and release. It never guesses: before the first state, after a gap, and
if an event refers to something that was never seen, the answer is *inconclusive*.

The judge itself keeps the history: it collects events until nothing to come can overlap them, resolves them to
operations and cuts them into clusters. A :class:`~swiotlb_top.verify.comparison.Comparison` judges these.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from operator import itemgetter
from typing import Final, TypeAlias

from swiotlb_top.allocator import Allocator, Revision, TooManyAreasError, slot_set_slots
from swiotlb_top.constants import IO_TLB_SEGSIZE
from swiotlb_top.events import ENTRY_UNKNOWN, Event, Find, Free, Gap, Grow, Map, PoolAdd, Unmap
from swiotlb_top.state import MemState, PoolState
from swiotlb_top.verify.comparison import Comparison
from swiotlb_top.verify.diagnose.late_calls import LateCalls
from swiotlb_top.verify.diagnose.unconfirmed import UnconfirmedDisagreements
from swiotlb_top.verify.findings import Doubt, Findings
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.intervals import ASSUMED_DURATION_NS, NEVER_NS, assumed_entry_ns
from swiotlb_top.verify.operations.observed import InitialCopy, ObservedArea, ObservedPool, ObservedPoolList
from swiotlb_top.verify.operations.resolve import OtherAllocatorError, Resolver, UnresolvedError
from swiotlb_top.verify.partition import clusters

_CALLS: Final = frozenset({Find, Map, Unmap, Free, PoolAdd, Grow})
"""Events that have an interval. All others happen at one moment."""
_MAPPINGS: Final = frozenset({Find, Map, Unmap, Free})
"""Events that are compared."""
_HORIZON_NS: Final = 1_000_000_000
"""How long the judge waits for calls that may overlap what it judges. A call that takes longer may be a late call."""
_BATCH_EVENTS: Final = 4096
"""After so many events :meth:`Judge.keep_up` judges what it can."""
_MAX_SLOTS_WAITING: Final = 1 << 23
"""How many slots of states may wait to be compared. A state beyond that is left out: nothing is claimed of it."""

MOST_DISAGREEMENTS: Final = 10_000
"""Once so many are confirmed, nothing more is compared: each costs many times what an agreement does."""
_FOR_GOOD: Final = frozenset({Doubt.PLAINLY_WRONG, Doubt.TOO_MANY_UNCERTAIN, Doubt.SLOT_SETS})
"""Reasons for which nothing is compared any more, whatever state is read."""

_Item: TypeAlias = Event | PoolState | InitialCopy | ObservedPoolList
_Span: TypeAlias = tuple[int, int, _Item]
"""An item between its response and its invocation: ``(exit_ns, entry_ns, item)``."""


class Judge:
    """Judges one stream against one revision.

    :param revision: the swiotlb that the kernel is supposed to have.
    :param pools_announced: whether every new pool shows itself in the stream, because the hook ``alloc_pool`` is
        attached. Then a pool that was never announced is a fault; otherwise it is a blind spot.
    :param cpus: numbers of the CPUs that the kernel may have.
    """

    def __init__(self, revision: Revision, *, pools_announced: bool = True, cpus: Collection[int] = (0,)) -> None:
        self.findings = Findings()
        self.revision = revision
        self._comparison: Comparison | None = None
        """The model from the latest state on; None before the first state."""
        self._blind: Doubt | None = Doubt.BEFORE_STATE
        """Why nothing can be judged until another state was read."""
        self._resolver = Resolver(revision, pools_announced=pools_announced, cpus=cpus)
        self._unconfirmed = UnconfirmedDisagreements(self.findings)
        self._late_calls = LateCalls(self._unconfirmed)
        self._waiting: list[_Span] = []
        """What is not resolved yet."""
        self._operations: list[Operation] = []
        """What is resolved and not judged yet, sorted by response."""
        self._judged_ns = 0
        """The last response of what was judged."""
        self._all_known: deque[tuple[int, int]] = deque()
        """Once everything is judged that responded by the first time, all calls are known that were invoked before
        the second."""
        self._next_run = _BATCH_EVENTS

    @property
    def model(self) -> Allocator | None:
        """The reference allocator in the state after everything that was judged; None before the first state."""
        return self._comparison.model if self._comparison else None

    @property
    def steps(self) -> int:
        """How many steps the search for linearizations has taken in all."""
        return self._comparison.effort.steps if self._comparison else 0

    @property
    def blind(self) -> bool:
        """Whether the next state is one to begin from."""
        return self._blind is not None

    @property
    def is_refuted(self) -> bool:
        """Whether the kernel disagrees, and the first disagreement stays the first whatever is still to come."""
        return self._unconfirmed.first_is_known

    # ---- the stream ------------------------------------------------------

    def state(self, mem: MemState) -> None:
        """The allocator's state was read: begin from it, or compare it with the model's."""
        if self._blind in _FOR_GOOD:
            return
        if self._blind:
            self._run()
            if slot_set_slots(mem) not in (IO_TLB_SEGSIZE, None):
                self._blind = Doubt.SLOT_SETS
            else:
                self._begin_from(mem)
            return
        if not self._has_room_for(mem):
            return
        begin_ns = mem.begin_ns
        end_ns = max((state.end_ns for state in mem.pools), default=0)
        # The list of pools was read some time before the first pool on it.
        pool_list = ObservedPoolList(
            begin_ns - ASSUMED_DURATION_NS, end_ns, tuple(state.address for state in mem.pools)
        )
        self._waiting.append((end_ns, pool_list.entry_ns, pool_list))
        self._waiting += [(state.end_ns, state.begin_ns, state) for state in mem.pools]

    def feed(self, events: Iterable[Event]) -> None:
        """The next events of the stream, roughly in the order of their responses."""
        waiting = self._waiting
        for event in events:
            kind = type(event)
            if kind in _CALLS:
                entry_ns = event.entry_ns  # type: ignore[union-attr]  # a call has one
                if entry_ns == ENTRY_UNKNOWN:
                    entry_ns = assumed_entry_ns(event)  # type: ignore[arg-type]
                waiting.append((event.exit_ns, entry_ns, event))
            elif isinstance(event, Gap):
                self.gap(event)
            else:
                waiting.append((event.exit_ns, event.exit_ns, event))

    def keep_up(self) -> None:
        """Judge what can be judged, once so many events are waiting that it is worth it."""
        if len(self._waiting) >= self._next_run:
            self.advance(max(span[0] for span in self._waiting))
            self._next_run = len(self._waiting) + _BATCH_EVENTS

    def gap(self, _: Gap) -> None:
        """Events were lost: nothing can be judged until the state is read again.

        A lost call may have been pending before, so that all unconfirmed disagreements become inconclusive.
        """
        self._run()
        self._unconfirmed.withdraw_all(Doubt.AFTER_GAP)
        if self._blind not in _FOR_GOOD:
            self._blind = Doubt.AFTER_GAP

    def known_before(self, time_ns: int) -> None:
        """Every call that was invoked before ``time_ns`` has responded, and was fed.

        That holds for calls whose invocation was seen. Others may still be pending, so it is believed only once
        everything is judged that responded up to some time later.
        """
        self._unconfirmed.will_be_told()
        fed_ns = max((span[0] for span in self._waiting), default=self._judged_ns)
        self._all_known.append((fed_ns + _HORIZON_NS, time_ns))

    def advance(self, now_ns: int) -> None:
        """Judge what ended so long before ``now_ns`` that nothing to come can overlap it."""
        self._run(now_ns - _HORIZON_NS)

    def finish(self, until_ns: int = NEVER_NS, *, whole: bool = True) -> Findings:
        """Judge what is waiting, and confirm or withdraw all disagreements.

        :param until_ns: judge only what responded before this time, and drop the rest.
        :param whole: whether every call that was invoked before ``until_ns`` was fed. If not, calls may have been
            pending when the stream ended, and may be the reason of disagreements.
        """
        self._run(until_ns)
        unseen = (item.entry_ns == ENTRY_UNKNOWN for _, _, item in self._waiting if type(item) in _CALLS)  # type: ignore[union-attr]
        if self._late_calls or any(unseen):
            self._unconfirmed.withdraw_all(Doubt.NOT_PLACED)
        self._waiting.clear()
        self._operations.clear()
        self._all_known.clear()
        self._late_calls.clear()
        if whole:
            self._unconfirmed.known_before(until_ns)
        self._unconfirmed.withdraw_all(Doubt.NOT_RETURNED)
        return self.findings

    # ---- states ----------------------------------------------------------

    def _begin_from(self, mem: MemState) -> None:
        """Begin a comparison from a state."""
        unconfirmed, late_calls, before = self._unconfirmed, self._late_calls, self._comparison
        comparison = Comparison(self.revision, mem, self.findings, unconfirmed, late_calls, before)
        self._comparison = comparison
        self._resolver.begin_from(mem.address, comparison.model.pools, mem.cc_shared)
        self._waiting += [(copy.exit_ns, copy.entry_ns, copy) for copy in comparison.initial_copies()]
        self._blind = None

    def _has_room_for(self, mem: MemState) -> bool:
        """Whether the slots of a state may wait to be compared, if need be after judging what can be judged."""
        slots = sum(state.nslabs for state in mem.pools)
        if self._slots_waiting() + slots > _MAX_SLOTS_WAITING:
            self.advance(max(span[0] for span in self._waiting) if self._waiting else 0)
        return self._slots_waiting() + slots <= _MAX_SLOTS_WAITING

    def _slots_waiting(self) -> int:
        states = {span[2] for span in self._waiting if isinstance(span[2], PoolState)}
        states |= {operation.state for operation in self._operations if isinstance(operation, ObservedArea)}
        return sum(state.nslabs for state in states)

    # ---- from events to clusters of operations ---------------------------

    def _run(self, until_ns: int = NEVER_NS) -> None:
        """Judge the clusters that ended by ``until_ns``."""
        waiting = self._waiting
        waiting.sort(key=itemgetter(0))
        ready = bisect_left(waiting, until_ns, key=itemgetter(0))
        to_come_ns = min((span[1] for span in waiting[ready:]), default=until_ns)
        self._operations += self._operations_of(waiting[:ready])
        del waiting[:ready]
        if self._comparison is not None:
            self._comparison.earn_patience(ready)
            self._compare(self._comparison, min(until_ns, to_come_ns))
        self._confirm_known()
        if self.findings.disagree >= MOST_DISAGREEMENTS and self._blind not in _FOR_GOOD:
            self._lose_sight(Doubt.PLAINLY_WRONG, self._operations)

    def _compare(self, comparison: Comparison, before_ns: int) -> None:
        """Judge the clusters that ended before any call that may still come."""
        operations, findings, unconfirmed = self._operations, self.findings, self._unconfirmed
        judged = answered = 0
        judged_ns = self._judged_ns
        try:
            for cluster in clusters(operations, before_ns):
                answered = findings.answered
                stays = comparison.judge(cluster)
                judged += len(cluster)
                judged_ns = cluster[-1].exit_ns
                if not stays:
                    self._lose_sight(Doubt.DURING_STATE, operations[judged:])
                    return
                if unconfirmed.is_hopeless:
                    self._lose_sight(Doubt.TOO_MANY_UNCERTAIN, operations[judged:])
                    return
        except TooManyAreasError:
            self._lose_sight(Doubt.TOO_MANY_AREAS, operations[judged:], findings.answered - answered)
        else:
            self._operations = operations[judged:]
        finally:
            self._judged_ns = max(self._judged_ns, judged_ns)

    def _lose_sight(self, why: Doubt, not_judged: list[Operation], answered: int = 0) -> None:
        """Wait for another state to begin from.

        Until then no late call is judged, so that nothing shows any more whether one explains a disagreement.

        :param not_judged: the operations that become inconclusive, as those do that are resolved before that state.
        :param answered: how many of these were counted already.
        """
        unanswered = sum(operation.compared for operation in not_judged) - answered
        if unanswered > 0:
            self.findings.doubt(why, unanswered)
        self._operations.clear()
        self._late_calls.clear()
        self._unconfirmed.withdraw_all(why)
        self._blind = why

    def _confirm_known(self) -> None:
        """Confirm the disagreements that no call to come can explain."""
        operations, waiting, known = self._operations, self._waiting, self._all_known
        not_judged_ns = min(operations[0].exit_ns if operations else NEVER_NS, waiting[0][0] if waiting else NEVER_NS)
        while known and known[0][0] < not_judged_ns:
            self._unconfirmed.known_before(known.popleft()[1])

    def _operations_of(self, spans: list[_Span]) -> Iterator[Operation]:
        """Resolve items, and count those that cannot be judged.

        :param spans: sorted by response.
        """
        resolve, findings, blind, judged_ns = self._resolver.resolve, self.findings, self._blind, self._judged_ns
        begin_ns = self._comparison.begin_ns if self._comparison else 0
        for exit_ns, _, item in spans:
            kind = type(item)
            mapping = kind in _MAPPINGS
            if mapping and exit_ns < begin_ns:
                continue
            operation_of = resolve.get(kind)
            if operation_of is None:
                if not blind:
                    yield from self._observations(item)
                continue
            try:
                operation = operation_of(item)
            except UnresolvedError as unresolved:
                findings.doubt(blind or unresolved.doubt)
                continue
            except OtherAllocatorError:
                findings.made_elsewhere(item)  # type: ignore[arg-type]  # only calls are of an allocator
                continue
            if operation is None:
                continue
            if not blind:
                if item[0] < judged_ns:  # type: ignore[index]  # the invocation of a call
                    self._late_calls.add(operation)
                yield operation
            elif mapping:
                findings.doubt(blind)

    def _observations(self, item: _Item) -> Iterator[Operation]:
        """What a snapshot showed, one area at a time."""
        if isinstance(item, InitialCopy | ObservedPoolList):
            yield item
        elif isinstance(item, PoolState):
            pool = self._resolver.pools.now(item.address)
            if pool is None or (item.start, item.nslabs, item.nareas) != (pool.start, pool.nslabs, pool.nareas):
                return
            snapshot = ObservedPool(item)
            for area in range(pool.nareas):
                yield ObservedArea(item.begin_ns, item.end_ns, item, pool, area, snapshot)
