"""A sample of many values in their order, of bounded size, and the same whenever it is taken of the same values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from random import Random
from typing import Final

MOST: Final = 8192
"""How many values are kept at most."""


class Sample:
    """One value at random of each stretch of so many values; stretches grow with the number of values.

    Which one of a stretch is kept is left to chance, as every second value may be of one kind where kinds alternate.
    """

    def __init__(self) -> None:
        self.count = 0
        """How many values were added."""
        self._kept: list[float] = []
        self._stretch = 1
        self._chance = Random(0)  # noqa: S311 (it has to be the same again)
        self._picked = 0.0
        """Of the values of the stretch under way."""
        self._seen = 0
        """So many values of it were added."""

    def add(self, value: float) -> None:
        """The next value."""
        self.count += 1
        self._seen += 1
        if self._seen == 1 or self._chance.random() * self._seen < 1:
            self._picked = value
        if self._seen < self._stretch:
            return
        self._kept.append(self._picked)
        self._seen = 0
        if len(self._kept) == MOST:
            self._kept = [self._kept[at + self._chance.getrandbits(1)] for at in range(0, MOST, 2)]
            self._stretch *= 2

    @property
    def values(self) -> Sequence[float]:
        """The values that are kept, in the order in which they were added. Those of the last stretch may be missing."""
        return self._kept

    def batch_size(self, most: int, least: int) -> int:
        """How many values a batch may have; 0 if there are too few for one.

        :param most: how many batches there are at most.
        :param least: how many values a batch has at least.
        """
        number = min(most, len(self._kept) // least)
        return len(self._kept) // number if number else 0

    def batches(self, most: int, size: int) -> Iterator[Sequence[float]]:
        """Batches of the values that are kept, from the beginning to the end of them. Values between may be left out.

        :param most: how many batches there are at most.
        :param size: how many values each has; 0: there are none.
        """
        number = min(most, len(self._kept) // size) if size else 0
        for at in range(number):
            begin = at * len(self._kept) // number
            yield self._kept[begin : begin + size]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values do not exceed.

    :param values: one or more.
    :param share: above 0, up to 1.
    """
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]
