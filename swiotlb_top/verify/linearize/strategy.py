"""Finding an order of overlapping operations that the reference accepts.

Probe times are not the points at which operations took effect, so orders have to be tried
(:mod:`swiotlb_top.verify.linearize.checker`).  A search for slots is not one step: it asks one area after another,
each under its own lock.  First each search is tried as one step.  Where no order does, every area it asked
in vain may have been full at another moment than that at which it found its slots, and only the order of
those moments is fixed.

More orders than one may do, and they may begin from more than one place: what they leave in doubt
is :mod:`swiotlb_top.verify.linearize.possible_indices`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from swiotlb_top.allocator import Allocator
from swiotlb_top.verify.linearize.area_scan import step_by_step
from swiotlb_top.verify.linearize.checker import Checker
from swiotlb_top.verify.linearize.final_indices import FinalIndices
from swiotlb_top.verify.linearize.possible_indices import IndexAlternatives, initial_indices, set_indices
from swiotlb_top.verify.operations.base import Operation, Undo

DEFAULT_BUDGET: Final = 20_000
_FOR_ENDINGS: Final = 10
"""A part of the budget is for what other orders leave,"""
_BUDGET_OF_AN_ENDING: Final = 50
"""and so much more an operation."""
_AVERAGE_GROUP: Final = 400
"""Operations; a group with more has a budget in proportion."""


@dataclass(slots=True)
class Linearization:
    """What became of a group of operations. ``order`` is empty where none was found; ``exhausted``
    then says whether the search gave up before it had proved that there is none."""

    order: list[Operation] = field(default_factory=list)
    exhausted: bool = False
    steps: int = 0
    dead_ends: int = 0
    """Orders that could not be gone on with."""
    sure: bool = True
    """Whether the order begins from where areas are sure to have been searched next."""
    furthest: list[Operation] = field(default_factory=list)
    """The longest of these."""
    uncertain: IndexAlternatives = field(default_factory=dict)
    """Where other orders leave something else; empty for an area that is certain now."""


def linearize(
    model: Allocator,
    group: list[Operation],
    budget: int = DEFAULT_BUDGET,
    excused: Collection[Operation] = (),
    uncertain: IndexAlternatives | None = None,
) -> Linearization:
    """Find an order the reference accepts and carry it out on ``model``.

    Where none is found, or operations are excused, ``model`` is left as it was.

    :param group: operations that overlap, sorted by exit.
    :param budget: moves to try at most until one is found, and a part of that for what other orders leave; a
        long group has more.
    :param excused: operations that need not be as the reference's: what they did is imposed.
    :param uncertain: from where areas may be searched next besides where ``model`` has it.
    """
    budget = max(budget, budget // _AVERAGE_GROUP * len(group))
    possible, all_of_them = initial_indices(uncertain or {}, group, model)
    in_one_step = len(group) == 1 or not step_by_step(group, model)
    outcome = Linearization()
    begun, take_back = possible[0], None if excused else _as_they_ended(model, group)
    if take_back is not None:
        outcome.order = list(group)
    for start, whole in product(possible, (True,) if in_one_step else (True, False)):
        if outcome.order:
            break
        set_indices(start)
        search = Checker(model, group, budget - outcome.steps, whole=whole, excused=excused)
        if search.run():
            outcome.order = search.order
            begun, take_back = start, search.rewind
        outcome.steps += search.steps
        outcome.dead_ends += search.dead_ends
        outcome.exhausted |= search.gave_up
        outcome.furthest = max(outcome.furthest, search.furthest, key=len)
    if take_back is None:
        set_indices(possible[0])
        outcome.exhausted |= not all_of_them
        return outcome
    outcome.exhausted = False
    outcome.sure = begun.sure
    if excused:
        take_back()
        set_indices(possible[0])
        return outcome
    endings = FinalIndices(group, possible, uncertain or {})
    endings.see(sure=True)
    if endings.open:
        take_back()
        budget = budget // _FOR_ENDINGS + _BUDGET_OF_AN_ENDING * len(group)
        outcome.steps += endings.look_for(model, budget, whole=in_one_step, sure=not outcome.sure)
        set_indices(begun)
        for operation in outcome.order:
            operation.apply_forced(model)
    outcome.uncertain = endings.others()
    return outcome


def _as_they_ended(model: Allocator, group: list[Operation]) -> Callable[[], None] | None:
    """Do all in the order in which they ended, as it nearly always was, and say how to take it back; None,
    and nothing changed, where that is not the reference's."""
    undo: list[Undo] = []

    def take_back() -> None:
        while undo:
            undo.pop()()

    for operation in group:
        done = operation.apply_if_legal(model)
        if done is None:
            take_back()
            return None
        undo.append(done)
    return take_back
