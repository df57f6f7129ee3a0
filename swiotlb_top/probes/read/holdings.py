"""Who holds what, as the probes keep it in the kernel: a cell a mapping, and a sum a device (bpf/swiotlb_top.c)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from swiotlb_top.constants import IO_TLB_SHIFT
from swiotlb_top.probes.compile.flags import HOLDER_BYTES

_HOLDER_WORDS: Final = HOLDER_BYTES // 8
_HOLDER_MASK: Final = (1 << 10) - 1
_SAYS_SHIFT, _NUMBER_SHIFT = 10, 24
_NUMBER_MASK: Final = (1 << 40) - 1


class Says(IntEnum):
    """``enum cell``"""

    NOTHING = 0
    MADE = 1
    """The mapping was made since the probes came, and is open."""
    SYNCED = 2
    """It was made before, and the device synced it."""
    RELEASED = 3
    """The device released it."""


class Cell(NamedTuple):
    """What the cell of one slot says."""

    says: Says
    dev: int
    """``struct device *``; 0 where the table of devices has no room for it."""


_SAYS: Final = tuple(Says)
_EMPTY: Final = Cell(Says.NOTHING, 0)


class Holdings:
    """The probes' tables, mapped into this process.

    :param mappings: a word a cell; their number is a power of two.
    :param holders: ``struct holder`` after ``struct holder``, as signed words; the first is of all devices together.
    """

    def __init__(self, mappings: memoryview, holders: memoryview) -> None:
        self._mappings = mappings
        self._holders = holders
        self._mask = len(mappings) - 1

    def held_slots(self) -> dict[int, int]:
        """Slots in the open mappings that were made since the probes came, by ``struct device *``."""
        held: Counter[int] = Counter()
        devs, slots = self._holders[::_HOLDER_WORDS].tolist(), self._holders[1::_HOLDER_WORDS].tolist()
        for dev, held_slots in zip(devs, slots, strict=True):
            if dev:
                held[_unsigned(dev)] += max(held_slots, 0)
        return dict(held)

    def generations(self) -> dict[int, int]:
        """What tells each ``struct device *`` from those that were at its address before."""
        devs, generations = self._holders[::_HOLDER_WORDS].tolist(), self._holders[2::_HOLDER_WORDS].tolist()
        return {_unsigned(dev): generation for dev, generation in zip(devs, generations, strict=True) if dev}

    def of_slots(self, tlb_addr: int, nslots: int) -> Iterator[Cell]:
        """What the cells of a mapping's slots say, of those that say anything of these slots.

        :param tlb_addr: the address of the first slot.
        """
        number = tlb_addr >> IO_TLB_SHIFT
        first = number & self._mask
        words = self._mappings[first : first + nslots].tolist()
        words += self._mappings[: nslots - len(words)].tolist()
        if not any(words):
            return
        for at, word in enumerate(words):
            if word and word >> _NUMBER_SHIFT == (number + at) & _NUMBER_MASK:
                yield self._cell(word)

    def holder(self, tlb_addr: int, nslots: int) -> int:
        """``struct device *`` of the device that holds a mapping of these slots, or 0 if that has not shown."""
        cells = self.of_slots(tlb_addr, nslots)
        return next((cell.dev for cell in cells if cell.says in (Says.MADE, Says.SYNCED)), 0)

    def at(self, tlb_addr: int) -> Cell:
        """What the cell of one slot says."""
        return next(self.of_slots(tlb_addr, 1), _EMPTY)

    def _cell(self, word: int) -> Cell:
        dev = self._holders[(word & _HOLDER_MASK) * _HOLDER_WORDS]
        return Cell(_SAYS[word >> _SAYS_SHIFT & 3], _unsigned(dev))

    def release(self) -> None:
        """Let go of the memory."""
        self._mappings.release()
        self._holders.release()


def _unsigned(word: int) -> int:
    return word & 0xFFFF_FFFF_FFFF_FFFF
