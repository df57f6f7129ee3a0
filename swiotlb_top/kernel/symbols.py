"""Names and addresses of the kernel's functions and variables, from kallsyms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import hooks

KALLSYMS: Final = Path("/proc/kallsyms")

_SWIOTLB: Final = "swiotlb"
"""All symbols with this in their name are wanted: that some of them exist shows what the kernel does."""
_FUNCTIONS: Final = tuple(name for name in hooks.FUNCTIONS if _SWIOTLB not in name)
_VARIABLES: Final = ("io_tlb_default_mem", "default_nslabs", "default_nareas", "track_hiwater_enabled")
_WANTED: Final = re.compile(
    rf"([0-9a-f]+) \w ([\w.]*{_SWIOTLB}[\w.]*|(?:{'|'.join(_FUNCTIONS)})(?:\.[\w.]+)?|{'|'.join(_VARIABLES)})"
)
_IN_ALL_WANTED: Final = tuple(word.encode() for word in (_SWIOTLB, *_FUNCTIONS, *_VARIABLES))
"""Each wanted line has one of these: looked for first, as a kernel has 100,000 lines and more."""
_TRAMPOLINE: Final = re.compile(rb" t bpf_trampoline_(\d+)\s")
"""``bpf_tramp_image_alloc()``"""
_FUNCTION_OF_KEY: Final = 0x7FFF_FFFF
"""``bpf_trampoline_compute_key()``"""
# What gcc appends to a function it cloned or changed: .isra.0, .constprop.0, .part.0, .cold.
_SUFFIX: Final = re.compile(r"\.(isra|constprop|part)(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Symbols:
    """swiotlb's symbols in this kernel; addresses are 0 where the kernel hides them."""

    addresses: Mapping[str, int]

    @property
    def hidden(self) -> bool:
        """Whether the kernel hides every address from this process (kptr_restrict)."""
        return bool(self.addresses) and not any(self.addresses.values())

    def exact(self, name: str) -> bool:
        """Whether the kernel has the function under its own name, so that it is not inlined everywhere."""
        return name in self.addresses

    def suffixed(self, name: str) -> str | None:
        """The name of a clone of the function that the compiler made (``.isra.0``, ...); None if there is no clone."""
        for symbol in self.addresses:
            if symbol.startswith(name + ".") and _SUFFIX.fullmatch(symbol[len(name) :]):
                return symbol
        return None

    def address(self, name: str) -> int | None:
        """Address of a variable; None if kallsyms does not list it, or hides it (kptr_restrict)."""
        return self.addresses.get(name) or None


def load(path: Path = KALLSYMS) -> Symbols:
    """Read swiotlb's symbols.

    :raises CannotError: the kernel has no kallsyms.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise CannotError(f"cannot read {path} ({error.strerror}): probes need CONFIG_KALLSYMS=y") from None
    return parse(text)


def parse(text: bytes) -> Symbols:
    """swiotlb's symbols in what kallsyms says, which may be any bytes."""
    lines = (line.decode(errors="replace") for word in _IN_ALL_WANTED for line in _lines_with(word, text))
    wanted = map(_WANTED.fullmatch, lines)
    return Symbols({found[2]: int(found[1], 16) for found in wanted if found})


def trampolines(function_id: int, path: Path = KALLSYMS) -> int:
    """How many BPF trampolines of a function there are, with those that wait to be freed.

    None shows where net.core.bpf_jit_harden is set, or net.core.bpf_jit_kallsyms is not.

    :param function_id: the number of its type in the kernel's BTF.
    :raises OSError: the kernel has no kallsyms.
    """
    keys = map(int, _TRAMPOLINE.findall(path.read_bytes()))
    return sum(key & _FUNCTION_OF_KEY == function_id for key in keys)


def _lines_with(word: bytes, text: bytes) -> Iterator[bytes]:
    at = text.find(word)
    while at >= 0:
        begin, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
        yield text[begin : end if end >= 0 else len(text)]
        at = text.find(word, end) if end >= 0 else -1
