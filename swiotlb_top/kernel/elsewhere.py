"""A kernel of which nothing is asked but its layout: it may run elsewhere, and copies of two of its files tell that."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swiotlb_top.errors import UnreadableError
from swiotlb_top.kernel import btf, layout, symbols
from swiotlb_top.kernel.layout import FUNCTIONS, STRUCTS, Layout

_MOST_BYTES: Final = 256 << 20
"""Of a kernel's BTF or kallsyms, unpacked: they have 5 to 20 MiB."""
_GZIP: Final = b"\x1f\x8b"
_OF_GZIP: Final = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A kernel by its layout and its build."""

    layout: Layout
    btf: str
    """As :func:`.btf.digest` gives it."""


def read(types: Path, names: Path) -> Elsewhere:
    """A kernel from copies of its /sys/kernel/btf/vmlinux and /proc/kallsyms, gzipped or not.

    The latter's addresses may be hidden.

    :raises UnreadableError: a file cannot be read, or is something else.
    :raises CannotError: swiotlb has other structures, as before areas (6.0), or libbpf is missing.
    """
    raw = _content(types)
    try:
        described = btf.parse(raw, STRUCTS, FUNCTIONS)
    except ValueError as error:
        raise UnreadableError(
            f"{types} is no BTF ({error}): give a copy of the kernel's /sys/kernel/btf/vmlinux"
        ) from None
    named = symbols.parse(_content(names))
    if not named.addresses:
        raise UnreadableError(
            f"{names} names none of swiotlb's functions: give a copy of the kernel's whole /proc/kallsyms"
        )
    found = layout.from_btf(described, named)
    found.defines()
    return Elsewhere(found, hashlib.sha256(raw).hexdigest())


def here() -> Elsewhere:
    """The kernel that runs here. :raises CannotError: as :func:`.layout.load`."""
    return Elsewhere(layout.load(), layout.build())


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from None
    if raw.startswith(_GZIP):
        unpack = zlib.decompressobj(_OF_GZIP)
        try:
            raw = unpack.decompress(raw, _MOST_BYTES + 1)
        except zlib.error as error:
            raise UnreadableError(f"{path} cannot be unpacked: {error}") from None
        if len(raw) <= _MOST_BYTES and (not unpack.eof or unpack.unused_data):
            raise UnreadableError(f"{path} cannot be unpacked: {'more follows' if unpack.eof else 'it is cut'}")
    if len(raw) > _MOST_BYTES:
        raise UnreadableError(f"{path} has more than {_MOST_BYTES >> 20} MiB, which no kernel's types or symbols have")
    return raw
