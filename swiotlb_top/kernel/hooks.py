"""The hooks: the kernel functions at which the allocator's operations are seen, release by release.

This table is the owner of all facts about hooks: the names that are looked up in kallsyms and in BTF, and the macros of
the C, are made from it. bpf/attach.h has the programs. The plan (probes/compile/plan.py) decides which of the functions
is probed on one kernel, and how.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LONG_FENTRY: Final = "pools"
"""A kernel with this feature word passes stack arguments to fentry programs on x86: that is new in 6.6, as is
``struct io_tlb_pool``."""

ALLOC_POOL: Final = "alloc_pool"
"""The hook that tells of a pool before any of its slots is used."""


@dataclass(frozen=True, slots=True)
class Prototype:
    """A kernel function as some releases have it."""

    symbol: str
    parameters: tuple[str, ...]
    """As :class:`~swiotlb_top.kernel.btf.Btf` spells them."""
    named: tuple[str, ...] = ()
    """The parameters' names in the hook, if the function has other names for them."""
    stands_in_before: str = ""
    """A feature word: this function only wraps the one that matters, and is probed on kernels without that feature."""

    def places(self) -> dict[str, int]:
        """The position of each parameter, by its name in the hook."""
        return {name: at for at, name in enumerate(self.named or (word.lstrip("*") for word in self.parameters))}

    def pointers(self) -> frozenset[str]:
        return frozenset(word.lstrip("*") for word in self.parameters if word.startswith("*"))


