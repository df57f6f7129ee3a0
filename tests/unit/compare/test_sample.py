"""Samples of bounded size: everything where that is little, else one value of each stretch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.compare.sample import MOST, Sample, quantile


def of(count: int) -> Sample:
    sample = Sample()
    for value in range(count):
        sample.add(value)
    return sample


@given(st.lists(st.integers()))
def test_few_values_are_all_kept_in_their_order(values: list[int]) -> None:
    sample = Sample()
    for value in values:
        sample.add(value)
    assert (list(sample.values), sample.count) == (values, len(values))


@pytest.mark.parametrize("count", [MOST - 1, MOST, MOST + 1, 3 * MOST, 20 * MOST + 77])
def test_of_many_there_is_one_of_each_stretch_and_never_more_than_so_many(count: int) -> None:
    sample = of(count)
    kept = list(sample.values)
    assert MOST // 2 <= len(kept) < MOST
    assert sample.count == count
    stretch = 1 << (count // len(kept)).bit_length() - 1
    assert [int(value) // stretch for value in kept] == list(range(len(kept)))


def test_the_same_values_give_the_same_sample() -> None:
    assert list(of(5 * MOST).values) == list(of(5 * MOST).values)


def test_kinds_that_alternate_are_both_there() -> None:
    kinds = [int(value) % 2 for value in of(8 * MOST).values]
    assert 0.45 < sum(kinds) / len(kinds) < 0.55


@given(st.integers(0, 500), st.integers(1, 40), st.integers(1, 50))
def test_batches_are_of_equal_size_have_enough_and_follow_one_another(count: int, most: int, least: int) -> None:
    batches = list(of(count).batches(most, least))
    assert len(batches) == min(most, count // least)
    assert len({len(batch) for batch in batches}) <= 1
    assert all(len(batch) >= least for batch in batches)
    together = [value for batch in batches for value in batch]
    assert together == list(range(len(together)))
    assert not batches or count - len(together) < len(batches)


@given(st.lists(st.integers(), min_size=1), st.sampled_from([0.01, 0.5, 0.99, 1.0]))
def test_a_quantile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[int], share: float) -> None:
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values)
