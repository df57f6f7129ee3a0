"""Program files whose programs were never compiled: what matters is what they say they were compiled for."""

from __future__ import annotations

import platform
import zlib
from dataclasses import replace
from typing import Final

from swiotlb_top.kernel.btf import Struct
from swiotlb_top.kernel.layout import Layout, from_btf
from swiotlb_top.kernel.symbols import Symbols
from swiotlb_top.probes.compile import bpf_files, building
from swiotlb_top.probes.compile.flags import macros_of
from swiotlb_top.probes.compile.image import Image, MapSpec
from swiotlb_top.probes.compile.program_file import Made, ProgramFile

EXIT: Final = bytes([0x95, *bytes(7)])
"""One instruction."""


def image_of(flags: tuple[str, ...]) -> Image:
    """An image that tells which flags it was made with."""
    return Image((MapSpec(f"map{zlib.crc32(repr(flags).encode())}", 2, 4, 8, 1, 0),), {"program": EXIT})


def made(**changed: str) -> Made:
    """What a file of this tool says, made on this machine."""
    usual = Made(platform.machine(), "6.12.57", "b" * 64, bpf_files.digest(), "0.1.0", "0.26.0")
    return replace(usual, **changed)


def file_for(layout: Layout, **changed: str) -> ProgramFile:
    """A whole file for one kernel."""
    return ProgramFile(made(**changed), {macros_of(flags): image_of(flags) for flags in building.wanted(layout)})


def moved(layout: Layout, struct: str, member: str, offset: int | None) -> Layout:
    """The same kernel, but for one member's place; None: without it."""
    old = layout.btf.structs[struct]
    kept = {name: at for name, at in old.offsets.items() if name != member}
    offsets = kept if offset is None else {**kept, member: offset}
    structs = {**layout.btf.structs, struct: Struct(old.size_bytes, offsets)}
    return from_btf(replace(layout.btf, structs=structs), layout.symbols)


def without(layout: Layout, function: str) -> Layout:
    """The same kernel, but for a function that the compiler inlined."""
    addresses = {name: at for name, at in layout.symbols.addresses.items() if name != function}
    functions = {name: shape for name, shape in layout.btf.functions.items() if name != function}
    return from_btf(replace(layout.btf, functions=functions), Symbols(addresses))


def reshaped(layout: Layout, function: str, parameters: tuple[str, ...]) -> Layout:
    """The same kernel, but for a function's parameters."""
    return from_btf(replace(layout.btf, functions={**layout.btf.functions, function: parameters}), layout.symbols)
