"""The judge: replays what the kernel did through the model, and compares.

It takes a stream - states, events and gaps, in the order in which they were recorded - and answers *agree*,
*disagree* or *inconclusive* for every mapping and release. It never guesses: before the first state, after a gap, and
if an event refers to something that was never seen, the answer is *inconclusive*.

The judge itself keeps the history: it collects events until nothing to come can overlap them, resolves them to
operations and cuts them into clusters. A :class:`~swiotlb_top.verify.comparison.Comparison` judges these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from swiotlb_top.allocator import Allocator, Revision, TooManyAreasError, slot_set_slots
from swiotlb_top.constants import IO_TLB_SEGSIZE
from swiotlb_top.events import Event, Find, Free, Gap, Map, Unmap
from swiotlb_top.native.pause import Pause
from swiotlb_top.state import MemState, PoolState
from swiotlb_top.stream import Batch
from swiotlb_top.verify.comparison import Comparison
from swiotlb_top.verify.diagnose.late_calls import LateCalls
from swiotlb_top.verify.diagnose.unconfirmed import UnconfirmedDisagreements
from swiotlb_top.verify.findings import Doubt, Findings, Listener
from swiotlb_top.verify.in_core import Tables
from swiotlb_top.verify.operations import lone_calls
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.intervals import ASSUMED_DURATION_NS, NEVER_NS
from swiotlb_top.verify.operations.lone_calls import LoneCalls, Run
from swiotlb_top.verify.operations.observed import InitialCopy, ObservedArea, ObservedPool, ObservedPoolList
from swiotlb_top.verify.operations.resolve import OtherAllocatorError, Resolver, UnresolvedError
from swiotlb_top.verify.partition import clusters
from swiotlb_top.verify.waiting import Span, Waiting, Waits, spans_of

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
        self._waiting = Waiting()
        """What is not resolved yet."""
        self._operations: list[Operation | LoneCalls] = []
        """What is resolved and not judged yet, sorted by response."""
        self._judged_ns = 0
        """The last response of what was judged."""
        self._pause = Pause()
        self._tables: Tables | None = None
        self._answered = 0
        """How many operations had been answered before the cluster that is judged now."""
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
        self._waiting.add([(end_ns, pool_list.entry_ns, pool_list)])
        self._waiting.add((state.end_ns, state.begin_ns, state) for state in mem.pools)

    def feed(self, events: Iterable[Event]) -> None:
        """The next events of the stream, roughly in the order of their responses."""
        if isinstance(events, Batch) and type(self.findings.listener) is Listener:
            self._waiting.add_packed(events)  # nobody wants to be told of each
            return
        for event in events:
            if isinstance(event, Gap):
                self.gap(event)
            else:
                self._waiting.add(spans_of((event,)))

    def keep_up(self) -> None:
        """Judge what can be judged, once so many events are waiting that it is worth it."""
        if len(self._waiting) >= self._next_run:
            self.advance(self._waiting.last_ns or 0)
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
        last_ns = self._waiting.last_ns
        fed_ns = self._judged_ns if last_ns is None else last_ns
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
        if self._late_calls or self._waiting.has_unseen_entry:
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
        self._waiting.add((copy.exit_ns, copy.entry_ns, copy) for copy in comparison.initial_copies())
        self._blind = None

    def _has_room_for(self, mem: MemState) -> bool:
        """Whether the slots of a state may wait to be compared, if need be after judging what can be judged."""
        slots = sum(state.nslabs for state in mem.pools)
        if self._slots_waiting() + slots > _MAX_SLOTS_WAITING:
            self.advance(self._waiting.last_ns or 0)
        return self._slots_waiting() + slots <= _MAX_SLOTS_WAITING

    def _slots_waiting(self) -> int:
        states = self._waiting.states()
        states |= {operation.state for operation in self._operations if isinstance(operation, ObservedArea)}
        return sum(state.nslabs for state in states)

    # ---- from events to clusters of operations ---------------------------

    def _run(self, until_ns: int = NEVER_NS) -> None:
        """Judge the clusters that ended by ``until_ns``."""
        waiting = len(self._waiting)
        ready, to_come_ns = self._waiting.take(until_ns, self._runs_begin_ns())
        self._operations += self._operations_of(ready)
        if self._comparison is not None:
            self._comparison.earn_patience(waiting - len(self._waiting))
            self._compare(self._comparison, min(until_ns, to_come_ns))
        self._confirm_known()
        if self.findings.disagree >= MOST_DISAGREEMENTS and self._blind not in _FOR_GOOD:
            self._lose_sight(Doubt.PLAINLY_WRONG, self._operations)

    def _runs_begin_ns(self) -> int:
        """Calls that were invoked after this, and overlap no other that waits, are judged by themselves."""
        if self._blind or self._comparison is None:
            return NEVER_NS
        responded_ns = max((operation.exit_ns for operation in self._operations), default=0)
        return max(self._comparison.begin_ns, self._judged_ns, responded_ns)

    def _compare(self, comparison: Comparison, before_ns: int) -> None:
        """Judge the clusters that ended before any call that may still come."""
        operations = self._operations
        judged = 0
        try:
            for cluster in clusters(operations, before_ns):
                calls = cluster[0]
                if isinstance(calls, LoneCalls):
                    why = self._judge_lone(comparison, calls)
                    judged += not calls.run
                else:
                    why = self._judge(comparison, cluster)  # type: ignore[arg-type]  # lone calls are alone
                    judged += len(cluster)
                if why:
                    self._lose_sight(why, operations[judged:])
                    return
        except TooManyAreasError:
            self._lose_sight(Doubt.TOO_MANY_AREAS, operations[judged:], self.findings.answered - self._answered)
        else:
            self._operations = operations[judged:]

    def _judge_lone(self, comparison: Comparison, calls: LoneCalls) -> Doubt | None:
        """Judge calls that overlap no others: many at once where that can be, and one by one. Returns as `_judge`."""
        why = None
        while calls.run and not why:
            if self._pause.left:
                self._pause.pass_by(1)
            else:
                comparison.judge_at_once(calls, self._pause)
                self._judged_ns = max(self._judged_ns, calls.judged_ns)
            if calls.run:
                why = self._judge(comparison, [calls.first()])
                calls.judged()
        return why

    def _judge(self, comparison: Comparison, cluster: list[Operation]) -> Doubt | None:
        """Judge a cluster. Returns why the state has to be given up, if it has to be."""
        self._answered = self.findings.answered
        stays = comparison.judge(cluster)
        self._judged_ns = max(self._judged_ns, cluster[-1].exit_ns)
        if not stays:
            return Doubt.DURING_STATE
        return Doubt.TOO_MANY_UNCERTAIN if self._unconfirmed.is_hopeless else None

    def _lose_sight(self, why: Doubt, not_judged: list[Operation | LoneCalls], answered: int = 0) -> None:
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
        if not known:
            return
        not_judged_ns = min(operations[0].exit_ns if operations else NEVER_NS, waiting.first_ns)
        while known and known[0][0] < not_judged_ns:
            self._unconfirmed.known_before(known.popleft()[1])

    def _operations_of(self, spans: Iterable[Span]) -> Iterator[Operation | LoneCalls]:
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
                    yield from self._several(item)
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

    def _lone_calls(self, run: Run) -> Iterator[Operation | LoneCalls]:
        """Resolve calls that overlap no other: as far as possible without looking at each."""
        if self._pause.left:
            self._pause.pass_by(len(run))
            yield from self._operations_of(spans_of(run.events()))
            return
        while run:
            meaning = self._resolver.meaning()
            if self._tables is None or self._tables.meaning is not meaning:
                self._tables = Tables(meaning)
            known = self._tables.resolved(run)
            if len(known) >= lone_calls.SHORTEST:
                yield LoneCalls(known, meaning)
                run = run.part(known.end, run.end)
            else:
                next_ = min(known.end + 1, run.end)
                yield from self._operations_of(spans_of(run.part(run.begin, next_).events()))
                run = run.part(next_, run.end)

    def _several(self, item: Waits) -> Iterator[Operation | LoneCalls]:
        """What a snapshot showed, one area at a time, or calls that overlap no other."""
        if isinstance(item, Run):
            yield from self._lone_calls(item)
        elif isinstance(item, InitialCopy | ObservedPoolList):
            yield item
        elif isinstance(item, PoolState):
            pool = self._resolver.pools.now(item.address)
            if pool is None or (item.start, item.nslabs, item.nareas) != (pool.start, pool.nslabs, pool.nareas):
                return
            snapshot = ObservedPool(item)
            for area in range(pool.nareas):
                yield ObservedArea(item.begin_ns, item.end_ns, item, pool, area, snapshot)
