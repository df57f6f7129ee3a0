"""Which operations of a group are at fault if the group has no linearization.

The culprits are the smallest set of operations whose removal makes the rest linearizable, so that one fault is one
report. They are found greedily: each suspect is applied as the kernel did it, without a check, and the search is
repeated. The suspect that makes the longest prefix longest is a culprit, and if no order is complete yet, another one
is sought.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from swiotlb_top.allocator import Allocator
from swiotlb_top.verify.linearize.possible_indices import IndexAlternatives
from swiotlb_top.verify.linearize.strategy import linearize
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.release import Release

_MAX_CULPRITS: Final = 8
"""How many operations of a group are blamed at most."""
_MAX_SUSPECTS: Final = 8
"""How many operations are tried at most to find one culprit: those that responded first."""
_SUSPECT_BUDGET: Final = 500
"""How many steps one suspect may cost,"""
_STEPS_PER_OPERATION: Final = 4
"""and how many more for each operation of the group."""
_MAX_STEPS: Final = 24_000
"""After so many steps for one group, or after as many as one suspect may cost, no further one is tried."""


class Diagnosis(NamedTuple):
    """Which operations are at fault."""

    order: list[Operation]
    """All operations of the group, in the order in which to apply them."""
    culprits: Collection[Operation] = ()
    explained: Collection[Operation] = ()
    """Those that are legal in this order, if the culprits are applied as the kernel did them."""
    steps: int = 0
    """How many steps that took."""


def find_culprits(
    model: Allocator, group: list[Operation], longest_prefix: list[Operation], alternatives: IndexAlternatives
) -> Diagnosis:
    """An order in which all operations but the culprits are legal, or the one with the longest legal prefix.

    In the latter case an order is preferred in which no slot is taken that is in use: a safety violation is reported
    only if there is no order without one.

    :param model: is restored.
    :param group: operations that overlap and have no linearization, sorted by response.
    :param longest_prefix: the longest order that could be applied. The operations that stopped it are not in it.
    :param alternatives: values that ``area->index`` may have besides those that it has in ``model``.
    :raises TooManyAreasError: the model's patience is over.
    """
    budget = _SUSPECT_BUDGET + _STEPS_PER_OPERATION * len(group)
    most = max(_MAX_STEPS, budget)
    culprits: list[Operation] = []
    steps = 0
    while len(culprits) < _MAX_CULPRITS and steps < most:
        longest, chosen = longest_prefix, None
        for suspect in _without(group, longest_prefix)[:_MAX_SUSPECTS]:
            outcome = linearize(model, group, min(budget, most - steps), (*culprits, suspect), alternatives)
            steps += outcome.steps
            if outcome.order:
                culprits.append(suspect)
                return Diagnosis(outcome.order, culprits, _without(group, culprits), steps)
            if len(outcome.longest_prefix) > len(longest):
                longest, chosen = outcome.longest_prefix, suspect
            if steps >= most:
                break
        if chosen is None:
            break
        longest_prefix = longest
        culprits.append(chosen)
    explained = _without(longest_prefix, culprits)
    rest = _without(group, longest_prefix)
    kept = Diagnosis([*longest_prefix, *rest], culprits, explained)
    # An operation that is legal in one order need not be in another: of an order without any check nothing is known.
    for unconstrained, diagnosis in (([*culprits, *rest], kept), (group, Diagnosis([]))):
        outcome = linearize(
            model, group, budget, [one for one in unconstrained if not isinstance(one, Release)], alternatives
        )
        steps += outcome.steps
        if outcome.order:
            return diagnosis._replace(order=outcome.order, steps=steps)
    return kept._replace(steps=steps)


def _without(group: list[Operation], others: list[Operation]) -> list[Operation]:
    known = set(others)
    return [operation for operation in group if operation not in known]
