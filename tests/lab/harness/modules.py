"""Which module files a set of modules needs, and in which order; from the modules themselves, no depmod needed."""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterable
from pathlib import Path


def canonical(name: str) -> str:
    """The kernel's own spelling of a module's name: `-` and `_` are the same to it."""
    return name.replace("-", "_")


def read_module(path: Path) -> bytes:
    """A module's ELF image, from a `.ko` or `.ko.xz` file."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def dependencies(image: bytes) -> tuple[str, ...]:
    """What `depends=` in a module's .modinfo names (MODULE_INFO(depends, ...), written by modpost)."""
    found = re.search(rb"\0depends=([^\0]*)\0", image)
    return tuple(found.group(1).decode().split(",")) if found and found.group(1) else ()


def in_load_order(tree: Path, wanted: Iterable[str]) -> dict[str, bytes]:
    """`{name: ELF image}` of `wanted` and all they depend on, every module after those it needs.

    Raises KeyError with the name of a module that `tree` (a `lib/modules/<release>` directory) does not have.
    """
    files = {canonical(path.name.partition(".")[0]): path for path in sorted(tree.rglob("*.ko*"))}
    ordered: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in ordered:
            return
        image = read_module(files[name])
        for needed in dependencies(image):
            add(canonical(needed))
        ordered[name] = image

    for name in wanted:
        add(canonical(name))
    return ordered
