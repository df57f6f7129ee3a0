"""Names and addresses of the kernel's functions and variables, from kallsyms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swiotlb_top.errors import CannotError

KALLSYMS: Final = Path("/proc/kallsyms")

_WANTED: Final = re.compile(
    r"^([0-9a-f]+) \w ([\w.]*swiotlb[\w.]*|add_mem_pool[\w.]*|io_tlb_default_mem|io_tlb_swiotlb_mem"
    r"|default_nslabs|default_nareas|track_hiwater_enabled|device_initialize)$",
    re.MULTILINE,
)
# What gcc appends to a function it cloned or changed: .isra.0, .constprop.0, .part.0, .cold.
_SUFFIX: Final = re.compile(r"\.(isra|constprop|part)(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Symbols:
    """swiotlb's symbols in this kernel; addresses are 0 where the kernel hides them."""

    addresses: Mapping[str, int]

    def exact(self, name: str) -> bool:
        """Whether the function stands in the kernel under its own name, out of line."""
        return name in self.addresses

    def suffixed(self, name: str) -> str | None:
        """The function's name with the compiler's suffix, where only that one exists."""
        for symbol in self.addresses:
            if symbol.startswith(name + ".") and _SUFFIX.fullmatch(symbol[len(name) :]):
                return symbol
        return None

    def address(self, name: str) -> int | None:
        """Address of a variable, or None where it is not listed or hidden (kptr_restrict)."""
        return self.addresses.get(name) or None


def load(path: Path = KALLSYMS) -> Symbols:
    """Read swiotlb's symbols.

    :raises CannotError: the kernel has no kallsyms.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise CannotError(f"cannot read {path} ({error.strerror}): probes need CONFIG_KALLSYMS=y") from None
    return Symbols({name: int(address, 16) for address, name in _WANTED.findall(text)})
