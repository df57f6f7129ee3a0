"""Finding a linearization: what is tried, in which order, and how much of it.

The times of a call are not the point at which it took effect, so orders have to be tried. The cheapest comes first: the
order of the responses, which is nearly always right. Then :mod:`~swiotlb_top.verify.linearize.checker` searches, from
each combination of initial indices, first with each search for slots as one atomic step, then with searches that scan
one area after another.

More than one linearization may exist. They leave the same slots free, but may leave different values of
``area->index``:
:mod:`~swiotlb_top.verify.linearize.final_indices` collects these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from swiotlb_top.allocator import Allocator
from swiotlb_top.verify.linearize.area_scan import needs_stepwise
from swiotlb_top.verify.linearize.checker import Checker
from swiotlb_top.verify.linearize.final_indices import FinalIndices
from swiotlb_top.verify.linearize.possible_indices import (
    IndexAlternatives,
    InitialIndices,
    initial_indices,
    set_indices,
)
from swiotlb_top.verify.operations.base import Operation, Undo, no_undo

DEFAULT_BUDGET: Final = 80_000
"""Steps that are tried at most to find a linearization of a group of usual size."""
_FINAL_INDICES_SHARE: Final = 40
"""One part in so many of the budget goes to finding other final indices."""
_FINAL_INDICES_STEPS: Final = 10
"""So many steps for each operation are added to that."""


@dataclass(slots=True)
class Linearization:
    """What became of a group of operations."""

    order: list[Operation] = field(default_factory=list)
    """All of the group in an order that the model accepts; empty if none was found."""
    exhausted: bool = False
    """Whether the search gave up before it had proved that there is no order."""
    steps: int = 0
    """How many steps were tried."""
    dead_ends: int = 0
    """How many orders could not be continued."""
    proved: bool = True
    """Whether the order begins from indices that are known to be possible."""
    longest_prefix: list[Operation] = field(default_factory=list)
    """The longest of the orders that could not be continued."""
    alternatives: IndexAlternatives = field(default_factory=dict)
    """What other orders leave; empty for an area whose ``index`` is certain now."""
    take_back: Undo = no_undo
    """Takes the order back that was applied."""


def linearize(
    model: Allocator,
    group: list[Operation],
    budget: int = DEFAULT_BUDGET,
    unconstrained: Collection[Operation] = (),
    alternatives: IndexAlternatives | None = None,
) -> Linearization:
    """Find an order that the model accepts, and apply it.

    :param model: is restored if there is no order, or if operations are unconstrained.
    :param group: operations that overlap, at least one, sorted by response.
    :param budget: how many steps to try at most until an order is found. A part of it is spent again on other final
        indices.
    :param unconstrained: operations that need not be legal: what the kernel did is applied.
    :param alternatives: values that ``area->index`` may have besides those that it has in ``model``.
    :raises TooManyAreasError: the model's patience is over.
    """
    starts, all_starts = initial_indices(alternatives or {}, group, model)
    atomic_only = len(group) == 1 or not needs_stepwise(group, model)
    outcome = Linearization()
    found = None if unconstrained else _in_order_of_exit(model, group)
    if found is not None:
        outcome.order = list(group)
        start, undo_it = starts[0], found
    elif len(group) == 1 and len(starts) == 1 and not unconstrained:
        # That was the only order there is.
        return Linearization(exhausted=not all_starts, steps=1, dead_ends=1)
    else:
        modes = (True,) if atomic_only else (True, False)
        searched = _search(model, group, budget, product(starts, modes), unconstrained, outcome)
        if searched is None:
            set_indices(starts[0])
            outcome.exhausted |= not all_starts
            return outcome
        start, undo_it = searched
    outcome.exhausted, outcome.proved = False, start.proved
    if unconstrained:
        undo_it()
        set_indices(starts[0])
        return outcome
    final = FinalIndices(group, starts, alternatives or {})
    final.note(proved=True)
    if final.may_be_more:
        undo_it()
        budget = budget // _FINAL_INDICES_SHARE + _FINAL_INDICES_STEPS * len(group)
        outcome.steps += final.explore(model, budget, atomic=atomic_only, proved=not outcome.proved)
        undo_it = _apply_again(outcome.order, start, model)
    outcome.alternatives, outcome.take_back = final.alternatives(), undo_it
    return outcome


def _search(
    model: Allocator,
    group: list[Operation],
    budget: int,
    attempts: Iterable[tuple[InitialIndices, bool]],
    unconstrained: Collection[Operation],
    outcome: Linearization,
) -> tuple[InitialIndices, Undo] | None:
    """Search for an order and apply it.

    :param attempts: the initial indices to begin from, and whether searches for slots are atomic.
    :param outcome: gets the order and what it took to find it.
    :returns: the initial indices of the order, and how to take it back; None if no order was found.
    """
    alone = group[0] if len(group) == 1 and not unconstrained and not group[0].unchecked else None
    for start, atomic in attempts:
        if outcome.steps >= budget:
            outcome.exhausted = True
            break
        set_indices(start)
        if alone is not None:
            outcome.steps += 1
            undo = alone.apply_if_legal(model)
            if undo is not None:
                outcome.order = [alone]
                return start, undo
            outcome.dead_ends += 1
            continue
        checker = Checker(model, group, budget - outcome.steps, atomic=atomic, unconstrained=unconstrained)
        found = checker.next_linearization()
        outcome.steps += checker.steps
        outcome.dead_ends += checker.dead_ends
        outcome.exhausted |= checker.exhausted
        outcome.longest_prefix = max(outcome.longest_prefix, checker.longest_prefix, key=len)
        if found:
            outcome.order = checker.order
            return start, checker.undo_all
    return None


def _apply_again(order: Iterable[Operation], start: InitialIndices, model: Allocator) -> Undo:
    """Apply an order that was found, and taken back. :returns: how to take it back once more."""
    set_indices(start)
    return _taking_back([applied for operation in order if (applied := operation.apply_forced(model)) is not None])


def _taking_back(undo: list[Undo]) -> Undo:
    def undo_it() -> None:
        while undo:
            undo.pop()()

    return undo_it


def _in_order_of_exit(model: Allocator, group: list[Operation]) -> Undo | None:
    """Apply all operations in the order of their responses.

    :returns: how to take them back; None, with the model unchanged, if that order is not legal.
    """
    undo: list[Undo] = []
    undo_it = _taking_back(undo)
    for operation in group:
        applied = operation.apply_if_legal(model)
        if applied is None:
            undo_it()
            return None
        undo.append(applied)
    return undo_it
