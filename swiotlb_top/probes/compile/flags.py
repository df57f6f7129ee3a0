"""What ``swiotlb_top.c`` is compiled with for one kernel, one plan and one machine: with the C, all that decides."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from swiotlb_top.constants import IO_TLB_SIZE
from swiotlb_top.cpus import Cpus
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.probes.compile.plan import Plan

RING_BYTES: Final = 16 << 20
"""The recorder's ring buffer."""
SAMPLING_RING_BYTES: Final = 4 << 20
"""That of screen and exporter: room for several bursts. The ring is mapped twice, so it counts twice as memory of this
process."""
WAYS: Final = ((RING_BYTES, True), (SAMPLING_RING_BYTES, False))
"""How the tool has it compiled: the size of the ring buffer, and whether there are spares. First what records every
call, then what mostly counts."""
HEAD_BYTES: Final = 4096
BODY_BYTES: Final = 61440
DEVICE_PLACES_SHIFT: Final = 9
"""512 places a bank: short probing with a hundred devices."""
TOTALS_BYTES: Final = 192
"""``struct totals``"""
MOST_BANKS: Final = 128
HOLDER_BYTES: Final = 64
"""``struct holder``"""
HOLDERS: Final = (1 << DEVICE_PLACES_SHIFT) + 1
"""All devices together, and each."""
STACKS: Final = 1024
"""Room for so many stacks in which maps failed, and for so many pairs of a device and a stack."""
STACK_DEPTH: Final = 32
"""Functions of a stack that are kept, the innermost: twelve of them are of this program, of swiotlb and of the DMA
layer at most."""

_LEAST_CELLS, _MOST_CELLS = 1 << 13, 1 << 19
_DEFINE: Final = re.compile(r"-D(\w+)=(.*)")
_SYS: Final = Path("/sys")
_RETURN_ADDRESS_BYTES: Final = {"x86_64": 8, "i686": 4}


Macros = frozenset[tuple[str, str]]
"""Macros' names and their values."""


def compiler_flags(
    layout: Layout,
    plan: Plan,
    ring_bytes: int = RING_BYTES,
    *,
    spares: bool,
    jit: bool = True,
    cpus: int | None = None,
) -> tuple[str, ...]:
    """The compiler's flags that make ``swiotlb_top.c`` the program for one kernel and one plan.

    :param spares: as :func:`~swiotlb_top.probes.attach.loader.load` has it.
    :param jit: whether the kernel compiles BPF programs: interpreted programs cannot call kernel functions.
    :param cpus: the highest possible CPU number, plus one; None: that of this machine.
    """
    banks = device_banks(cpus := possible_cpus().end if cpus is None else cpus)
    macros = {
        **layout.defines(),
        **plan.defines(),
        **(layout.cast_defines() if jit else {}),
        "PAGE_SIZE": os.sysconf("SC_PAGE_SIZE"),
        "RING_PAGES": ring_bytes // os.sysconf("SC_PAGE_SIZE"),
        "DEVICE_BANKS": banks,
        "DEVICE_PLACES": 1 << DEVICE_PLACES_SHIFT,
        "DEVICE_PLACES_SHIFT": DEVICE_PLACES_SHIFT,
        "HEAD_BYTES": HEAD_BYTES,
        "BODY_BYTES": BODY_BYTES,
        "RETURN_ADDRESS_BYTES": _RETURN_ADDRESS_BYTES.get(platform.machine(), 0),
        **({"SPARES": 1} if spares else _of_what_counts(layout, shared=banks < cpus)),
    }
    return ("-Wno-macro-redefined", *(f"-D{name}={value}" for name, value in macros.items()))


def _of_what_counts(layout: Layout, *, shared: bool) -> dict[str, int]:
    """Macros of the program that counts for days, and so tells who holds what, and who asked for what failed.

    Of what is recorded, an account is kept.

    :param shared: whether several CPUs add to the same words of the table of devices.
    """
    return {
        "HOLDINGS": 1,
        "MAPPING_CELLS": _LEAST_CELLS,  # as many as :func:`mapping_cells` are made when it is loaded
        "STACKS": STACKS,
        "STACK_DEPTH": STACK_DEPTH,
        **({"SHARED_BANKS": 1} if shared else {}),
        **({} if layout.keeps_hiwater else {"OWN_HIWATER": 1}),
    }


def macros_of(flags: Iterable[str]) -> Macros:
    """What flags of :func:`compiler_flags` define, which decides what comes out."""
    found = (_DEFINE.fullmatch(flag) for flag in flags)
    return frozenset((one[1], one[2]) for one in found if one)


def possible_cpus(sys: Path = _SYS) -> Cpus:
    """The CPUs that this kernel may ever have, whether or not they are online."""
    return Cpus.parse((sys / "devices/system/cpu/possible").read_text().strip())


def device_banks(cpus: int) -> int:
    """Into how many banks the table of devices is divided: a power of two, at least one for each CPU, at most 128.

    The table takes 96 KiB of the kernel's memory a bank, and 40 KiB more for its claims: 1 MiB at 8 CPUs, 17 MiB at 128
    and any number above. Reading it takes time by its size, too.

    :param cpus: the highest possible CPU number, plus one.
    """
    return min(1 << (cpus - 1).bit_length(), MOST_BANKS)


def device_table_bytes(cpus: int) -> int:
    """Size of the table of devices in bytes; ``cpus`` as for :func:`device_banks`."""
    return (device_banks(cpus) << DEVICE_PLACES_SHIFT) * TOTALS_BYTES


@cache
def mapping_cells() -> int:
    """How many cells there are for mappings, a power of two: as many as a quarter of this machine's memory has slots,
    and at most those of 1 GiB. Their table takes a thousandth of the memory, and at most 4 MiB."""
    slots = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4 // IO_TLB_SIZE
    return min(max(1 << (slots - 1).bit_length(), _LEAST_CELLS), _MOST_CELLS)
