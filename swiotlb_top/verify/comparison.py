"""The kernel against the model, from one state on.

A :class:`Comparison` holds the model and all that is known besides it: which areas are not known yet (bootstrap), what
``area->index`` may be where linearizations differ, which slots leaked, and the books that check safety. It takes one
cluster of operations after another, puts each in order, and counts in the findings what agrees and what does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from swiotlb_top.allocator import Allocator, Ledger, Pool, Revision, Violation, adopt
from swiotlb_top.events import failed_map
from swiotlb_top.native.pause import Pause
from swiotlb_top.state import MemState
from swiotlb_top.verify.bootstrap import Bootstrap
from swiotlb_top.verify.diagnose.culprits import Diagnosis, find_culprits
from swiotlb_top.verify.diagnose.disagreement import divergence_of, fault_of, places_concerned, unconfirmed
from swiotlb_top.verify.diagnose.failures import why_failed
from swiotlb_top.verify.diagnose.late_calls import LateCalls, places_of, why_late
from swiotlb_top.verify.diagnose.leaked_slots import LeakedSlots
from swiotlb_top.verify.diagnose.reused_slots import ReusedSlots
from swiotlb_top.verify.diagnose.unconfirmed import POOL_LIST, Detail, UnconfirmedDisagreements
from swiotlb_top.verify.findings import Doubt, Findings
from swiotlb_top.verify.in_core import judge_at_once
from swiotlb_top.verify.linearize.effort import Effort
from swiotlb_top.verify.linearize.plausible_order import plausible_order
from swiotlb_top.verify.linearize.possible_indices import IndexAlternatives, alternatives_after
from swiotlb_top.verify.linearize.strategy import Linearization, linearize
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.lone_calls import LoneCalls
from swiotlb_top.verify.operations.observed import InitialCopy, ObservedArea, ObservedPoolList
from swiotlb_top.verify.operations.rolled_back_map import with_rolled_back_maps
from swiotlb_top.verify.operations.slot_search import SlotSearch
from swiotlb_top.verify.partition import independent_groups

_MAX_DURING_COPY: Final = 20_000
"""How many operations may overlap the copy of an area. If there are more, the state is given up."""
_INITIAL_PATIENCE: Final = 2_000_000
"""How many full areas searches may visit at the beginning of a stream (see :attr:`Allocator.patience`),"""
_PATIENCE_PER_ITEM: Final = 200
"""how many more for each call, and each area that was read,"""
_MAX_PATIENCE: Final = 2_000_000
"""and how many at once. So many take two seconds."""
_FEW_AREAS: Final = 1024
"""With so many areas, it is said of many disagreements what the model would have done; with more, of a few."""
_MOST_DIAGNOSED: Final = 10_000
"""Of a larger group without an order one operation is reported, and the rest is inconclusive: each that is reported has
the rest looked at again, and no kernel has so much under way at once, unless a call stood still."""
_MAX_FAULTS: Final = 8
"""How many operations of one group are reported as faults. After these, the rest of the group is inconclusive."""


class Comparison:
    """Judges operations against a model that begins from one state.

    :param revision: the swiotlb that the kernel is supposed to have.
    :param mem: the state, as it was read.
    :param findings: where the answers are counted.
    :param unconfirmed: gets the disagreements.
    :param late_calls: the calls that turned up late.
    :param before: the comparison of the same stream that ends where this one begins.
    """

    def __init__(
        self,
        revision: Revision,
        mem: MemState,
        findings: Findings,
        unconfirmed: UnconfirmedDisagreements,
        late_calls: LateCalls,
        before: Comparison | None = None,
    ) -> None:
        pools = tuple(adopt(state, rule=revision.rule, check=False).pool for state in mem.pools)
        sizes = mem.default_nslabs, mem.default_nareas
        self.model = Allocator(revision, pools, *sizes, can_grow=mem.can_grow, dynamic=mem.dynamic)
        self.model.patience = before.model.patience if before else _INITIAL_PATIENCE
        self.effort: Effort = before.effort if before else Effort()
        self.begin_ns = mem.begin_ns
        """When reading the state began."""
        self._revision = revision
        self._findings = findings
        self._unconfirmed = unconfirmed
        self._late_calls = late_calls
        self._ledger = Ledger(pads_slots=revision.pads_slots)
        self._bootstrap: Bootstrap | None = Bootstrap(mem, pools, self._ledger)
        self._alternatives: IndexAlternatives = {}
        self._leaked_slots = LeakedSlots()
        self._reused_slots = ReusedSlots(self._ledger)
        self._adopted_pools: dict[Pool, None] = {}
        """Pools of which areas were adopted as they were read, and that have to be entered in the ledger again."""
        self._operations: int = before._operations if before else 0
        """How many operations of the stream were compared."""

    def initial_copies(self) -> Iterator[InitialCopy]:
        """The copies from which it begins, to be put in order among the other operations."""
        return self._bootstrap.copies() if self._bootstrap else iter(())

    def earn_patience(self, items: int) -> None:
        """Let searches visit more areas.

        :param items: how many calls and areas are judged next.
        """
        self.model.patience = min(self.model.patience + _PATIENCE_PER_ITEM * items, _MAX_PATIENCE)

    def judge_at_once(self, calls: LoneCalls, pause: Pause) -> None:
        """Judge calls that overlap no others, as many from the first on as the native core finds to agree.

        :param pause: until the core is worth trying again; longer afterwards, if it was not.
        """
        if self._bootstrap is not None or self._late_calls or self._adopted_pools:
            return
        before = len(calls.run)
        for area in judge_at_once(self.model, self._ledger, calls, pause):
            self._alternatives.pop(area, None)
        agreed = before - len(calls.run)
        self._operations += agreed
        self._findings.agree += agreed

    def judge(self, cluster: list[Operation]) -> bool:
        """Judge operations that overlap no others.

        :param cluster: sorted by response.
        :returns: False if the state has to be given up, because too much overlaps its copy.
        :raises TooManyAreasError: the model's patience is over.
        """
        return (self._judge_with_late_calls if self._late_calls else self._judge_in_time)(cluster)

    # ---- from clusters to single operations ------------------------------

    def _judge_in_time(self, cluster: list[Operation]) -> bool:
        if len(cluster) == 1 and self._bootstrap is None:
            self._judge_one(cluster[0])
            return True
        return self._judge_cluster(cluster)

    def _judge_with_late_calls(self, cluster: list[Operation]) -> bool:
        model, late_calls = self.model, self._late_calls
        model.spend(len(self._unconfirmed))
        late_calls.before(cluster)
        of_former = {one for one in cluster if one in late_calls and self._reused_slots.release_former(one)}
        for release in of_former:
            self._findings.doubt(why_late(release))
        stays = self._judge_in_time([one for one in cluster if one not in of_former])
        for (pool, area), indices in late_calls.after(cluster, model).items():
            others = self._alternatives.get((pool, area), {}) | indices
            others.pop(pool.area_index[area], None)
            self._set_alternatives({(pool, area): others})
        return stays

    def _judge_cluster(self, cluster: list[Operation]) -> bool:
        model, bootstrap = self.model, self._bootstrap
        stays = True
        for group in independent_groups(cluster, model):
            if bootstrap is not None and len(group) > _MAX_DURING_COPY:
                self._findings.doubt(Doubt.DURING_STATE, sum(operation.compared for operation in group))
                stays = False
            elif bootstrap is not None and bootstrap.concerns(group, model):
                self._record_adopted_pools()
                during = bootstrap.apply_overlapping(group, model)
                self._set_alternatives(bootstrap.alternatives)
                bootstrap.alternatives.clear()
                if during:
                    self._findings.doubt(Doubt.DURING_STATE, during)
            else:
                for part in _drop_torn_observations(group):
                    if len(part) == 1:
                        self._judge_one(part[0])
                    else:
                        self._record_adopted_pools()
                        self._judge_group(part)
        if bootstrap is not None and bootstrap.complete:
            self._bootstrap = None
        return stays

    def _judge_one(self, operation: Operation) -> None:
        """Judge an operation that overlaps no other."""
        if self._adopted_pools and not isinstance(operation, ObservedArea):
            self._record_adopted_pools()
        if operation.apply_if_legal(self.model) is not None:
            self._agree(operation)
        elif self._alternatives or self._leaked_slots.drop_refuted([operation]):
            self._judge_group([operation])
        else:
            # The only order that there is was tried.
            self.effort.settle(1, 1)
            self._disagree(operation, [operation], Linearization(dead_ends=1))
            self._leaked_slots.hold_all()

    def _judge_group(self, group: list[Operation], faults: int = _MAX_FAULTS, *, again: bool = False) -> None:
        """Judge operations that overlap.

        :param faults: how many may be reported before the rest is inconclusive.
        :param again: whether they were looked at before.
        """
        effort = self.effort
        budget = effort.budget_for(len(group))
        outcome = linearize(self.model, group, budget, alternatives=self._alternatives)
        effort.steps += outcome.steps
        if not outcome.order and (rolled_back := with_rolled_back_maps(group, self._revision)):
            with_these = linearize(self.model, rolled_back, budget, alternatives=self._alternatives)
            outcome = with_these if with_these.order else outcome
        effort.settle(outcome.steps, 0 if again else len(group))
        if not outcome.order:
            if self._leaked_slots.drop_refuted(group):
                self._judge_group(group, faults, again=True)
            else:
                self._judge_without_order(group, outcome, faults)
            return
        self._agree_in_order(outcome)
        self._set_alternatives(outcome.alternatives)

    def _agree_in_order(self, outcome: Linearization) -> None:
        """Count operations that were applied in an order that the model accepts."""
        # A failure is explained by what it met: then the others behind it must not have happened yet.
        again = any(isinstance(operation, SlotSearch) and operation.slot < 0 for operation in outcome.order)
        if again:
            outcome.take_back()
        for operation in outcome.order:
            if again:
                operation.apply_forced(self.model)
            self._agree(operation, None if outcome.proved else Doubt.TOO_MANY_ORDERS)

    # ---- groups without a linearization ----------------------------------

    def _judge_without_order(self, group: list[Operation], outcome: Linearization, faults: int) -> None:
        """Report the culprits of a group that has no linearization, and go on from what the kernel did.

        If it is not proved that there is none, or too many operations were reported, the rest is inconclusive.
        """
        doubt = Doubt.TOO_MANY_ORDERS if outcome.exhausted else None if faults else Doubt.TOO_MANY_FAULTS
        if doubt:
            self._adopt_all(group, doubt)
        else:
            self._report_culprits(group, outcome, faults)
        self._leaked_slots.hold_all()
        self._alternatives |= alternatives_after(group)

    def _report_culprits(self, group: list[Operation], outcome: Linearization, faults: int) -> None:
        model, effort = self.model, self.effort
        diagnosis = Diagnosis(group)
        if 1 < len(group) <= _MOST_DIAGNOSED and not effort.is_scarce:
            diagnosis = find_culprits(model, group, outcome.longest_prefix, self._alternatives)
            effort.waste(diagnosis.steps)
        order = iter(diagnosis.order)
        for operation in order:
            if operation in diagnosis.culprits:
                self._disagree(operation, group, outcome)
            elif operation.apply_if_legal(model) is not None:
                self._agree(operation)
            elif operation in diagnosis.explained:
                # Legal in this order, but only if its search is split into per-area steps.
                operation.adopt_as_is(model)
                self._agree(operation)
            else:
                self._disagree(operation, group, outcome)
                self._leaked_slots.hold_all()
                if rest := set(order):
                    faults = faults - 1 if len(group) <= _MOST_DIAGNOSED else 0
                    self._judge_group([operation for operation in group if operation in rest], faults, again=True)

    def _adopt_all(self, group: list[Operation], doubt: Doubt) -> None:
        """Apply operations in an order that is not known to be right.

        :param doubt: why those that are not legal in it are inconclusive.
        """
        if self._unconfirmed.states_tell:
            self._unconfirmed.adopted(places_of(group, self.model))
        for operation in plausible_order(group):
            if operation.apply_if_legal(self.model) is not None:
                self._agree(operation)
                continue
            operation.adopt_as_is(self.model)
            self._reused_slots.note(operation)
            operation.record_in(self._ledger)
            if operation.compared:
                self._findings.doubt(doubt)

    # ---- answers ---------------------------------------------------------

    def _agree(self, operation: Operation, doubt: Doubt | None = None) -> None:
        """Count an operation that was applied.

        :param doubt: why it is inconclusive all the same.
        """
        findings = self._findings
        violations = operation.record_in(self._ledger)
        if operation.compared:
            self._operations += 1
        if self._alternatives and isinstance(operation, SlotSearch | ObservedArea) and operation.pool:
            self._alternatives.pop((operation.pool, operation.area), None)
        if violations:
            self._report(operation, lambda _: "no harm", violations, [operation], Linearization(dead_ends=1))
        elif operation.unchecked:
            findings.doubt(Doubt.NEVER_INTRODUCED)
        elif operation.compared and doubt:
            findings.doubt(doubt)
        elif operation.compared:
            findings.agreed(operation.event)
            if operation.event is not None and failed_map(operation.event):
                self._explain(operation)
        elif isinstance(operation, ObservedArea):
            self._area_was_equal(operation)
        elif isinstance(operation, ObservedPoolList):
            self._unconfirmed.state_agreed(POOL_LIST, operation.entry_ns)

    def _area_was_equal(self, area: ObservedArea) -> None:
        self._findings.equal_areas += 1
        self.model.spend(len(self._unconfirmed))
        if not self._leaked_slots.has_leak_in((area.pool, area.area)):
            self._unconfirmed.state_agreed((area.pool, area.area), area.entry_ns)

    def _disagree(self, operation: Operation, group: list[Operation], outcome: Linearization) -> None:
        """Report an operation that is not legal, and adopt what the kernel did.

        :param group: the operations that it was put in order with, itself included.
        :param outcome: the search for an order of these.
        """
        model, leaked_slots = self.model, self._leaked_slots
        if isinstance(operation, SlotSearch) and operation.excuse:
            self._findings.doubt(operation.excuse)
            return  # it failed, and changed nothing
        if leaked_slots.explain(operation, model):
            operation.apply_if_legal(model)
            self._agree(operation)
            return
        self._operations += 1
        self._report(operation, operation.expected, operation.record_in(self._ledger), group, outcome)
        if isinstance(operation, SlotSearch):
            leaked_slots.suspect(operation, model)
            if operation.pool:
                self._alternatives.pop((operation.pool, operation.area), None)
        operation.adopt_as_is(model)
        self._reused_slots.note(operation)
        if isinstance(operation, ObservedArea):
            self._adopted_pools[operation.pool] = None

    def _report(
        self,
        operation: Operation,
        expected: Callable[[Allocator], str],
        violations: tuple[Violation, ...],
        group: list[Operation],
        outcome: Linearization,
    ) -> None:
        places = places_concerned(operation, group, self.model)
        fault = fault_of(operation, violations, self.model)
        detail = self._unconfirmed.wanted(fault)
        divergence = None
        if detail is Detail.FULL or (detail is Detail.BRIEF and self._has_few_areas()):
            number, agreeing = self._operations, self._findings.agree
            divergence = divergence_of(
                operation, group, outcome, expected(self.model), violations, detail, number=number, agreeing=agreeing
            )
        self._unconfirmed.add(unconfirmed(operation, group, places, violations, fault, divergence))

    def _has_few_areas(self) -> bool:
        """Whether saying what the model would do, once more for each disagreement, costs little patience."""
        return sum(pool.nareas for pool in self.model.pools) <= _FEW_AREAS

    def _explain(self, failed: Operation) -> None:
        """Say why a map failed, on whose failure the model agrees. The model is as the map found it."""
        model = self.model
        model.spend(sum(pool.nareas for pool in model.pools))
        found = why_failed(failed, model)
        if found is not None:
            self._findings.explained(*found)

    # ---- what is known besides the model ---------------------------------

    def _set_alternatives(self, alternatives: IndexAlternatives) -> None:
        """Replace the values that indices of some areas may have; empty for an area whose index is certain now."""
        for area, others in alternatives.items():
            if others:
                self._alternatives[area] = others
            else:
                self._alternatives.pop(area, None)

    def _record_adopted_pools(self) -> None:
        """Enter the mappings of adopted pools in the ledger, once for all areas that were adopted."""
        for pool in self._adopted_pools:
            self._ledger.add_pool(pool, pool.start, pool.nslabs)
            mappings = pool.mappings()
            for mapping in mappings:
                self._ledger.adopt(pool, mapping.slot, mapping.nslots, mapping.slot + mapping.pad_slots)
            self.model.spend(len(mappings))
        self._adopted_pools.clear()


def _drop_torn_observations(group: list[Operation]) -> list[list[Operation]]:
    """A group without what a snapshot showed: a snapshot that overlaps operations may be torn and proves nothing.

    :returns: the operations as one group, or, if there are none, each observation by itself.
    """
    others = [operation for operation in group if not isinstance(operation, ObservedArea | ObservedPoolList)]
    return [others] if others else [[observation] for observation in group]
