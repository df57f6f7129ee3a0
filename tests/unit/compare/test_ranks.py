"""The Mann-Whitney test, against every way in which ranks can fall, and against what it promises."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.compare.ranks import LEAST, p_of_series, p_value

NUMBERS = st.lists(st.integers(0, 30), min_size=LEAST, max_size=40)


def exact(one: list[float], other: list[float]) -> float:
    """By all ways to choose which of the numbers are the first's."""
    everything = sorted([*one, *other])
    ranks = {value: (2 * everything.index(value) + everything.count(value) + 1) / 2 for value in everything}
    expected = len(one) * (len(everything) + 1) / 2
    apart = abs(sum(ranks[value] for value in one) - expected)
    sums = [sum(ranks[value] for value in chosen) for chosen in combinations(everything, len(one))]
    return sum(abs(total - expected) >= apart - 1e-9 for total in sums) / len(sums)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], [9, 10, 11, 12, 13, 14, 15, 16]),
        ([1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]),
        ([1, 2, 3, 4, 5, 6, 7, 14], [8, 9, 10, 11, 12, 13, 15, 16]),
        ([1, 1, 1, 1, 2, 2, 2, 3], [1, 2, 2, 3, 3, 3, 4, 4]),
        ([0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 1, 1, 1, 1, 1]),
    ],
)
def test_it_is_the_share_of_all_ways_that_lie_so_far_apart(one: list[float], other: list[float]) -> None:
    assert p_value(one, other) == pytest.approx(exact(one, other))


@given(NUMBERS)
def test_numbers_do_not_differ_from_themselves(numbers: list[int]) -> None:
    assert p_value(numbers, numbers) > 0.9


@given(NUMBERS, NUMBERS)
def test_it_is_a_probability_and_the_same_for_both_sides(one: list[int], other: list[int]) -> None:
    p = p_value(one, other)
    assert 0 <= p <= 1
    assert p == pytest.approx(p_value(other, one))


@given(NUMBERS, NUMBERS)
def test_only_the_ranks_count(one: list[int], other: list[int]) -> None:
    assert p_value([3.0 * n + 7 for n in one], [3.0 * n + 7 for n in other]) == pytest.approx(p_value(one, other))


def test_numbers_that_are_all_equal_do_not_differ() -> None:
    assert p_value([5.0] * 8, [5.0] * 9) == 1


def test_one_set_that_lies_above_the_other_differs() -> None:
    assert p_value(range(8), range(8, 16)) < 0.001


def test_of_equal_distributions_as_many_differ_as_the_level_says() -> None:
    chance = Random(1)  # noqa: S311 (it has to be the same again)
    drawn = [[[chance.gauss(0, 1) for _ in range(LEAST)] for _ in "ab"] for _ in range(4000)]
    assert 0.004 < sum(p_value(*pair) < 0.01 for pair in drawn) / len(drawn) < 0.015


# ---- series --------------------------------------------------------------------------


def series(chance: Random, alike: float, length: int = 32) -> list[float]:
    """Numbers of a normal distribution, with so much correlation from each to the next."""
    numbers = [chance.gauss(0, 1)]
    while len(numbers) < length:
        numbers.append(alike * numbers[-1] + (1 - alike**2) ** 0.5 * chance.gauss(0, 1))
    return numbers


def alarms(alike: float, pairs: int = 300) -> tuple[float, float]:
    """How many of such pairs differ at the level of a hundredth: by the plain test, and by that for series."""
    chance = Random(2)  # noqa: S311
    drawn = [(series(chance, alike), series(chance, alike)) for _ in range(pairs)]
    found = [(p_value(*pair) < 0.01, p_of_series(*pair) < 0.01) for pair in drawn]
    return sum(plain for plain, _ in found) / pairs, sum(of_series for _, of_series in found) / pairs


@pytest.mark.parametrize("alike", [0.0, 0.3, 0.6, 0.8])
def test_the_more_neighbours_are_alike_the_less_a_difference_counts(alike: float) -> None:
    plain, of_series = alarms(alike)
    assert of_series <= 0.06
    if alike >= 0.6:
        assert plain > 4 * of_series > 0


def test_of_series_whose_neighbours_are_not_alike_it_is_the_plain_test() -> None:
    one, other = [5.0, 1.0] * 6, [4.0, 3.0] * 6
    assert p_of_series(one, other) == pytest.approx(p_value(one, other))


def test_series_that_lie_wholly_apart_differ_all_the_same() -> None:
    chance = Random(3)  # noqa: S311
    slow, fast = series(chance, 0.6), [number + 20 for number in series(chance, 0.6)]
    assert p_of_series(slow, fast) < 0.01


@given(NUMBERS, NUMBERS)
def test_a_series_never_differs_by_more_than_its_numbers_do(one: list[int], other: list[int]) -> None:
    assert p_value(one, other) - 1e-9 <= p_of_series(one, other) <= 1 + 1e-9
