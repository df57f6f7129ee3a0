"""A depth-first search for linearizations: orders of overlapping operations that the model accepts.

Each operation took effect at one point of its closed interval. The search is Wing and Gong's ("Testing and Verifying
Concurrent Objects", 1993) with Lowe's memory ("Testing for Linearizability", 2017): at each node it applies, in turn,
every operation that was invoked before any other pending one responded, and it visits no state twice. What was
applied so far and where each area is searched next (``area->index``) decide what can still come, so they are what is
memoised.

:mod:`swiotlb_top.verify.linearize.reduction` says which of the moves are worth trying. Besides, a search that changes
nothing for others, because it failed or used a transient pool, is applied as soon as it can be.

A search for slots is one step, or it scans one area after another, each at a point of its own
(:mod:`swiotlb_top.verify.linearize.area_scan`). Reading an area early never takes a possibility away. So areas are read
at the first point at which they can be, and only the taking of slots is tried at different points.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from swiotlb_top.allocator import Allocator, Pool, Revision
from swiotlb_top.allocator.geometry import slot_addr
from swiotlb_top.verify.linearize.area_scan import AreaScans, ScanProgress
from swiotlb_top.verify.linearize.leaving import Leaving, WantedIndices
from swiotlb_top.verify.linearize.reduction import Reduction
from swiotlb_top.verify.operations.base import Operation, Undo
from swiotlb_top.verify.operations.domains import domain_of
from swiotlb_top.verify.operations.pool_add import AddPool
from swiotlb_top.verify.operations.slot_search import SlotSearch

_WIDE_SHIFT: Final = 4
"""A step costs 1, and 1 more for each 16 (2 to this) operations that are enabled or buffers that are ambiguous: all of
these are looked at in each step."""
_FOLLOW_SHIFT: Final = 3
"""It costs 1 more for each 8 (2 to this) paths of searches that are followed in it."""
_BEGIN_SHIFT: Final = 3
"""To begin costs 1 for each 8 (2 to this) operations of the group: each is looked at several times."""
_MOST_REMEMBERED: Final = 1 << 22
"""How many operations the memoised states may have, all together; each takes 16 bytes. No kernel comes near that."""
_REMEMBERED_PATH: Final = 10
"""A path that was followed takes as much memory as so many."""


@dataclass(slots=True)
class _Node:
    """A state of the search. All invoked operations that are not enabled have been applied.

    Operations are meant by their index in the group.
    """

    invoked: int
    """How many operations were invoked before the first response of one that has not been applied."""
    enabled: list[int]
    """Those of them that have not been applied, sorted by response."""
    progress: dict[int, ScanProgress]
    """How far each enabled search has scanned, if searches are not atomic."""
    depth: int
    """How many operations have been applied."""
    moves: Iterator[tuple[int, ...]]
    """Moves that have not been tried yet: each is an operation, after releases that it needs."""
    led_on: bool = False
    """Whether any move could be made."""


class Checker:
    """One search for linearizations of a group of operations.

    :param model: is changed while the search runs; :meth:`undo_all` restores it.
    :param group: operations that overlap, sorted by response.
    :param budget: how many steps to try at most.
    :param atomic: whether each search for slots is one step.
    :param unconstrained: operations that need not be legal: what the kernel did is applied.
    :param wanted: if given, only linearizations are sought that may leave one of these values. It is read during the
        search, so that values that were found can be removed from it.
    """

    def __init__(
        self,
        model: Allocator,
        group: list[Operation],
        budget: int,
        *,
        atomic: bool,
        unconstrained: Collection[Operation] = (),
        wanted: WantedIndices | None = None,
    ) -> None:
        self.longest_prefix: list[Operation] = []
        """The longest order that could be applied and not be continued."""
        self.steps = min(len(group) >> _BEGIN_SHIFT, budget)
        """How many steps were tried. To begin counts as some, too."""
        self.dead_ends = 0
        """How many orders could not be continued."""
        self.exhausted = False
        """Whether the budget ended the search."""
        self._order: list[int] = []
        self._undo: list[Undo] = []
        self._model = model
        self._group = group
        self._budget = budget
        free = frozenset(unconstrained)
        self._forced = {at for at, operation in enumerate(group) if operation.unchecked or operation in free}
        self._by_entry = sorted(range(len(group)), key=lambda at: group[at].entry_ns)
        self._earliest_exits = list(accumulate((group[at].exit_ns for at in reversed(self._by_entry)), min))[::-1]
        """For each place in the order of invocations, the first response of the operations from there on."""
        self._leaving = Leaving(group)
        self._ambiguous = _ambiguous_buffers(group, model.revision)
        self._grows = any(isinstance(operation, AddPool) for operation in group)
        self._scans = None if atomic else AreaScans(model, group, self._forced)
        self._reduction = Reduction(model, group, self._forced, self._by_entry)
        self._reduction_unsound = False
        self._wanted = wanted
        self._start()

    @property
    def order(self) -> list[Operation]:
        """The operations that are applied now, in their order."""
        return [self._group[at] for at in self._order]

    def next_linearization(self) -> bool:
        """Advance to the next linearization whose final state differs from those of the ones before.

        :returns: True, with the model in its final state; False, with the model restored, if there is none or
            the budget is spent.
        """
        everything = len(self._group)
        if len(self._order) == everything:
            self._undo_to(self._path[-1].depth)
        while self._path:
            node = self._path[-1]
            move = next(node.moves, None)
            if move is None:
                self._backtrack()
                continue
            if self.steps >= self._budget or self._remembered >= _MOST_REMEMBERED:
                self.exhausted = True
                self.undo_all()
                return False
            self.steps += 1 + (len(node.enabled) + len(self._ambiguous) >> _WIDE_SHIFT)
            if not self._make_move(move, node):
                continue
            node.led_on = True
            if len(self._order) == everything:
                return True
            if self._wanted is not None and not self._leaving.can_leave(self._wanted):
                self._undo_to(node.depth)
                continue
            child = self._node_after(node, move)
            if self._is_new(child):
                self._path.append(child)
            else:
                self._undo_to(node.depth)
        return False

    def undo_all(self) -> None:
        """Take back all operations that are applied."""
        self._undo_to(0)

    def _start(self) -> None:
        self._memo: set[Hashable] = set()
        self._remembered = 0
        """How many operations the states in it have."""
        self._path = [self._node_after()]

    def _restart_without_deferral(self) -> None:
        """Deferring releases was unsound here (an area's ``used`` hid free slots): search again without it."""
        self.undo_all()
        self._reduction_unsound = False
        self._reduction.defer_nothing()
        self._start()

    def _undo_to(self, depth: int) -> None:
        while len(self._undo) > depth:
            self._undo.pop()()
            at = self._order.pop()
            if self._wanted is not None:
                self._leaving.taken_back(at)

    def _backtrack(self) -> None:
        """All moves of the last node were tried: leave it."""
        if self._reduction_unsound:
            self._restart_without_deferral()
            return
        node = self._path.pop()
        if not node.led_on:
            self.dead_ends += 1
            self._note_prefix(node)
        if self._path:
            self._undo_to(self._path[-1].depth)

    def _note_prefix(self, node: _Node) -> None:
        """Keep the order that ends here if it is the longest so far."""
        if len(self._order) + len(node.enabled) <= len(self.longest_prefix):
            return
        # Deferred releases that are legal now did not stop this order.
        waiting = (self._reduction.deferred[at] for at in node.enabled if at in self._reduction.deferred)
        applied = [*self.order, *(release for release in waiting if release.mapping_at_address() is not None)]
        self.longest_prefix = max(self.longest_prefix, applied, key=len)

    # ---- nodes -----------------------------------------------------------

    def _node_after(self, before: _Node | None = None, move: tuple[int, ...] = ()) -> _Node:
        """The node that a move leads to, or the first one.

        An operation is enabled if it was invoked before the first response of any that has not been applied.
        """
        group, by_entry = self._group, self._by_entry
        invoked = before.invoked if before else 0
        enabled = [at for at in before.enabled if at not in move] if before else []
        exits = self._earliest_exits[invoked : invoked + 1]
        if enabled:
            exits.append(group[enabled[0]].exit_ns)
        first_exit_ns = min(exits)
        first = invoked
        while invoked < len(group) and group[by_entry[invoked]].entry_ns <= first_exit_ns:
            invoked += 1
        if invoked > first:
            enabled += by_entry[first:invoked]
            enabled.sort()  # by response, as the group is
        progress: dict[int, ScanProgress] = {}
        if self._scans is not None:
            done = group[move[-1]] if move else None
            taken_in = domain_of(done.pool, done.area) if isinstance(done, SlotSearch) and done.pool else None
            followed = self._scans.followed
            progress = self._scans.advance(enabled, before.progress if before else {}, taken_in)
            followed = self._scans.followed - followed
            self.steps += followed >> _FOLLOW_SHIFT
            self._remembered += _REMEMBERED_PATH * followed
        return _Node(invoked, enabled, progress, len(self._undo), self._reduction.moves(invoked, enabled))

    def _is_new(self, node: _Node) -> bool:
        """Whether the state of a node was not visited before; then it is memoised.

        Which slots are free follows from which operations were applied, except at ambiguous buffers.
        """
        state: Hashable = (
            node.invoked,
            tuple(node.enabled),
            tuple([pool.area_index[area] for pool, area in self._leaving.areas]),
            tuple([pool.find_mapping(tlb_addr, 0) for pool, tlb_addr in self._ambiguous]),
            self._model.pools if self._grows else None,
            tuple(node.progress.values()),  # of those of the enabled ones that are searches of several areas
        )
        if state in self._memo:
            return False
        self._memo.add(state)
        self._remembered += len(node.enabled) + len(node.progress) + len(self._ambiguous) + len(self._leaving.areas)
        return True

    # ---- moves -----------------------------------------------------------

    def _make_move(self, move: tuple[int, ...], node: _Node) -> bool:
        """Apply the operations of a move.

        :returns: False, with the model as it was at the node, if one of them is not legal.
        """
        group = self._group
        *clearing, last = move
        for at in clearing:
            undo = group[at].apply_if_legal(self._model)
            if undo is None:
                self._undo_to(node.depth)
                return False
            self._push(at, undo)
        undo = self._apply(last, node.progress)
        operation = group[last]
        if undo is None:
            if isinstance(operation, SlotSearch) and self._reduction.deferred and operation.hidden_by_area_used():
                self._reduction_unsound = True
            self._undo_to(node.depth)
            return False
        self._push(last, undo)
        if isinstance(operation, SlotSearch) and not operation.is_in_listed_pool(self._model):
            node.moves = iter(())  # it changed nothing for others, so that none of them has to be tried before it
        return True

    def _push(self, at: int, undo: Undo) -> None:
        self._undo.append(undo)
        self._order.append(at)
        if self._wanted is not None:
            self._leaving.applied(at)

    def _apply(self, at: int, progress: dict[int, ScanProgress]) -> Undo | None:
        operation, model = self._group[at], self._model
        if at in self._forced:
            return operation.apply_forced(model)
        if self._scans is None or not isinstance(operation, SlotSearch):
            return operation.apply_if_legal(model)
        if not self._scans.is_at_target(at, progress):
            return None
        if operation.is_in_listed_pool(model):
            return operation.apply_in_its_area(model)
        return operation.apply_beyond_pools(model)


def _ambiguous_buffers(group: list[Operation], revision: Revision) -> list[tuple[Pool, int]]:
    """Buffers at which mappings of different sizes begin: the last search there says how many slots are in use.

    :returns: pools and addresses.
    """
    sizes: dict[tuple[Pool, int], set[int]] = {}
    for search in group:
        if isinstance(search, SlotSearch) and search.pool and search.slot >= 0:
            begins = search.slot + revision.pad_slots(search.request)
            sizes.setdefault((search.pool, begins), set()).add(search.request.alloc_size_bytes)
    return [(pool, slot_addr(pool.start, slot)) for (pool, slot), bytes_ in sizes.items() if len(bytes_) > 1]
