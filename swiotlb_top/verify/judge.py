"""The judge: replays what the kernel did through the reference allocator, and compares.

Fed with a stream - states, events, gaps, in the order they were recorded - it answers *agree*,
*disagree* or *inconclusive* for every mapping and release. It never guesses: before the first
state, after a gap and where an event refers to what it never saw, it says inconclusive.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from operator import itemgetter
from typing import Final, TypeAlias

from swiotlb_top.allocator import (
    Allocator,
    Hazard,
    Ledger,
    Pool,
    Revision,
    TooManyAreasError,
    Violation,
    adopt,
    explain,
    picture,
)
from swiotlb_top.events import ENTRY_UNKNOWN, Event, Find, Free, Gap, Grow, Map, PoolAdd, Unmap
from swiotlb_top.state import MemState, PoolState
from swiotlb_top.verify.bootstrap import Bootstrap
from swiotlb_top.verify.diagnose.culprits import Diagnosis, find_culprits
from swiotlb_top.verify.diagnose.late_calls import LateCalls, places_of
from swiotlb_top.verify.diagnose.leaked_slots import LeakedSlots
from swiotlb_top.verify.diagnose.unconfirmed import POOL_LIST, Place, UnconfirmedDisagreement, UnconfirmedDisagreements
from swiotlb_top.verify.findings import Divergence, Doubt, Failure, Findings
from swiotlb_top.verify.linearize.plausible_order import plausible_order
from swiotlb_top.verify.linearize.possible_indices import IndexAlternatives, alternatives_after
from swiotlb_top.verify.linearize.strategy import DEFAULT_BUDGET, Linearization, linearize
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.intervals import ASSUMED_DURATION_NS, NEVER_NS, assumed_entry_ns
from swiotlb_top.verify.operations.observed import InitialCopy, ObservedArea, ObservedPool, ObservedPoolList
from swiotlb_top.verify.operations.resolve import OtherAllocatorError, Resolver, UnresolvedError
from swiotlb_top.verify.operations.rolled_back_map import with_rolled_back_maps
from swiotlb_top.verify.operations.slot_search import SlotSearch
from swiotlb_top.verify.partition import clusters, independent_groups

_CALLS: Final = frozenset({Find, Map, Unmap, Free, PoolAdd, Grow})
"""Events with an entry and an exit; the others are of one moment."""
_MAPPINGS: Final = frozenset({Find, Map, Unmap, Free})
"""Events that are compared."""
_HORIZON_NS: Final = 1_000_000_000
"""An operation that takes longer than this may come too late to be put in its place: then it is a latecomer."""
_BATCH_EVENTS: Final = 4096

_WRONG_BY_THEMSELVES: Final = frozenset(
    {Hazard.OUT_OF_BOUNDS, Hazard.MISALIGNED_ADDRESS, Hazard.MISALIGNED_SLOT, Hazard.SPANS_BOUNDARY}
)
"""What no other call can be the reason of."""
_MOST_IN_VAIN: Final = 200_000
"""Moves, after which orders have cost enough: until that is made up for, they are not looked into as deeply."""
_MOVES_OF_AN_OPERATION: Final = 50
"""What an operation may cost at any time."""
_SCANT_BUDGET: Final = 800
_FAR_TOO_MUCH: Final = 2 * _MOST_IN_VAIN
"""Moves in vain, after which no orders are looked for but the one in which operations ended."""
_MOST_DURING_COPY: Final = 20_000
"""Operations that may overlap what was copied to begin from; what more of them left is not made out."""
_FIRST_PATIENCE: Final = 1_000_000
"""Areas that may be asked in vain at the beginning,"""
_PATIENCE_OF_AN_ITEM: Final = 10_000
"""by each call and area that was read more,"""
_MOST_PATIENCE: Final = 1_000_000
"""and at once at most. They take a second."""
_MOST_SLOTS_WAITING: Final = 1 << 23
"""Of states that were read and are not compared yet. One beyond that is not: nothing is claimed of it."""
_MOST_FAULTS: Final = 8

_Item: TypeAlias = Event | PoolState | InitialCopy | ObservedPoolList
_Span: TypeAlias = tuple[int, int, _Item]
"""(exit_ns, entry_ns, item)"""


class Judge:
    """Judges one stream against one revision.

    :param revision: which swiotlb the kernel is supposed to have.
    :param pools_announced: whether every new pool shows itself in the stream (the alloc_pool hook
        is there), so that an unknown one is a fault and not a blind spot.
    :param cpus: numbers of the CPUs the kernel may have.
    """

    def __init__(self, revision: Revision, *, pools_announced: bool = True, cpus: Collection[int] = (0,)) -> None:
        self.findings = Findings()
        self.revision = revision
        self.model: Allocator | None = None
        self._resolver = Resolver(revision, pools_announced=pools_announced, cpus=cpus)
        self._ledger = Ledger(pads_slots=revision.pads_slots)
        self._arrival: Bootstrap | None = None
        self._uncertain: IndexAlternatives = {}
        self._leaks = LeakedSlots()
        self.moves = 0
        """Tried altogether, to find orders of what overlapped."""
        self._in_vain = 0
        self._begin_ns = 0
        self._to_enter: dict[Pool, None] = {}
        """Pools of which areas were taken over, and the ledger does not know yet."""
        self._unconfirmed = UnconfirmedDisagreements(self.findings)
        self._latecomers = LateCalls(self._unconfirmed)
        self._judged_ns = 0
        self._known_before: deque[tuple[int, int]] = deque()
        """Once all is judged that ended by the first time, all calls are known that were entered before the second."""
        self._waiting: list[_Span] = []
        self._open: list[Operation] = []
        self._blind: Doubt | None = Doubt.BEFORE_STATE
        self._operations = 0
        self._next_run = _BATCH_EVENTS

    # ---- the stream ----------------------------------------------------

    def state(self, mem: MemState) -> None:
        """The allocator's state was read: begin from it, or hold it against the reference's."""
        if self._blind or self.model is None:
            self._run()
            self._begin_from(mem)
            return
        if not self._has_room_for(mem):
            return
        begin_ns = mem.begin_ns
        end_ns = max((state.end_ns for state in mem.pools), default=0)
        # The list was read some time before its first pool.
        read = ObservedPoolList(begin_ns - ASSUMED_DURATION_NS, end_ns, tuple(state.address for state in mem.pools))
        self._waiting.append((end_ns, read.entry_ns, read))
        self._waiting += [(state.end_ns, state.begin_ns, state) for state in mem.pools]

    def _has_room_for(self, mem: MemState) -> bool:
        """Whether not too many slots wait to be compared, at the latest after what can be judged was."""
        slots = sum(state.nslabs for state in mem.pools)
        if self._slots_waiting() + slots > _MOST_SLOTS_WAITING:
            self.advance(max(span[0] for span in self._waiting) if self._waiting else 0)
        return self._slots_waiting() + slots <= _MOST_SLOTS_WAITING

    def _slots_waiting(self) -> int:
        states = {span[2] for span in self._waiting if isinstance(span[2], PoolState)}
        states |= {operation.state for operation in self._open if isinstance(operation, ObservedArea)}
        return sum(state.nslabs for state in states)

    def feed(self, events: Iterable[Event]) -> None:
        """The next events of the stream, in roughly the order they ended."""
        waiting = self._waiting
        for event in events:
            kind = type(event)
            if kind in _CALLS:
                entry_ns = event.entry_ns  # type: ignore[union-attr]  # these have one
                if entry_ns == ENTRY_UNKNOWN:
                    entry_ns = assumed_entry_ns(event)  # type: ignore[arg-type]
                waiting.append((event.exit_ns, entry_ns, event))
            elif isinstance(event, Gap):
                self.gap(event)
            else:
                waiting.append((event.exit_ns, event.exit_ns, event))

    def keep_up(self) -> None:
        """Judge what can be judged, once enough is waiting to make it worth while."""
        if len(self._waiting) >= self._next_run:
            self.advance(max(span[0] for span in self._waiting))
            self._next_run = len(self._waiting) + _BATCH_EVENTS

    def gap(self, _: Gap) -> None:
        """Events were lost: nothing can be said until the state is read anew.

        What was lost may have been under way before, so that whatever disagreed is in doubt, unless it is certain.
        """
        self._run()
        self._unconfirmed.withdraw_all(Doubt.AFTER_GAP)
        self._blind = Doubt.AFTER_GAP

    def known_before(self, time_ns: int) -> None:
        """Every call that was entered before a moment has returned, and was fed.

        Of those, that is, whose entry was seen. One that was not may be on its way: so this is believed once all is
        judged that was over some time later.
        """
        fed_ns = max((span[0] for span in self._waiting), default=self._judged_ns)
        self._known_before.append((fed_ns + _HORIZON_NS, time_ns))

    def advance(self, now_ns: int) -> None:
        """Judge what was over long enough before ``now_ns`` that nothing still to come can overlap it."""
        self._run(now_ns - _HORIZON_NS)

    def finish(self, until_ns: int = NEVER_NS, *, whole: bool = True) -> Findings:
        """Judge what is waiting: all of it, or what was over by ``until_ns``, dropping the rest.

        :param whole: whether every call was fed that was entered before ``until_ns``. If not, calls may have been under
            way when the stream ended, and what disagrees may be theirs.
        """
        self._run(until_ns)
        entry_unseen = (item.entry_ns == ENTRY_UNKNOWN for _, _, item in self._waiting if type(item) in _CALLS)  # type: ignore[union-attr]
        if self._latecomers or any(entry_unseen):
            self._unconfirmed.withdraw_all(Doubt.NOT_PLACED)
        self._waiting.clear()
        self._open.clear()
        self._known_before.clear()
        self._latecomers.clear()
        if whole:
            self._unconfirmed.known_before(until_ns)
        self._unconfirmed.withdraw_all(Doubt.NOT_RETURNED)
        return self.findings

    @property
    def blind(self) -> bool:
        """Whether the next state is one to begin from."""
        return self._blind is not None

    # ---- from events to groups of operations -----------------------------

    def _run(self, until_ns: int = NEVER_NS) -> None:
        """Judge the clusters that are over by ``until_ns``."""
        waiting = self._waiting
        waiting.sort(key=itemgetter(0))
        ready = bisect_left(waiting, until_ns, key=itemgetter(0))
        to_come_ns = min((span[1] for span in waiting[ready:]), default=until_ns)
        operations = self._open
        operations += self._operations_of(waiting[:ready])
        del waiting[:ready]
        if self.model is not None:
            self.model.patience = min(self.model.patience + _PATIENCE_OF_AN_ITEM * ready, _MOST_PATIENCE)
        judged = answered = 0
        try:
            for cluster in clusters(operations, min(until_ns, to_come_ns)):
                answered = self.findings.answered
                if self._latecomers:
                    self._judge_with_latecomers(cluster)
                elif len(cluster) == 1 and self._arrival is None:
                    self._judge_one(cluster[0])
                else:
                    self._judge_cluster(cluster)
                judged += len(cluster)
                self._judged_ns = max(self._judged_ns, cluster[-1].exit_ns)
        except TooManyAreasError:
            self._open = operations[judged:]
            self._lose_sight(Doubt.TOO_MANY_AREAS, self.findings.answered - answered)
        else:
            self._open = operations[judged:]
        self._now_certain()

    def _lose_sight(self, why: Doubt, answered: int = 0) -> None:
        """Wait for another state to begin from, and doubt what was open.

        :param answered: how many of these were answered already.
        """
        open_ = sum(operation.compared for operation in self._open) - answered
        if open_ > 0:
            self.findings.doubt(why, open_)
        self._open = []
        self._blind = why

    def _now_certain(self) -> None:
        """Of what is judged, what no call can explain that is still to come."""
        operations, waiting, known = self._open, self._waiting, self._known_before
        not_judged_ns = min(operations[0].exit_ns if operations else NEVER_NS, waiting[0][0] if waiting else NEVER_NS)
        while known and known[0][0] < not_judged_ns:
            self._unconfirmed.known_before(known.popleft()[1])

    def _operations_of(self, spans: list[_Span]) -> Iterator[Operation]:
        """Resolve items, in the order of exits, and leave out where there is nothing to judge."""
        resolve, findings, begin_ns, blind = self._resolver.resolve, self.findings, self._begin_ns, self._blind
        judged_ns = self._judged_ns
        for exit_ns, _, item in spans:
            kind = type(item)
            mapping = kind in _MAPPINGS
            if mapping and exit_ns < begin_ns:
                continue
            stands_for = resolve.get(kind)
            if stands_for is None:
                yield from self._reading(item)
                continue
            try:
                operation = stands_for(item)
            except UnresolvedError as unresolved:
                findings.doubt(blind or unresolved.doubt)
                continue
            except OtherAllocatorError:
                findings.elsewhere += 1
                continue
            if operation is None:
                continue
            if not blind:
                if item[0] < judged_ns:  # type: ignore[index]  # an event's entry
                    self._latecomers.add(operation)
                yield operation
            elif mapping:
                findings.doubt(blind)

    def _reading(self, item: _Item) -> Iterator[Operation]:
        """What was read of the kernel's state, an area at a time."""
        if isinstance(item, InitialCopy | ObservedPoolList):
            yield item
        elif isinstance(item, PoolState):
            pool = self._resolver.pools.now(item.address)
            if pool is None or (item.start, item.nslabs, item.nareas) != (pool.start, pool.nslabs, pool.nareas):
                return
            read = ObservedPool(item)
            for area in range(pool.nareas):
                yield ObservedArea(item.begin_ns, item.end_ns, item, pool, area, read)

    def _begin_from(self, mem: MemState) -> None:
        """Take over the kernel's state, as far as it is known."""
        pools = tuple(adopt(state, rule=self.revision.rule, check=False).pool for state in mem.pools)
        patience = self.model.patience if self.model else _FIRST_PATIENCE
        self.model = Allocator(
            self.revision,
            pools,
            mem.default_nslabs,
            mem.default_nareas,
            can_grow=mem.can_grow,
            dynamic=mem.dynamic,
        )
        self.model.patience = patience
        self._to_enter.clear()
        self._resolver.begin_from(mem.address, pools)
        self._ledger = Ledger(pads_slots=self.revision.pads_slots)
        self._arrival = Bootstrap(mem, pools, self._ledger)
        self._waiting += [(copy.exit_ns, copy.entry_ns, copy) for copy in self._arrival.copies()]
        self._begin_ns = self._arrival.begin_ns
        self._uncertain.clear()
        self._leaks = LeakedSlots()
        self._blind = None

    # ---- judging ---------------------------------------------------------

    def _judge_one(self, operation: Operation) -> None:
        model = self.model
        assert model is not None  # noqa: S101 (operations come only after a state)
        if self._to_enter and not isinstance(operation, ObservedArea):
            self._enter_what_was_read()
        if operation.apply_if_legal(model) is not None:
            self._agree(operation)
        else:
            self._judge_group([operation])

    def _judge_with_latecomers(self, cluster: list[Operation]) -> None:
        model = self.model
        assert model is not None  # noqa: S101
        model.spend(len(self._unconfirmed))
        self._latecomers.before(cluster)
        self._judge_cluster(cluster)
        for (pool, area), indices in self._latecomers.after(cluster, model).items():
            others = self._uncertain.get((pool, area), {}) | indices
            others.pop(pool.area_index[area], None)
            self._now_uncertain({(pool, area): others})

    def _judge_cluster(self, cluster: list[Operation]) -> None:
        model, arrival = self.model, self._arrival
        assert model is not None  # noqa: S101
        for group in independent_groups(cluster, model):
            if arrival is not None and len(group) > _MOST_DURING_COPY:
                self._give_up_the_state(group)
            elif arrival is not None and arrival.concerns(group, model):
                self._enter_what_was_read()
                during = arrival.apply_overlapping(group, model)
                self._now_uncertain(arrival.alternatives)
                arrival.alternatives.clear()
                if during:
                    self.findings.doubt(Doubt.DURING_STATE, during)
            else:
                for part in _what_proves(group):
                    if len(part) == 1:
                        self._judge_one(part[0])
                    else:
                        self._enter_what_was_read()
                        self._judge_group(part)
        if arrival is not None and arrival.complete:
            self._arrival = None

    def _give_up_the_state(self, group: list[Operation]) -> None:
        """Wait for another state to begin from: too much went on while this one was copied."""
        self.findings.doubt(Doubt.DURING_STATE, sum(operation.compared for operation in group))
        self._blind = Doubt.DURING_STATE

    def _judge_group(self, group: list[Operation], faults: int = _MOST_FAULTS) -> None:
        """Judge operations that overlap.

        :param faults: how many may be told of until the rest is in doubt.
        """
        model = self.model
        assert model is not None  # noqa: S101
        budget = DEFAULT_BUDGET if self._in_vain < _MOST_IN_VAIN else _SCANT_BUDGET
        if self._in_vain >= _FAR_TOO_MUCH:
            budget = len(group)
        outcome = linearize(model, group, budget, alternatives=self._uncertain)
        self.moves += outcome.steps
        if not outcome.order and (taken_back := with_rolled_back_maps(group, self.revision)):
            with_these = linearize(model, taken_back, budget, alternatives=self._uncertain)
            outcome = with_these if with_these.order else outcome
        self._in_vain = max(self._in_vain + outcome.steps - _MOVES_OF_AN_OPERATION * len(group), 0)
        if not outcome.order:
            if self._leaks.drop_refuted(group):
                self._judge_group(group, faults)
            else:
                self._blame(group, outcome, faults)
            return
        for operation in outcome.order:
            self._agree(operation, None if outcome.proved else Doubt.TOO_MANY_ORDERS)
        self._now_uncertain(outcome.alternatives)

    def _now_uncertain(self, uncertain: IndexAlternatives) -> None:
        """Of some areas, where they may be searched next; empty for what is certain now."""
        for area, others in uncertain.items():
            if others:
                self._uncertain[area] = others
            else:
                self._uncertain.pop(area, None)

    def _blame(self, group: list[Operation], outcome: Linearization, faults: int) -> None:
        """Where no order does: find the operations without which one would, and go on from what the kernel
        did, so that one fault is one report."""
        doubt = Doubt.TOO_MANY_ORDERS if outcome.exhausted else None if faults else Doubt.TOO_MANY_FAULTS
        if doubt:
            self._go_on(plausible_order(group), doubt)
        else:
            self._tell_of_culprits(group, outcome, faults)
        self._leaks.hold_all()
        self._uncertain |= alternatives_after(group)

    def _tell_of_culprits(self, group: list[Operation], outcome: Linearization, faults: int) -> None:
        model = self.model
        assert model is not None  # noqa: S101
        blame = Diagnosis(group)
        if len(group) > 1 and self._in_vain < _MOST_IN_VAIN:
            blame = find_culprits(model, group, outcome.longest_prefix, self._uncertain)
            self.moves += blame.steps
            self._in_vain += blame.steps
        order = iter(blame.order)
        for operation in order:
            if operation in blame.culprits:
                self._disagree(operation, group, outcome)
            elif operation.apply_if_legal(model) is not None:
                self._agree(operation)
            elif operation in blame.explained:
                # In place among the others, only its way there is more than one step.
                operation.adopt_as_is(model)
                self._agree(operation)
            else:
                self._disagree(operation, group, outcome)
                self._leaks.hold_all()
                if rest := set(order):
                    self._judge_group([operation for operation in group if operation in rest], faults - 1)

    def _go_on(self, order: Iterable[Operation], doubt: Doubt) -> None:
        """Do as the kernel did, in an order of which nothing is known."""
        model = self.model
        assert model is not None  # noqa: S101
        for operation in order:
            if operation.apply_if_legal(model) is not None:
                self._agree(operation)
                continue
            operation.adopt_as_is(model)
            operation.record_in(self._ledger)
            if operation.compared:
                self.findings.doubt(doubt)

    def _agree(self, operation: Operation, doubt: Doubt | None = None) -> None:
        findings, model = self.findings, self.model
        assert model is not None  # noqa: S101
        violations = operation.record_in(self._ledger)
        if operation.compared:
            self._operations += 1
        if self._uncertain and isinstance(operation, SlotSearch | ObservedArea) and operation.pool:
            self._uncertain.pop((operation.pool, operation.area), None)
        if violations:
            self._record(operation, "no harm", violations, [operation], Linearization(dead_ends=1))
        elif operation.unchecked:
            findings.doubt(Doubt.NEVER_INTRODUCED)
        elif operation.compared and doubt:
            findings.doubt(doubt)
        elif operation.compared:
            findings.agree += 1
            if isinstance(operation, SlotSearch) and operation.slot < 0:
                self._explain(operation)
        elif isinstance(operation, ObservedArea):
            findings.audits += 1
            model.spend(len(self._unconfirmed))
            if not self._leaks.has_leak_in((operation.pool, operation.area)):
                self._unconfirmed.state_agreed((operation.pool, operation.area), operation.entry_ns)
        elif isinstance(operation, ObservedPoolList):
            self._unconfirmed.state_agreed(POOL_LIST, operation.entry_ns)

    def _disagree(self, operation: Operation, group: list[Operation], outcome: Linearization) -> None:
        model = self.model
        assert model is not None  # noqa: S101
        if self._leaks.explain(operation, model):
            operation.apply_if_legal(model)
            self._agree(operation)
            return
        self._operations += 1
        expected = operation.expected(model)
        self._record(operation, expected, operation.record_in(self._ledger), group, outcome)
        if isinstance(operation, SlotSearch):
            self._leaks.suspect(operation, model)
            if operation.pool:
                self._uncertain.pop((operation.pool, operation.area), None)
        operation.adopt_as_is(model)
        if isinstance(operation, ObservedArea):
            self._to_enter[operation.pool] = None

    def _enter_what_was_read(self) -> None:
        """Tell the ledger of the mappings of pools of which areas were taken over, once for all of these."""
        for pool in self._to_enter:
            self._ledger.add_pool(pool, pool.start, pool.nslabs)
            mappings = pool.mappings()
            for mapping in mappings:
                self._ledger.adopt(pool, mapping.slot, mapping.nslots, mapping.slot + mapping.pad_slots)
            if self.model is not None:
                self.model.spend(len(mappings))
        self._to_enter.clear()

    def _record(
        self,
        operation: Operation,
        expected: str,
        violations: tuple[Violation, ...],
        group: list[Operation],
        outcome: Linearization,
    ) -> None:
        model = self.model
        assert model is not None  # noqa: S101
        places = set[Place]().union(*(places_of(one, model) for one in group))
        if model.can_grow or isinstance(operation, ObservedPoolList):
            places.add(POOL_LIST)
        hazards = {violation.hazard for violation in violations}
        told = None
        if self._unconfirmed.wants_divergence:
            told = self._divergence(operation, expected, violations, group, outcome)
        self._unconfirmed.add(
            UnconfirmedDisagreement(
                begin_ns=min(one.entry_ns for one in group),
                end_ns=max(one.exit_ns for one in group),
                places=places,
                observed=isinstance(operation, ObservedArea | ObservedPoolList),
                overlaps=Hazard.OVERLAP in hazards,
                is_certain=not _WRONG_BY_THEMSELVES.isdisjoint(hazards),
                safety_violations=len(violations),
                divergence=told,
            )
        )

    def _divergence(
        self,
        operation: Operation,
        expected: str,
        violations: tuple[Violation, ...],
        group: list[Operation],
        outcome: Linearization,
    ) -> Divergence:
        place = operation.location()
        others = (other for other in group if other is not operation)
        return Divergence(
            operation=self._operations,
            agreeing=self.findings.agree,
            time_ns=operation.exit_ns,
            event=operation.event,
            observed=operation.observed(),
            expected=expected,
            violations=violations,
            picture=picture(*place) if place else "",
            ordered_with=tuple(other.event for other in others if other.event is not None),
            orders_tried=outcome.dead_ends,
            longest_prefix=tuple(done.event for done in outcome.longest_prefix if done.event is not None),
        )

    def _explain(self, take: SlotSearch) -> None:
        assert self.model is not None  # noqa: S101
        self.model.spend(sum(pool.nareas for pool in self.model.pools))
        explanation = explain(self.model, take.cpu, take.request, take.pool)
        if explanation is not None:
            self.findings.explained(Failure(take.event, take.dev, explanation))


def _what_proves(group: list[Operation]) -> list[list[Operation]]:
    """A group without the audits in it, which may be torn; where it has nothing but audits, each by itself."""
    others = [operation for operation in group if not isinstance(operation, ObservedArea | ObservedPoolList)]
    return [others] if others else [[audit] for audit in group]
