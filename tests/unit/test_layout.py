"""Where swiotlb keeps things: features and offsets of recorded kernels, and what a foreign one is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import layout
from swiotlb_top.kernel.btf import Btf, Struct
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.kernel.symbols import Symbols
from tests.kernels import kallsyms_of, layout_of


def without(whole: Layout, struct: str, *members: str) -> Layout:
    """The same kernel, had these members never been in this struct."""
    known = whole.btf.structs[struct]
    kept = Struct(known.size_bytes, {name: at for name, at in known.offsets.items() if name not in members})
    structs: Mapping[str, Struct] = {**whole.btf.structs, struct: kept}
    return layout.from_btf(Btf(structs, whole.btf.functions), whole.symbols)


@pytest.mark.parametrize(
    ("kernel", "features"),
    [
        ("dynamic", ("dynamic", "total_used", "transient_nslabs", "pad_slots")),
        ("debian", ("total_used", "transient_nslabs", "pad_slots")),
        ("micro-vm", ("total_used", "transient_nslabs", "pad_slots")),
    ],
)
def test_features_are_read_off_the_structures(kernel: str, features: tuple[str, ...]) -> None:
    known = layout_of(kernel)
    assert known.features == features
    assert known.dynamic == ("dynamic" in features)


@pytest.mark.parametrize(
    ("struct", "member", "feature"),
    [
        ("io_tlb_mem", "pools", "dynamic"),
        ("io_tlb_mem", "total_used", "total_used"),
        ("io_tlb_mem", "transient_nslabs", "transient_nslabs"),
        ("io_tlb_slot", "pad_slots", "pad_slots"),
    ],
)
def test_a_kernel_before_a_member_lacks_the_feature(struct: str, member: str, feature: str) -> None:
    whole = layout_of("dynamic")
    assert set(whole.features) - set(without(whole, struct, member).features) == {feature}


@pytest.mark.parametrize(
    ("kernel", "struct", "member", "offset"),
    [
        ("dynamic", "io_tlb_mem", "nslabs", 104),
        ("debian", "io_tlb_mem", "nslabs", 64),
        ("dynamic", "io_tlb_mem", "pools", 144),
        ("dynamic", "io_tlb_slot", "pad_slots", 18),
        ("debian", "device", "dma_io_tlb_mem", 648),
        ("dynamic", "device", "dma_io_tlb_mem", 360),
    ],
)
def test_offsets_are_the_kernel_build_s(kernel: str, struct: str, member: str, offset: int) -> None:
    assert layout_of(kernel).at(struct, member) == offset


def test_a_missing_member_is_named() -> None:
    with pytest.raises(CannotError, match=r"struct io_tlb_mem has no member 'pools'"):
        layout_of("debian").at("io_tlb_mem", "pools")


def test_a_kernel_without_swiotlb_is_told_so() -> None:
    with pytest.raises(CannotError, match="CONFIG_SWIOTLB=n"):
        layout.from_btf(Btf({}, {}), Symbols({}))


def test_a_swiotlb_older_than_pools_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    """Before 6.6 there was no struct io_tlb_pool; its members were struct io_tlb_mem's."""
    whole = layout_of("debian")
    older = {name: known for name, known in whole.btf.structs.items() if name != "io_tlb_pool"}
    with pytest.raises(CannotError, match="io_tlb_pool"):
        layout.from_btf(Btf(older, whole.btf.functions), whole.symbols).defines()


def test_the_allocator_is_found_where_kallsyms_shows_it() -> None:
    assert layout_of("dynamic").default_mem() == 0xFFFFFFFF81EA2940


@pytest.mark.parametrize(
    "hidden", [layout_of("micro-vm"), replace(layout_of("dynamic"), symbols=Symbols({"io_tlb_default_mem": 0}))]
)
def test_a_hidden_allocator_is_refused_with_what_would_show_it(hidden: Layout) -> None:
    with pytest.raises(CannotError, match=r"CONFIG_KALLSYMS_ALL=y, not root, or sysctl kernel.kptr_restrict"):
        hidden.default_mem()


def test_a_kernel_without_types_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotError, match="CONFIG_DEBUG_INFO_BTF=y"):
        layout.load(tmp_path / "vmlinux", kallsyms_of("dynamic"))
