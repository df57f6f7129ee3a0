"""Which series there are is the operator's choice: how many devices, which, and what can be left out of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Final

MOST_DEVICES: Final = 100


class Part(Enum):
    """What can be left out."""

    HISTOGRAMS = "histograms"
    ZERO_CAUSES = "zero-causes"
    """Causes for which no map of a device has failed yet. Without their zeros the first failure is no increase."""
    BYTES = "bytes"
    """What another metric says in slots."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the operator wants."""

    most_devices: int = MOST_DEVICES
    """How many devices have series of their own. The others are summed up."""
    devices: tuple[str, ...] = ()
    """Shell patterns: only devices whose name or driver matches one of them have series of their own; none: any may."""
    without: frozenset[Part] = frozenset()

    def may_be_shown(self, who: Iterable[str]) -> bool:
        """Whether a device may have series of its own; ``who`` are its name and its driver."""
        return not self.devices or any(fnmatchcase(word, pattern) for word in who for pattern in self.devices)
