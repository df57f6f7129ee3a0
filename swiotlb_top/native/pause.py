"""When to try the core again: what it can do of a stream now, it can do soon again, and the other way round."""

from __future__ import annotations

from typing import Final

_LONGEST: Final = 1 << 16
_FIRST: Final = 4


class Pause:
    """How many items Python takes before the core is tried again: twice as many each time that it was in vain."""

    def __init__(self) -> None:
        self.left = 0
        """So many it still takes."""
        self._length = 0

    def tried(self, done: int, cost: int) -> None:
        """The core dealt with so many items; to try it took as long as Python takes for ``cost``."""
        self._length = 0 if done >= cost else min(2 * self._length or _FIRST * cost, _LONGEST)
        self.left = self._length

    def pass_by(self, items: int) -> None:
        """Python takes so many items."""
        self.left = max(0, self.left - items)
