"""Where swiotlb keeps things in this kernel: offsets, features and addresses, feature-tested."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import btf, hooks, symbols, types_file
from swiotlb_top.kernel.btf import Btf
from swiotlb_top.kernel.symbols import Symbols
from swiotlb_top.kernel.types_file import TypesFile

_HOLDERS: Final[Mapping[str, tuple[str, ...]]] = {
    # what the tool calls it: the struct that has it, newest first; a kernel has the first one it knows
    "mem": ("io_tlb_mem",),
    "pool": ("io_tlb_pool", "io_tlb_mem"),  # of its own since 158dbe9c9a3d (6.6); before, the allocator was its pool
    "area": ("io_tlb_area",),
    "slot": ("io_tlb_slot",),
    "device": ("device",),
    "device_dma_parameters": ("device_dma_parameters",),
    "device_driver": ("device_driver",),
    "kobject": ("kobject",),
}
_SPELLINGS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    # a member that had another name: the names, newest first
    ("pool", "free_head"): (
        "dyn_free",
        "rcu",
    ),  # struct rcu_work since e13d4d9a4915 (7.3); struct rcu_head since 1aaa736815eb (6.6)
}
_ALWAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "mem": ("nslabs",),
    "pool": ("start", "nslabs", "nareas", "area_nslabs", "areas", "slots"),
    "area": ("used", "index"),
    "slot": ("orig_addr", "alloc_size", "list"),
    "device": (
        *("kobj", "driver", "dma_mask", "bus_dma_limit", "dma_parms", "dma_io_tlb_mem"),
        *("iommu_group", "dma_range_map"),
    ),
    "device_dma_parameters": ("min_align_mask", "segment_boundary_mask"),
    "device_driver": ("name",),
    "kobject": ("name",),
}
_DYNAMIC: Final[Mapping[str, tuple[str, ...]]] = {
    "mem": ("pools", "dyn_alloc", "can_grow", "phys_limit"),
    "pool": ("node", "free_head", "transient"),
    "device": ("dma_io_tlb_pools",),
}
_SOMETIMES: Final = (("device", "dma_ops"),)  # CONFIG_DMA_OPS, CONFIG_ARCH_HAS_DMA_OPS since 6.12
_CAST: Final = "bpf_rdonly_cast"
"""A function by which any word of the kernel's memory can be loaded, as a member of a struct; a35b9af4ec2c (6.2)."""
_CALLED_BY_NOBODY: Final = "bpf_fentry_test1"
"""For tests of tracing programs; faeb2dce084a (5.5)."""
STRUCTS: Final = tuple(sorted({struct for holders in _HOLDERS.values() for struct in holders}))

FUNCTIONS: Final = (*hooks.FUNCTIONS, _CAST, _CALLED_BY_NOBODY)


class NoSwiotlbError(CannotError):
    """The kernel has no ``struct io_tlb_mem``: it is built without swiotlb."""


_Shown = Callable[[Btf, Symbols], bool]


def _member(struct: str, member: str) -> _Shown:
    return lambda types, names: types.offset(struct, member) is not None


def _parameter(function: str, parameter: str) -> _Shown:
    return lambda types, names: parameter in types.functions.get(function, ())


def _function(*functions: str) -> _Shown:
    return lambda types, names: any(names.exact(name) or names.suffixed(name) for name in functions)


