"""What goes into a program file: a program for each machine that a kernel build may run on, and each use of it."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final

from swiotlb_top import __version__
from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.elsewhere import Elsewhere
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.probes.compile import bpf_files, compiler
from swiotlb_top.probes.compile import plan as planning
from swiotlb_top.probes.compile.flags import MOST_BANKS, WAYS, Macros, compiler_flags, macros_of
from swiotlb_top.probes.compile.image import Image
from swiotlb_top.probes.compile.plan import Plan
from swiotlb_top.probes.compile.program_file import Made

_VERSION: Final = re.compile(r"\d[\w.+~-]*", re.ASCII)
_CPUS: Final = (*(1 << shift for shift in range(MOST_BANKS.bit_length())), MOST_BANKS + 1)
"""Machines of any other number of CPUs have the program of one of these."""


def wanted(layout: Layout) -> list[tuple[str, ...]]:
    """The flags of every program that a machine with this kernel may ask for, each once.

    Programs are not among them that a kernel wants because it refuses something, be it a probe or to compile BPF.

    :raises CannotError: this kernel lets nothing be watched.
    """
    found = (
        compiler_flags(layout, plan, ring_bytes, spares=spares, cpus=cpus)
        for plan in _plans(layout)
        for ring_bytes, spares in WAYS
        for cpus in _CPUS
    )
    return list(dict.fromkeys(found))


def made_for(kernel: Elsewhere, release: str) -> Made:
    """What a file for this kernel says of itself.

    :param release: the kernel's, as uname has it; empty: nobody said it.
    :raises CannotError: the sources are not installed.
    """
    version = _VERSION.search(compiler.version())
    return Made(
        machine=platform.machine(),
        release=release,
        btf=kernel.btf,
        sources=bpf_files.digest(),
        tool=__version__,
        compiler=version[0] if version else "",
    )


def compiled(wanted: Iterable[tuple[str, ...]]) -> dict[Macros, Image]:
    """A program for each of several sets of flags, compiled. :raises CannotError: as :func:`.compiler.compiled`."""
    with bpf_files.directory() as source:
        return {macros_of(flags): compiler.compiled(source, flags) for flags in wanted}


def _plans(layout: Layout) -> Iterator[Plan]:
    """With kprobes and without, with an IOMMU and without: machines and releases differ in that.

    :raises CannotError: there is no plan in any case.
    """
    why: CannotError | None = None
    plans = 0
    for kprobes, direct_only in product((True, False), repeat=2):
        try:
            yield planning.make(layout, kprobes=kprobes, direct_only=direct_only)
            plans += 1
        except CannotError as error:
            why = why or error
    if why is not None and not plans:
        raise why
