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
def test_batches_are_as_many_as_can_be_and_as_large_as_they_can(count: int, most: int, least: int) -> None:
    sample = of(count)
    size = sample.batch_size(most, least)
    batches = list(sample.batches(most, size))
    assert len(batches) == min(most, count // least)
    assert all(len(batch) == size >= least for batch in batches)
    assert not batches or count - len(batches) * size < len(batches)


@given(st.integers(0, 500), st.integers(1, 40), st.integers(0, 50))
def test_batches_of_any_size_follow_one_another_from_beginning_to_end(count: int, most: int, size: int) -> None:
    batches = list(of(count).batches(most, size))
    assert len(batches) == (min(most, count // size) if size else 0)
    assert all(list(batch) == list(range(int(batch[0]), int(batch[0]) + size)) for batch in batches)
    together = [value for batch in batches for value in batch]
    assert together == sorted(set(together))
    if batches:
        assert together[0] == 0
        assert count - together[-1] <= count // len(batches) + 1


@given(st.lists(st.integers(), min_size=1), st.sampled_from([0.01, 0.5, 0.99, 1.0]))
def test_a_quantile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[int], share: float) -> None:
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values)
