"""Small facts of real kernels, recorded: enough to plan on them without booting them.

Each directory holds ``btf``, made by ``trim_btf.py``, and ``kallsyms``, the lines that name swiotlb:

``dynamic``
    Linux 6.12 as the lab builds it: CONFIG_SWIOTLB_DYNAMIC, ``swiotlb_find_slots`` out of line.
``debian``
    Debian's 6.12: one static pool, ``swiotlb_find_slots`` inlined. With ``program.swprog``, which ``swiotlb-top program
    build`` made of the two.
``debian-6.1``
    Debian's 6.1: from before ``struct io_tlb_pool``; ``swiotlb_tbl_map_single`` has seven parameters.
``debian-7.3``
    Debian's 7.3: as its 6.12, but ``attrs`` is a pointer. Not among the lab's kernels, for it is of a later
    Debian's backports: its packages were unpacked, and booted with the modules that the lab loads of ``debian``.
``micro-vm``
    A cloud provider's 6.18: no kprobes, no debugfs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from swiotlb_top.kernel import layout
from swiotlb_top.kernel.hooks import SYNCS
from swiotlb_top.kernel.layout import Layout

KERNELS: Final = ("dynamic", "debian", "debian-6.1", "debian-7.3", "micro-vm")


def btf_of(kernel: str) -> Path:
    """The recorded type information of one of :data:`KERNELS`."""
    return Path(__file__).parent / kernel / "btf"


def kallsyms_of(kernel: str) -> Path:
    """The recorded symbols of one of :data:`KERNELS`."""
    return Path(__file__).parent / kernel / "kallsyms"


def program_of(kernel: str) -> Path:
    """A program file that was compiled for one of them (``debian``), by an earlier state of the tool."""
    return Path(__file__).parent / kernel / "program.swprog"


def layout_of(kernel: str) -> Layout:
    """What the tool would learn if it ran on one of :data:`KERNELS`."""
    return layout.load(btf_of(kernel), kallsyms_of(kernel))


def with_syncs(recorded: Layout) -> Layout:
    """What was recorded of a kernel is from before syncs were probed: its types lack these functions."""
    prototypes = [hook.prototypes[0] for hook in SYNCS]
    functions = {**recorded.btf.functions, **{each.symbol: each.parameters for each in prototypes}}
    return replace(recorded, btf=replace(recorded.btf, functions=functions))
