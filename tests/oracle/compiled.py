"""A driver (driver.c) around one kernel's swiotlb.c, compiled; and what BTF and symbols of it show the product."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from swiotlb_top.allocator import Choice, choose
from swiotlb_top.kernel import btf, layout, symbols
from tests.lab.harness.requirements import output_of, require
from tests.oracle.sources import HEADERS, Fetched, Source, fetch, obtain

RECIPE = "1"
"""Part of the cache key: count up when the steps below change what comes out."""
HERE = Path(__file__).parent
TO_COMPILE: Mapping[str, str] = MappingProxyType(
    {"gcc": "gcc", "nm": "binutils", "pahole": "dwarves", "/usr/include/stdio.h": "libc6-dev"}
)
_INCLUDE = re.compile(r"^#include <(.*)>", re.MULTILINE)
_FLAGS = (
    *("-std=gnu11", "-O2", "-g", "-Wall", "-Wextra"),
    # The kernel's C is not written for these, and what the shim makes nothing of leaves empty bodies.
    *("-Wno-unused", "-Wno-unused-parameter", "-Wno-sign-compare", "-Wno-empty-body"),
)
_SHOWN_BY: Mapping[str, str] = MappingProxyType(
    # what the driver must know of a kernel: what in its C and headers shows it
    {
        "HAVE_POOLS": r"struct io_tlb_pool \{",
        "HAVE_DEV_INIT": r"void swiotlb_dev_init\(",
        "HAVE_PAD_SLOTS": r"unsigned short pad_slots;",
        "HAVE_ALLOC_SIZE": r"swiotlb_tbl_map_single\([^)]*size_t alloc_size",
        "HAVE_ATTRS_POINTER": r"swiotlb_tbl_map_single\([^)]*unsigned long \*attrs",
        "HAVE_ALLOC_ATTRS": r"swiotlb_alloc\([^)]*unsigned long attrs",
        "HAVE_TRACK_HIWATER": r"track_hiwater_enabled",
    }
)
_UNTIL_BACK = r"while \(index != wrap\)"
"""A search that ends only where it began, and so perhaps never: its basic blocks are counted."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """One kernel's swiotlb, with CONFIG_SWIOTLB_DYNAMIC or without."""

    directory: Path
    release: str
    dynamic: bool

    @property
    def driver(self) -> Path:
        return self.directory / "driver"

    def choice(self) -> Choice:
        """The revision that the product chooses, from what this binary shows as a kernel would, and the release."""
        types = btf.parse((self.directory / "btf").read_bytes(), layout.STRUCTS, layout.FUNCTIONS)
        names = symbols.load(self.directory / "kallsyms")
        return choose(layout.from_btf(types, names).features, self.release)


def compile_source(source: Source, *, dynamic: bool, sanitize: bool = False, may_make: bool = True) -> Compiled:
    """The driver of a source. Raises LabUnavailableError if that cannot be.

    :param sanitize: end at the first undefined behaviour.
    :param may_make: compile it if this was not done before.
    """
    require(TO_COMPILE)
    fetched = fetch(source, may_make=may_make)
    own = sorted(HERE.glob("*.[ch]"))
    flags = (*_FLAGS, *_flags_of(fetched, dynamic), *(_SANITIZE if sanitize else ()))
    inputs = {
        "recipe": RECIPE,
        "source": f"{source.name} {fetched.version}",
        "compiler": output_of("gcc", "--version").splitlines()[0],
        "flags": " ".join(flags),
    } | {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in own}
    name = f"driver-{source.name}-{'dynamic' if dynamic else 'static'}"
    entry = obtain(name, inputs, lambda directory: _make(fetched, flags, directory), may_make=may_make)
    return Compiled(entry, fetched.release, dynamic)


_SANITIZE = ("-fsanitize=undefined", "-fno-sanitize-recover=undefined")


def _flags_of(fetched: Fetched, dynamic: bool) -> list[str]:
    text = _text(fetched)
    flags = [f"-D{macro}" for macro, shown_by in _SHOWN_BY.items() if re.search(shown_by, text)]
    if dynamic:
        flags.append("-DCONFIG_SWIOTLB_DYNAMIC=1")
    if re.search(_UNTIL_BACK, text):
        flags.append("-fsanitize-coverage=trace-pc")
    return flags


def _text(fetched: Fetched) -> str:
    files = (fetched.swiotlb_c, *(fetched.directory / header for header in HEADERS))
    return "\n".join(file.read_text() for file in files)


def _make(fetched: Fetched, flags: tuple[str, ...], directory: Path) -> None:
    empty = directory / "empty"
    for header in set(_INCLUDE.findall(_text(fetched))):
        if f"include/{header}" not in HEADERS:
            (empty / header).parent.mkdir(parents=True, exist_ok=True)
            (empty / header).touch()
    driver = directory / "driver"
    includes = ("-I", str(fetched.include), "-I", str(empty), "-include", str(HERE / "shim.h"))
    output_of(
        *("gcc", *flags, *includes, f'-DSWIOTLB_C="{fetched.swiotlb_c}"'),
        *("-o", str(driver), str(HERE / "driver.c")),
    )
    output_of("pahole", f"--btf_encode_detached={directory / 'btf'}", str(driver))
    (directory / "kallsyms").write_text(output_of("nm", str(driver)))
