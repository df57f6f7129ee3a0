"""How much is looked for: in proportion to the stream, however its groups are cut."""

from __future__ import annotations

from swiotlb_top.verify.linearize.effort import WASTED_STEPS_LIMIT, WASTED_STEPS_MAX, Effort
from swiotlb_top.verify.linearize.strategy import DEFAULT_BUDGET


def test_a_large_group_has_a_budget_in_proportion() -> None:
    effort = Effort()
    assert effort.budget_for(2) == effort.budget_for(400) == DEFAULT_BUDGET
    assert effort.budget_for(4000) == 10 * DEFAULT_BUDGET


def test_the_more_was_wasted_the_smaller_it_is_and_at_last_one_step_an_operation() -> None:
    effort = Effort()
    effort.waste(WASTED_STEPS_LIMIT)
    assert effort.is_scarce
    assert 4000 < effort.budget_for(4000) < DEFAULT_BUDGET
    effort.waste(WASTED_STEPS_MAX - WASTED_STEPS_LIMIT)
    assert effort.budget_for(4000) == 4000


def test_a_group_pays_once_however_often_what_is_left_of_it_is_looked_at() -> None:
    effort = Effort()
    effort.waste(WASTED_STEPS_LIMIT)
    effort.settle(100, 0)
    assert effort.is_scarce
    effort.settle(100, 100)
    assert not effort.is_scarce
