"""How many steps the search for linearizations may take, so that a stream is judged in time linear in its length.

Nearly all groups need few steps for each operation. Steps beyond that are wasted, and are a debt: once it is large,
groups get a smaller budget, until enough of the stream went by cheaply to pay it off.
"""

from __future__ import annotations

from typing import Final

from swiotlb_top.verify.linearize.strategy import DEFAULT_BUDGET

_USUAL_GROUP: Final = 400
"""Operations in a group of usual size. The budget of a larger group is larger in proportion."""
WASTED_STEPS_LIMIT: Final = 100_000
"""With so many wasted steps, groups get :data:`REDUCED_BUDGET` until the debt is paid off,"""
WASTED_STEPS_MAX: Final = 2 * WASTED_STEPS_LIMIT
"""and with so many, hardly any order is tried but that of the responses."""
REDUCED_BUDGET: Final = 800
"""Steps for one group of usual size, in place of :data:`~swiotlb_top.verify.linearize.strategy.DEFAULT_BUDGET`."""
STEPS_PER_OPERATION: Final = 4
"""So many steps for each operation are never wasted."""


class Effort:
    """The steps of one stream."""

    def __init__(self) -> None:
        self.steps = 0
        """How many steps were tried in all."""
        self._wasted_steps = 0

    @property
    def is_scarce(self) -> bool:
        """Whether so many steps were wasted that a disagreement is not worth a diagnosis."""
        return self._wasted_steps >= WASTED_STEPS_LIMIT

    def budget_for(self, operations: int) -> int:
        """How many steps to try for a group.

        :param operations: how many there are in the group.
        """
        if self._wasted_steps >= WASTED_STEPS_MAX:
            return operations
        budget = REDUCED_BUDGET if self.is_scarce else DEFAULT_BUDGET
        return max(budget, budget // _USUAL_GROUP * operations)

    def settle(self, steps: int, operations: int) -> None:
        """Add to the debt what a group cost beyond what is usual, or pay off what it cost less.

        :param steps: how many it took.
        :param operations: how many there are in the group; 0 if it was paid for before, and what is left of it is
            looked at again.
        """
        self._wasted_steps = max(self._wasted_steps + steps - STEPS_PER_OPERATION * operations, 0)

    def waste(self, steps: int) -> None:
        """Count steps of a diagnosis: all of them are wasted."""
        self.steps += steps
        self._wasted_steps += steps
