"""Sets of CPU numbers, written as the kernel writes them: "0-3,8". They are never more than bounds allow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Final, Self

LIMIT: Final = 8192
"""CPU numbers stay below: it is the most that any kernel can be built for (CONFIG_NR_CPUS)."""
_RANGE: Final = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")
_LONGEST_TEXT: Final = 5 * LIMIT


@dataclass(frozen=True, slots=True)
class Cpus:
    """CPUs by their numbers, which need not follow on each other."""

    ranges: tuple[range, ...]
    """Ascending, none empty, none next to another."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """From a list as in /sys/devices/system/cpu/possible.

        :raises ValueError: it is none, names a CPU twice or out of order, or one from :data:`LIMIT` on.
        """
        matches = [_RANGE.fullmatch(part) for part in text.split(",")] if len(text) <= _LONGEST_TEXT else [None]
        ranges = [range(int(m[1]), int(m[2] or m[1]) + 1) for m in matches if m]
        ascending = all(ranges) and all(one.stop <= other.start for one, other in pairwise(ranges))
        if len(ranges) < len(matches) or not ascending or ranges[-1].stop > LIMIT:
            raise ValueError(f"{text[:40]!r} is no ascending list of CPU numbers below {LIMIT}")
        return cls(tuple(ranges))

    @classmethod
    def first(cls, count: int) -> Self:
        """The numbers from 0 on. :raises ValueError: none, or more than any kernel has."""
        return cls.parse(f"0-{count - 1}")

    def __str__(self) -> str:
        return ",".join(f"{each[0]}-{each[-1]}" if len(each) > 1 else f"{each[0]}" for each in self.ranges)

    def __len__(self) -> int:
        return sum(map(len, self.ranges))

    @property
    def end(self) -> int:
        """All numbers are below it."""
        return self.ranges[-1].stop

    def numbers(self) -> tuple[int, ...]:
        """Each of them."""
        return tuple(chain.from_iterable(self.ranges))