@dataclass(frozen=True, slots=True)
class Hook:
    """An operation of the allocator: the kernel functions at which it is seen, and what its BPF program reads there."""

    name: str
    prototypes: tuple[Prototype, ...]
    """The function of each release, newest first."""
    reads: tuple[str, ...] = ()
    """Parameters the program reads by position. Not every prototype has them all."""
    dynamic_only: bool = False
    result_only: bool = False
    """Only the return value is read, so that a clone (``.isra.0``) serves as well."""
    entry_only: bool = False
    beside: str = ""
    """The name of another hook, without which this one is not placed; empty: it stands alone."""
    derived_from: str = ""
    """The name of the hook that tells the same if this one cannot be probed; empty: there is none."""
    without: str = ""
    """What is lost if it is absent, in words for people."""

    @property
    def macro(self) -> str:
        return f"HOOK_{self.name.upper()}"

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names its functions ever had, newest first."""
        return tuple(dict.fromkeys(prototype.symbol for prototype in self.prototypes))


HOOKS: Final = (
    Hook(
        "find_slots",
        (
            # since 1aaa736815eb (6.6)
            Prototype("swiotlb_find_slots", ("*dev", "orig_addr", "alloc_size", "alloc_align_mask", "**retpool")),
            # since 20347fca71a3 (6.0)
            Prototype("swiotlb_find_slots", ("*dev", "orig_addr", "alloc_size", "alloc_align_mask")),
        ),
        reads=("orig_addr", "alloc_size", "alloc_align_mask", "retpool"),
        derived_from="map",
    ),
    Hook(
        "map",
        (
            # since 7fcad5e3715a (7.3)
            Prototype(
                "swiotlb_tbl_map_single", ("*dev", "orig_addr", "mapping_size", "alloc_align_mask", "dir", "*attrs")
            ),
            # since 327e2c97c46e (6.10)
            Prototype(
                "swiotlb_tbl_map_single", ("*dev", "orig_addr", "mapping_size", "alloc_align_mask", "dir", "attrs")
            ),
            Prototype(
                "swiotlb_tbl_map_single",
                ("*dev", "orig_addr", "mapping_size", "alloc_size", "alloc_align_mask", "dir", "attrs"),
            ),
            # Asks the one above for "size" twice and no alignment. Its result is a DMA address, which is the
            # physical one wherever fentry cannot take the one above: that is on x86. A device that cannot reach
            # the pool makes it unmap again at once: see swiotlb_top/verify/operations/rolled_back_map.py.
            Prototype(
                "swiotlb_map",
                ("*dev", "paddr", "size", "dir", "attrs"),
                named=("dev", "orig_addr", "mapping_size", "dir", "attrs"),
                stands_in_before=LONG_FENTRY,
            ),
        ),
        reads=("orig_addr", "mapping_size", "alloc_size", "alloc_align_mask", "dir", "attrs"),
        derived_from="find_slots",
    ),
    Hook(
        "unmap",
        (
            # since 6.11
            Prototype("__swiotlb_tbl_unmap_single", ("*dev", "tlb_addr", "mapping_size", "dir", "attrs", "*pool")),
            Prototype("swiotlb_tbl_unmap_single", ("*dev", "tlb_addr", "mapping_size", "dir", "attrs")),
        ),
        reads=("tlb_addr", "mapping_size", "dir", "attrs", "pool"),
    ),
    # CONFIG_DMA_RESTRICTED_POOL: swiotlb_alloc() searches as a map does, and no unmap gives back what it found.
    Hook(
        "free",
        (Prototype("swiotlb_free", ("*dev", "*page", "size")),),
        reads=("size",),
        beside="find_slots",
    ),
    Hook(
        "free_from_pool",
        (Prototype("swiotlb_free_from_pool", ("*dev", "tlb_addr", "*pool")),),  # since a7139dbbb1c6 (7.3)
        reads=("tlb_addr", "pool"),
        beside="find_slots",
    ),
    Hook(
        "grow",
        (Prototype("swiotlb_dyn_alloc", ("*work",)),),
        reads=("work",),
        dynamic_only=True,
        without="growth is not seen",
    ),
    Hook(
        ALLOC_POOL,
        (
            # since d5fd03cdd6c0 (7.3)
            Prototype("swiotlb_alloc_pool", ("*dev", "*mem", "minslabs", "nslabs", "nareas", "phys_limit", "gfp")),
            Prototype("swiotlb_alloc_pool", ("*dev", "minslabs", "nslabs", "nareas", "phys_limit", "gfp")),
        ),
        dynamic_only=True,
        result_only=True,
        without="transient pools are not seen before their first mapping",
    ),
    Hook(
        "add_pool",
        (Prototype("add_mem_pool", ("*mem", "*pool")),),
        reads=("mem", "pool"),
        dynamic_only=True,
        derived_from="grow",
    ),
    Hook(
        "free_pool",
        (
            Prototype("swiotlb_dyn_free_work", ("*work",)),  # since e13d4d9a4915 (7.3)
            Prototype("swiotlb_dyn_free", ("*rcu",)),
        ),
        dynamic_only=True,
        entry_only=True,
        without="when a transient pool's memory goes back is not seen",
    ),
    Hook(
        "device_init",
        (
            Prototype("swiotlb_dev_init", ("*dev",)),  # since 6.6
            Prototype("device_initialize", ("*dev",)),
        ),
        entry_only=True,
        without="a device plugged in where another was may inherit its totals",
    ),
)

_SYNCED: Final = ("*dev", "tlb_addr", "size", "dir")

SYNCS: Final = (
    Hook(
        "sync_device",
        (
            Prototype("__swiotlb_sync_single_for_device", (*_SYNCED, "*pool")),  # since 6.11
            Prototype("swiotlb_sync_single_for_device", _SYNCED),
        ),
        reads=("tlb_addr",),
        entry_only=True,
    ),
    Hook(
        "sync_cpu",
        (
            Prototype("__swiotlb_sync_single_for_cpu", (*_SYNCED, "*pool")),
            Prototype("swiotlb_sync_single_for_cpu", _SYNCED),
        ),
        reads=("tlb_addr",),
        entry_only=True,
    ),
)
"""Where a device shows that a mapping is its own. They are probed for a while, and no recording has them."""

FUNCTIONS: Final = tuple(dict.fromkeys(symbol for hook in (*HOOKS, *SYNCS) for symbol in hook.symbols))
"""Every function at which a hook can be placed, in any release."""
