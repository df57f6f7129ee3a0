"""Where no order explains overlapping operations: which of them are to blame.

Those without which there is an order: as few as do, so that one fault is one report. Each is found by taking
it as the kernel did it and searching again; the one that lets the search come furthest is to blame, and if it
still does not come to the end, another is as well.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from swiotlb_top.allocator import Allocator
from swiotlb_top.verify.linearize.possible_indices import IndexAlternatives
from swiotlb_top.verify.linearize.strategy import linearize
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.release import Release

_MOST_CULPRITS: Final = 8
_MOST_SUSPECTS: Final = 8
_BUDGET_OF_A_SUSPECT: Final = 500
"""Moves, and"""
_MOVES_OF_AN_OPERATION: Final = 4
"""so many an operation."""
_MOST_MOVES: Final = 24_000
"""Of all that is tried for one group, after which no other suspect is."""


class Diagnosis(NamedTuple):
    """Who is to blame."""

    order: list[Operation]
    """All of the group."""
    culprits: Collection[Operation] = ()
    explained: Collection[Operation] = ()
    """Those that are as the reference's in this order, if the culprits are taken as they are."""
    moves: int = 0
    """What that took."""


def find_culprits(
    model: Allocator, group: list[Operation], furthest: list[Operation], uncertain: IndexAlternatives
) -> Diagnosis:
    """An order in which all but the culprits are as the reference's, or one that goes as far as any.

    Of the latter, one in which no slot is taken that is in use, if there is one: harm is told of only where no order
    is without it.

    :param furthest: the longest order that could be followed: what stopped it is not in it.
    :param uncertain: from where areas may be searched next besides where ``model`` has it.
    """
    budget = _BUDGET_OF_A_SUSPECT + _MOVES_OF_AN_OPERATION * len(group)
    culprits: list[Operation] = []
    moves = 0
    while len(culprits) < _MOST_CULPRITS and moves < _MOST_MOVES:
        came, worst = furthest, None
        for suspect in _not_among(furthest, group)[:_MOST_SUSPECTS]:
            outcome = linearize(model, group, min(budget, _MOST_MOVES - moves), (*culprits, suspect), uncertain)
            moves += outcome.steps
            if outcome.order:
                culprits.append(suspect)
                return Diagnosis(outcome.order, culprits, _not_among(culprits, group), moves)
            if len(outcome.longest_prefix) > len(came):
                came, worst = outcome.longest_prefix, suspect
            if moves >= _MOST_MOVES:
                break
        if worst is None:
            break
        furthest = came
        culprits.append(worst)
    explained = _not_among(culprits, furthest)
    rest = _not_among(furthest, group)
    kept = Diagnosis([*furthest, *rest], culprits, explained)
    # What is explained in one order need not be in another: where all are taken as they are, nothing is known.
    for excused, blame in (([*culprits, *rest], kept), (group, Diagnosis([]))):
        outcome = linearize(model, group, budget, [one for one in excused if not isinstance(one, Release)], uncertain)
        moves += outcome.steps
        if outcome.order:
            return blame._replace(order=outcome.order, moves=moves)
    return kept._replace(moves=moves)


def _not_among(others: list[Operation], group: list[Operation]) -> list[Operation]:
    known = set(others)
    return [operation for operation in group if operation not in known]
