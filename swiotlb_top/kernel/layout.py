"""Where swiotlb keeps things in this kernel: offsets, features and addresses, feature-tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import btf, symbols
from swiotlb_top.kernel.btf import Btf
from swiotlb_top.kernel.symbols import Symbols

_ALWAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "io_tlb_mem": ("defpool", "nslabs"),
    "io_tlb_pool": ("start", "nslabs", "nareas", "area_nslabs", "areas", "slots"),
    "io_tlb_area": ("used", "index"),
    "io_tlb_slot": ("orig_addr", "alloc_size", "list"),
    "device": ("kobj", "driver", "dma_mask", "bus_dma_limit", "dma_parms", "dma_io_tlb_mem"),
    "device_dma_parameters": ("min_align_mask", "segment_boundary_mask"),
    "device_driver": ("name",),
    "kobject": ("name",),
}
_DYNAMIC: Final[Mapping[str, tuple[str, ...]]] = {
    "io_tlb_mem": ("pools", "dyn_alloc", "can_grow", "phys_limit"),
    "io_tlb_pool": ("node", "rcu", "transient"),
    "device": ("dma_io_tlb_pools",),
}
STRUCTS: Final = tuple(sorted(set(_ALWAYS) | set(_DYNAMIC)))
_FEATURES: Final = (
    # feature word, struct, member that shows it
    ("dynamic", "io_tlb_mem", "pools"),  # CONFIG_SWIOTLB_DYNAMIC, 1aaa736815eb (6.6)
    ("total_used", "io_tlb_mem", "total_used"),  # CONFIG_DEBUG_FS, 8b0977ecc8b3 (6.6)
    ("transient_nslabs", "io_tlb_mem", "transient_nslabs"),  # 02e765697038 (6.8)
    ("pad_slots", "io_tlb_slot", "pad_slots"),  # 26e9bd1b5ad5 (6.10)
)

FUNCTIONS: Final = (
    "swiotlb_find_slots",
    "swiotlb_tbl_map_single",
    "__swiotlb_tbl_unmap_single",
    "swiotlb_alloc_pool",
    "add_mem_pool",
    "swiotlb_dyn_alloc",
    "swiotlb_dyn_free",
    "swiotlb_dev_init",
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

    def at(self, struct: str, member: str) -> int:
        """Byte offset of a member this kernel is known to have.

        :raises CannotError: it has not.
        """
        offset = self.btf.offset(struct, member)
        if offset is None:
            raise CannotError(f"this kernel's struct {struct} has no member {member!r}: it is not a swiotlb known here")
        return offset

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
        """The offsets bpf/swiotlb_top.c is compiled with, ``O_struct_member`` each."""
        return {
            f"O_{struct}_{member}": self.at(struct, member)
            for table in ((_ALWAYS, _DYNAMIC) if self.dynamic else (_ALWAYS,))
            for struct, members in table.items()
            for member in members
        }


def load(types: Path = btf.VMLINUX, names: Path = symbols.KALLSYMS) -> Layout:
    """Learn a kernel's swiotlb from its BTF and kallsyms; this kernel's, unless told otherwise.

    :raises CannotError: no BTF, no kallsyms, or a swiotlb with other structures than Linux 6.6's.
    """
    layout = from_btf(btf.load(STRUCTS, FUNCTIONS, types), symbols.load(names))
    layout.defines()
    return layout


def from_btf(types: Btf, names: Symbols) -> Layout:
    """Pure part of :func:`load`."""
    if "io_tlb_mem" not in types.structs:
        raise CannotError("this kernel has no swiotlb (CONFIG_SWIOTLB=n): there is nothing to watch")
    features = tuple(word for word, struct, member in _FEATURES if types.offset(struct, member) is not None)
    return Layout(types, names, features)
