"""The judge: replays what the kernel did through the reference allocator, and compares.

Fed with a stream - states, events, gaps, in the order they were recorded - it answers *agree*,
*disagree* or *inconclusive* for every mapping and release. It never guesses: before the first
state, after a gap and where an event refers to what it never saw, it says inconclusive.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Final

from swiotlb_top.allocator import Allocator, Ledger, Pool, Revision, Violation, adopt, explain, picture
from swiotlb_top.events import ENTRY_UNKNOWN, Event, Find, Gap, Grow, Map, PoolAdd, Unmap
from swiotlb_top.state import MemState, PoolState
from swiotlb_top.verify.findings import Divergence, Failure, Findings
from swiotlb_top.verify.operations import LONGEST_UNSEEN_NS, AddPool, Audit, Operation, Release, Take
from swiotlb_top.verify.ordering import Item, Outcome, Span, arrange, clusters
from swiotlb_top.verify.resolving import OLDER_POOL, Resolver, UnresolvedError

_CALLS: Final = frozenset({Find, Map, Unmap, PoolAdd, Grow})
"""Events with an entry and an exit; the others are of one moment."""
_MAPPINGS: Final = frozenset({Find, Map, Unmap})
"""Events that are compared."""
_HORIZON_NS: Final = 1_000_000_000
"""An operation that takes longer than this may come too late to be put in its place."""
_BATCH_EVENTS: Final = 4096

_BEFORE_STATE: Final = "before the first state"
_AFTER_GAP: Final = "after lost events"
_DURING_STATE: Final = "while the state was read"
NOT_SAMPLED: Final = frozenset({_BEFORE_STATE, _AFTER_GAP, _DURING_STATE, OLDER_POOL})
"""Why operations around the beginning of a stream cannot be judged: for who looks in at times
only, they are not doubtful but not looked at."""
_BUDGET: Final = "too many orders to try"
_MIGRATED: Final = "may have searched on another CPU"


class Judge:
    """Judges one stream against one revision.

    :param revision: which swiotlb the kernel is supposed to have.
    :param pools_announced: whether every new pool shows itself in the stream (the alloc_pool hook
        is there), so that an unknown one is a fault and not a blind spot.
    """

    def __init__(self, revision: Revision, *, pools_announced: bool = True) -> None:
        self.findings = Findings()
        self.revision = revision
        self.world: Allocator | None = None
        self._resolver = Resolver(revision, pools_announced=pools_announced)
        self._ledger = Ledger()
        self._copied: dict[int, int] = {}
        self._begin_ns = 0
        self._settled_ns = 0
        self._waiting: list[Span] = []
        self._blind = _BEFORE_STATE
        self._operations = 0
        self._next_run = _BATCH_EVENTS

    # ---- the stream ----------------------------------------------------

    def state(self, mem: MemState) -> None:
        """The allocator's state was read: begin from it, or hold it against the reference's."""
        if not mem.settled:
            return
        if self._blind or self.world is None:
            self._run()
            self._begin_from(mem)
            return
        self._waiting += [(state.end_ns, state.begin_ns, state) for state in mem.pools]

    def feed(self, events: Iterable[Event]) -> None:
        """The next events of the stream, in roughly the order they ended."""
        waiting = self._waiting
        for event in events:
            kind = type(event)
            if kind in _CALLS:
                entry_ns = event.entry_ns  # type: ignore[union-attr]  # these have one
                if entry_ns == ENTRY_UNKNOWN:
                    entry_ns = event.exit_ns - LONGEST_UNSEEN_NS
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

    def gap(self, gap: Gap) -> None:
        """Events were lost: nothing can be said until the state is read anew."""
        self._run()
        self._blind = _AFTER_GAP

    def advance(self, now_ns: int) -> None:
        """Judge what was over long enough before ``now_ns`` that nothing still to come can overlap it."""
        self._run(now_ns - _HORIZON_NS)

    def finish(self, until_ns: int | None = None) -> Findings:
        """Judge what is waiting: all of it, or what was over by ``until_ns``, dropping the rest."""
        self._run(until_ns)
        self._waiting.clear()
        return self.findings

    @property
    def blind(self) -> bool:
        """Whether the next state is one to begin from."""
        return bool(self._blind)

    # ---- from events to clusters of operations ---------------------------

    def _run(self, until_ns: int | None = None) -> None:
        """Judge the clusters that are over by ``until_ns``, or all."""
        waiting = self._waiting
        if not waiting:
            return
        waiting.sort(key=itemgetter(0))
        judged = 0
        for cluster in clusters(waiting, waiting[-1][0] + 1 if until_ns is None else until_ns):
            judged += len(cluster)
            operations = [op for op in map(self._operation, cluster) if op is not None]
            if operations:
                self._judge(operations)
        del waiting[:judged]

    def _operation(self, item: Item) -> Operation | None:
        """Resolve an item, in the order of exits; None where there is nothing to judge."""
        if isinstance(item, PoolState):
            return self._audit(item)
        mapping = type(item) in _MAPPINGS
        if mapping and item.exit_ns < self._begin_ns:
            return None
        try:
            operation = self._resolver.operation(item)
        except UnresolvedError as unresolved:
            self.findings.doubt(self._blind or str(unresolved))
            return None
        if operation is None:
            return None
        if self._blind or self.world is None:
            if mapping:
                self.findings.doubt(self._blind or _BEFORE_STATE)
            return None
        if operation.entry_ns < self._settled_ns:
            self._catch_up(operation)
            return None
        return operation

    def _audit(self, state: PoolState) -> Operation | None:
        pool = self._resolver.pools.get(state.address)
        if pool is None or (state.start, state.nslabs, state.nareas) != (pool.start, pool.nslabs, pool.nareas):
            return None
        return Audit(None, state.begin_ns, state.end_ns, state, pool)

    def _begin_from(self, mem: MemState) -> None:
        """Take over the kernel's state, pool by pool as each was copied."""
        pools = [adopt(state, rule=self.revision.rule).pool for state in mem.pools]
        self.world = Allocator(
            self.revision,
            pools,
            mem.default_nslabs,
            mem.default_nareas,
            can_grow=mem.can_grow,
            dynamic=mem.dynamic,
        )
        self._resolver.begin_from(pools)
        self._ledger = Ledger()
        for pool in pools:
            self._enter_state(pool)
        self._copied = {state.address: state.end_ns for state in mem.pools}
        self._begin_ns = min((state.begin_ns for state in mem.pools), default=0)
        self._settled_ns = max((state.end_ns for state in mem.pools), default=0)
        self._blind = ""

    def _enter_state(self, pool: Pool) -> None:
        """Begin a pool's ledger anew, from the mappings it has."""
        self._ledger.add_pool(pool.address, pool.start, pool.nslabs)
        for mapping in pool.mappings():
            self._ledger.adopt(pool.address, mapping.slot, mapping.nslots, mapping.slot + mapping.pad_slots)

    def _catch_up(self, operation: Operation) -> None:
        """An operation from while the pools were copied: done if it came after its pool's copy."""
        assert self.world is not None  # noqa: S101 (_begin_from made it)
        pool = operation.pool if isinstance(operation, Take | Release | AddPool) else None
        if pool is not None and operation.entry_ns > self._copied.get(pool.address, 0):
            operation.adopt(self.world)
            operation.enter(self._ledger)
        if not isinstance(operation, AddPool):
            self.findings.doubt(_DURING_STATE)

    # ---- judging ---------------------------------------------------------

    def _judge(self, cluster: list[Operation]) -> None:
        world = self.world
        assert world is not None  # noqa: S101 (operations come only after a state)
        if len(cluster) == 1:
            if cluster[0].attempt(world) is not None:
                self._agree(cluster[0])
            else:
                self._one_by_one(cluster, Outcome())
            return
        outcome = arrange(world, cluster)
        if not outcome.order:
            self._one_by_one(cluster, outcome)
            return
        for operation in outcome.order:
            self._agree(operation)

    def _one_by_one(self, cluster: list[Operation], outcome: Outcome) -> None:
        """Judge operations as they ended. After a disagreement the kernel's state is taken over,
        so that one fault is one report."""
        world = self.world
        assert world is not None  # noqa: S101
        for operation in cluster:
            if operation.attempt(world) is not None:
                self._agree(operation)
                continue
            doubt = _BUDGET if outcome.exhausted else _MIGRATED if _cpu_unknown(operation, world) else ""
            if doubt:
                operation.adopt(world)
                operation.enter(self._ledger)
                self.findings.doubt(doubt)
                continue
            self._operations += 1
            self._disagree(operation, operation.expected(world), outcome)
            if isinstance(operation, Take):
                operation.hold_passed_over(world)
            operation.adopt(world)
            if isinstance(operation, Audit):
                self._enter_state(operation.pool)

    def _agree(self, operation: Operation) -> None:
        findings = self.findings
        violations = operation.enter(self._ledger)
        if operation.compared:
            self._operations += 1
        if violations:
            self._record(operation, "no harm", violations, Outcome())
        elif operation.compared:
            findings.agree += 1
            if isinstance(operation, Take) and operation.slot < 0:
                self._explain(operation)
        else:
            findings.audits += isinstance(operation, Audit)

    def _disagree(self, operation: Operation, expected: str, outcome: Outcome) -> None:
        self._record(operation, expected, operation.enter(self._ledger), outcome)

    def _record(self, operation: Operation, expected: str, violations: tuple[Violation, ...], outcome: Outcome) -> None:
        findings = self.findings
        findings.disagree += 1
        findings.safety_violations += len(violations)
        if findings.first is not None:
            return
        place = operation.where()
        findings.first = Divergence(
            operation=self._operations,
            time_ns=operation.exit_ns,
            event=operation.event,
            observed=operation.observed(),
            expected=expected,
            violations=violations,
            picture=picture(*place) if place else "",
            overlapping=outcome.overlapping,
            orders_tried=outcome.steps,
        )

    def _explain(self, take: Take) -> None:
        assert self.world is not None  # noqa: S101
        explanation = explain(self.world, take.cpu, take.request)
        if explanation is not None and take.event is not None:
            self.findings.failures.append(Failure(take.event, take.dev, explanation))


def _cpu_unknown(operation: Operation, world: Allocator) -> bool:
    """Whether a search began where the probe did not see it, and where it began matters."""
    event = operation.event
    return world.default_nareas > 1 and isinstance(event, Find | Map) and event.migrated
