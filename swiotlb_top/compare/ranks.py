"""Whether two series of numbers differ by more than chance: the Mann-Whitney test, exact also where numbers are equal.

The test takes each number for one of its own. Where one is like that before it, it says less that is new, and chance
makes larger differences: :func:`p_of_series` allows for that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import comb, sqrt
from statistics import NormalDist
from typing import Final

LEAST: Final = 8
"""With fewer numbers on one side there are so few ways to deal out ranks that hardly any difference shows."""


_MOST_ALIKE: Final = 0.95
"""Short series do not tell more than that."""


def p_of_series(one: Sequence[float], other: Sequence[float]) -> float:
    """:func:`p_value`, for numbers of which each may be like the one before it.

    A series whose ranks have the correlation r from one to the next tells as much as (1 - r) / (1 + r) times as many
    numbers that come independently. By the root of that a difference counts less.

    :returns: above 0, up to 1; that of :func:`p_value` where neighbours are not alike.
    """
    normal, alike = NormalDist(), max(map(_correlation, (one, other)))
    return 2 * normal.cdf(normal.inv_cdf(min(p_value(one, other), 1) / 2) * sqrt((1 - alike) / (1 + alike)))


def _correlation(series: Sequence[float]) -> float:
    """Of the ranks, from each to the next; 0 where there is none, or neighbours are less alike than others."""
    twice = _twice_the_ranks(series)
    ranks = [twice[number] - len(series) - 1 for number in series]
    spread = sum(rank * rank for rank in ranks)
    together = sum(rank * following for rank, following in pairwise(ranks))
    return min(max(together / spread, 0.0), _MOST_ALIKE) if spread else 0.0


def p_value(one: Sequence[float], other: Sequence[float]) -> float:
    """How likely ranks that lie so far apart are, or further, if both come from the same distribution.

    The ranks of all numbers are dealt out to the two sides in every possible way, and each way is as likely as another.
    The answer is the share of the ways in which the sum of one side's ranks is as far from what is expected as it is
    here. Equal numbers share the mean of their ranks. It takes some milliseconds for 32 numbers on each side.

    :returns: above 0, up to 1.
    """
    ranks = _twice_the_ranks([*one, *other])
    expected = len(one) * (len(one) + len(other) + 1)
    apart = abs(sum(ranks[value] for value in one) - expected)
    ways = _ways_by_sum([ranks[value] for value in (*one, *other)], len(one))
    as_far = sum(count for total, count in enumerate(ways) if abs(total - expected) >= apart)
    return as_far / comb(len(one) + len(other), len(one))


def _twice_the_ranks(numbers: Sequence[float]) -> dict[float, int]:
    """By number, twice its rank, which is a whole number also where equal numbers share a mean."""
    counts = sorted(Counter(numbers).items())
    lasts = accumulate(count for _, count in counts)
    return {number: 2 * last - count + 1 for (number, count), last in zip(counts, lasts, strict=True)}


def _ways_by_sum(ranks: Sequence[int], chosen: int) -> list[int]:
    """In how many ways so many of the ranks have each sum.

    The counts for all sums are the digits of one large number, so that a rank is added to all of them by one shift.
    """
    digit_bytes = comb(len(ranks), chosen).bit_length() // 8 + 1
    of_size = [1] + [0] * chosen
    for rank in ranks:
        for size in range(chosen, 0, -1):
            of_size[size] += of_size[size - 1] << (8 * digit_bytes * rank)
    digits = of_size[chosen].to_bytes(digit_bytes * (sum(ranks) + 1), "little")
    return [int.from_bytes(digits[at : at + digit_bytes], "little") for at in range(0, len(digits), digit_bytes)]
