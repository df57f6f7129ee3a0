"""Whether two sets of numbers differ by more than chance: the Mann-Whitney test, exact also where numbers are equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from math import comb
from typing import Final

LEAST: Final = 8
"""With fewer numbers on one side there are so few ways to deal out ranks that hardly any difference shows."""


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
