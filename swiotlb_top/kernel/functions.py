"""Functions of this kernel by addresses in them, and who it was that asked for a mapping."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from swiotlb_top.kernel.symbols import KALLSYMS

_KINDS: Final = (b"t", b"T", b"w", b"W")
"""Of functions."""
_DIGITS: Final = 16
_PART_BYTES: Final = 1 << 17
_LARGEST_FUNCTION_BYTES: Final = 1 << 20
"""An address further behind a function is in none: of a module that was loaded since, or of nothing that has a name."""
_BETWEEN: Final = re.compile(r"bpf_|swiotlb|__swiotlb|xen_swiotlb|_*dma_|iommu_dma_|arch_rethook|kretprobe_|ftrace_")
"""What is called between whoever asks for a mapping and the search for its slots."""


class Functions:
    """Names for addresses in the kernel.

    kallsyms is opened here, and read when names are asked for that were not before: it shows addresses to whoever was
    privileged when it was opened.
    """

    def __init__(self, path: Path = KALLSYMS) -> None:
        self._kallsyms = path.open("rb")
        self._known: dict[int, str] = {}

    def names(self, stack: Sequence[int]) -> tuple[str, ...]:
        """The functions that these return addresses are in; "" where none is known."""
        new = [address for address in stack if address not in self._known]
        if new:
            self._look_up(new)
        return tuple(self._known[address] for address in stack)

    def close(self) -> None:
        """Close kallsyms."""
        self._kallsyms.close()

    def _look_up(self, addresses: Sequence[int]) -> None:
        """A kernel has 100,000 functions and more: they are read a part at a time, and their lines sort as their
        addresses do."""
        nearest = dict.fromkeys(addresses, b"")
        self._kallsyms.seek(0)
        while lines := self._kallsyms.readlines(_PART_BYTES):
            functions = sorted(line for line in lines if line[_DIGITS + 1 : _DIGITS + 2] in _KINDS)
            for address, found in nearest.items():
                # A function may end with a call, so that the return address is the next one's.
                at = bisect_right(functions, b"%0*x~" % (_DIGITS, address - 1)) - 1
                nearest[address] = max(found, functions[at]) if at >= 0 else found
        self._known |= {address: _named(line, address) if line else "" for address, line in nearest.items()}


def _named(line: bytes, address: int) -> str:
    begin, _, name, *_ = line.split()
    return name.decode(errors="replace") if address - int(begin, 16) <= _LARGEST_FUNCTION_BYTES else ""


def who_asked(stack: Sequence[str]) -> tuple[str, ...]:
    """A stack's functions from the one on that asked for a mapping.

    :param stack: names of functions, the innermost first; "" where none is known.
    """
    first = next((at for at, name in enumerate(stack) if name and not _BETWEEN.match(name)), 0)
    return tuple(name or "?" for name in stack[first:])