_FEATURES: Final[tuple[tuple[str, _Shown], ...]] = (
    # feature word, what shows it; the commit and the mainline release that brought it
    ("areas", _member("io_tlb_area", "used")),  # 20347fca71a3 (6.0)
    ("pools", _member("io_tlb_pool", "start")),  # 158dbe9c9a3d (6.6)
    ("dynamic", _member("io_tlb_mem", "pools")),  # CONFIG_SWIOTLB_DYNAMIC, 1aaa736815eb (6.6)
    ("total_used", _member("io_tlb_mem", "total_used")),  # CONFIG_DEBUG_FS, 8b0977ecc8b3 (6.4)
    ("transient_nslabs", _member("io_tlb_mem", "transient_nslabs")),  # CONFIG_DEBUG_FS, 02e765697038 (6.9)
    ("pad_slots", _member("io_tlb_slot", "pad_slots")),  # af133562d5af (6.9, 6.6.35)
    ("alloc_size", _parameter("swiotlb_tbl_map_single", "alloc_size")),  # until 327e2c97c46e (6.10)
    ("attrs_pointer", _parameter("swiotlb_tbl_map_single", "*attrs")),  # 7fcad5e3715a (7.3)
    ("dyn_free_work", _member("io_tlb_pool", "dyn_free")),  # e13d4d9a4915 (7.3)
    ("cc_shared", _member("io_tlb_mem", "cc_shared")),  # d5fd03cdd6c0 (7.3)
    # Of these the compiler may inline all; 1aaa736815eb (6.6) until 55c543865b76 (6.8), and since.
    ("pool_find_slots", _function("swiotlb_pool_find_slots", "swiotlb_area_find_slots")),
    ("search_area", _function("swiotlb_search_area", "swiotlb_search_pool_area")),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The swiotlb of one kernel build."""

    btf: Btf
    symbols: Symbols
    features: tuple[str, ...]

    @property
    def dynamic(self) -> bool:
        """CONFIG_SWIOTLB_DYNAMIC: pools on a list, growth, transient pools."""
        return "dynamic" in self.features

    def offset(self, owner: str, member: str) -> int | None:
        """Byte offset of a member of "mem", "pool", "area", "slot" ...; None if this kernel has no such member."""
        names = _SPELLINGS.get((owner, member), (member,))
        found = (self.btf.offset(self._holder(owner), name) for name in names)
        return next((at for at in found if at is not None), None)

    def at(self, owner: str, member: str) -> int:
        """Byte offset of a member that every kernel has that can be watched.

        :raises CannotError: this kernel does not have it.
        """
        offset = self.offset(owner, member)
        if offset is None:
            raise CannotError(
                f"this kernel's struct {self._holder(owner)} has no member {member!r}: it is not a swiotlb known here"
            )
        return offset

    def size_bytes(self, owner: str) -> int:
        """Size of the struct that holds "mem", "pool", "area", "slot" ..."""
        return self.btf.structs[self._holder(owner)].size_bytes

    def default_pool(self) -> int:
        """Offset of the first pool in its allocator."""
        return self.at("mem", "defpool") if "pools" in self.features else 0

    def default_mem(self) -> int:
        """Address of ``io_tlb_default_mem``.

        :raises CannotError: kallsyms does not list it, or hides it.
        """
        address = self.symbols.address("io_tlb_default_mem")
        if address is None:
            raise CannotError(
                "kallsyms does not give io_tlb_default_mem's address (kernel without CONFIG_KALLSYMS_ALL=y, not root, "
                "or sysctl kernel.kptr_restrict=2): the allocator's state cannot be read"
            )
        return address

    def defines(self) -> dict[str, int]:
        """Macros for bpf/swiotlb_top.c: the byte offset of each member that it reads, as ``O_owner_member``.

        :raises CannotError: this kernel does not have one of the members.
        """
        offsets = {
            f"O_{owner}_{member}": self.at(owner, member)
            for table in ((_ALWAYS, _DYNAMIC) if self.dynamic else (_ALWAYS,))
            for owner, members in table.items()
            for member in members
        }
        for owner, member in _SOMETIMES:
            if (offset := self.offset(owner, member)) is not None:
                offsets[f"O_{owner}_{member}"] = offset
        padded = {"PAD_SLOTS": 1} if "pad_slots" in self.features else {}
        return offsets | {"O_mem_defpool": self.default_pool()} | padded

    def member(self, macro: str) -> tuple[str, str] | None:
        """The struct and the member that a macro of :meth:`defines` is the offset of, of any kernel; None: it is none.

        Both have the names of this kernel, or if it does not have them, of the newest.
        """
        named = {
            f"O_{owner}_{member}": (owner, member)
            for table in (_ALWAYS, _DYNAMIC, {"mem": ("defpool",)})
            for owner, members in table.items()
            for member in members
        } | {f"O_{owner}_{member}": (owner, member) for owner, member in _SOMETIMES}
        if macro not in named:
            return None
        owner, member = named[macro]
        spellings = _SPELLINGS.get((owner, member), (member,))
        struct = self._holder(owner)
        return struct, next((name for name in spellings if self.btf.offset(struct, name) is not None), spellings[0])

    def cast_defines(self) -> dict[str, int]:
        """Macros for bpf/swiotlb_top.c: the BTF ids that it needs for ``bpf_rdonly_cast()``; empty before 6.2."""
        function, struct = self.btf.function_ids.get(_CAST), self.btf.struct_ids.get(self._holder("slot"))
        return {"RDONLY_CAST": function, "SLOT": struct} if function and struct else {}

    @property
    def keeps_hiwater(self) -> bool:
        """Whether every boot of this kernel keeps how many slots were in use at most: since 6.4 with CONFIG_DEBUG_FS,
        but from 7.3 on only where it is booted with ``swiotlb=...,track_hiwater``."""
        return "total_used" in self.features and not self.symbols.address("track_hiwater_enabled")

    def idle_function_id(self) -> int | None:
        """BTF id of a function that can be traced and that nobody calls; None where this kernel has none."""
        return self.btf.function_ids.get(_CALLED_BY_NOBODY)

    def _holder(self, owner: str) -> str:
        holders = _HOLDERS[owner]
        return next((struct for struct in holders if struct in self.btf.structs), holders[0])


def load(types: Path | None = None, names: Path = symbols.KALLSYMS) -> Layout:
    """The layout of a kernel's swiotlb, from its BTF and kallsyms; by default this kernel's.

    Neither changes while the kernel runs, so each is read once. While the addresses are hidden, both are read at each
    call, since kptr_restrict and the capabilities of this process may change.

    :param types: the kernel's own BTF; None: this kernel's, or that of a file of its build.
    :raises CannotError: BTF or kallsyms is missing, or swiotlb has other structures, as before areas (6.0).
    """
    layout = _load(TypesFile(types, of_kernel=True) if types else _types_here(), names)
    if layout.symbols.hidden:
        _load.cache_clear()
    return layout


def build() -> str:
    """This kernel's build, as :func:`.btf.digest` tells it. :raises CannotError: its types cannot be read."""
    return btf.digest(_types_here())


def _types_here() -> TypesFile:
    """The file that tells this kernel's types. :raises CannotError: there is none."""
    source = types_file.find(os.uname().release)
    if source is None:
        raise CannotError(
            f"this kernel does not describe its types in {types_file.VMLINUX}: "
            "probes need a kernel built with CONFIG_DEBUG_INFO_BTF=y"
        )
    return source


@cache
def _load(types: TypesFile, names: Path) -> Layout:
    layout = from_btf(btf.load(STRUCTS, FUNCTIONS, types), symbols.load(names))
    layout.defines()
    return layout


def from_btf(types: Btf, names: Symbols) -> Layout:
    """The layout from what was read. :raises NoSwiotlbError: ``types`` has no ``struct io_tlb_mem``."""
    if "io_tlb_mem" not in types.structs:
        raise NoSwiotlbError("this kernel is built without swiotlb (CONFIG_SWIOTLB)", "there is nothing to watch")
    return Layout(types, names, tuple(word for word, shown in _FEATURES if shown(types, names)))
