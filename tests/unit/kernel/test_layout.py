"""Where swiotlb keeps things: features and offsets of recorded kernels, and what a foreign one is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import layout
from swiotlb_top.kernel.btf import Btf, Struct
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.kernel.symbols import Symbols
from tests.kernels import KERNELS, btf_of, kallsyms_of, layout_of


def of_struct(whole: Layout, struct: str, offsets: Mapping[str, int]) -> Layout:
    """The same kernel, had this struct these members."""
    structs: Mapping[str, Struct] = {**whole.btf.structs, struct: Struct(whole.btf.structs[struct].size_bytes, offsets)}
    return layout.from_btf(Btf(structs, whole.btf.functions), whole.symbols)


def without(whole: Layout, struct: str, *members: str) -> Layout:
    """The same kernel, had these members never been in this struct."""
    offsets = whole.btf.structs[struct].offsets
    return of_struct(whole, struct, {name: at for name, at in offsets.items() if name not in members})


@pytest.mark.parametrize(
    ("kernel", "features"),
    [
        (
            "dynamic",
            ("areas", "pools", "dynamic", "total_used", "transient_nslabs", "pad_slots", "search_area"),
        ),
        ("debian", ("areas", "pools", "total_used", "transient_nslabs", "pad_slots")),
        ("debian-6.1", ("areas", "alloc_size")),
        (
            "debian-7.3",
            ("areas", "pools", "total_used", "transient_nslabs", "pad_slots", "attrs_pointer", "cc_shared"),
        ),
        ("micro-vm", ("areas", "pools", "total_used", "transient_nslabs", "pad_slots")),
    ],
)
def test_features_are_read_off_structures_functions_and_symbols(kernel: str, features: tuple[str, ...]) -> None:
    known = layout_of(kernel)
    assert known.features == features
    assert known.dynamic == ("dynamic" in features)


@pytest.mark.parametrize(
    ("kernel", "struct", "member", "feature"),
    [
        ("dynamic", "io_tlb_area", "used", "areas"),
        ("dynamic", "io_tlb_pool", "start", "pools"),
        ("dynamic", "io_tlb_mem", "pools", "dynamic"),
        ("dynamic", "io_tlb_mem", "total_used", "total_used"),
        ("dynamic", "io_tlb_mem", "transient_nslabs", "transient_nslabs"),
        ("dynamic", "io_tlb_slot", "pad_slots", "pad_slots"),
        ("debian-7.3", "io_tlb_mem", "cc_shared", "cc_shared"),
    ],
)
def test_a_kernel_before_a_member_lacks_the_feature(kernel: str, struct: str, member: str, feature: str) -> None:
    whole = layout_of(kernel)
    assert set(whole.features) - set(without(whole, struct, member).features) == {feature}


@pytest.mark.parametrize(
    ("symbol", "feature"),
    [
        ("swiotlb_pool_find_slots", "pool_find_slots"),
        ("swiotlb_area_find_slots", "pool_find_slots"),
        ("swiotlb_area_find_slots.isra.0", "pool_find_slots"),
        ("swiotlb_search_area", "search_area"),
        ("swiotlb_search_pool_area.constprop.0", "search_area"),
    ],
)
def test_the_search_s_functions_show_its_order_under_their_clones_names_too(symbol: str, feature: str) -> None:
    whole = layout_of("debian")
    known = layout.from_btf(whole.btf, Symbols({**whole.symbols.addresses, symbol: 1}))
    assert set(known.features) - set(whole.features) == {feature}


@pytest.mark.parametrize(
    ("kernel", "owner", "member", "offset"),
    [
        ("dynamic", "mem", "nslabs", 104),
        ("debian", "mem", "nslabs", 64),
        ("debian-6.1", "mem", "nslabs", 24),
        ("dynamic", "mem", "pools", 144),
        ("dynamic", "slot", "pad_slots", 18),
        ("debian", "device", "dma_io_tlb_mem", 648),
        ("dynamic", "device", "dma_io_tlb_mem", 360),
    ],
)
def test_offsets_are_the_kernel_build_s(kernel: str, owner: str, member: str, offset: int) -> None:
    assert layout_of(kernel).at(owner, member) == offset


@pytest.mark.parametrize("member", ["start", "nslabs", "nareas", "area_nslabs", "areas", "slots"])
def test_before_pools_the_allocator_is_its_pool(member: str) -> None:
    old = layout_of("debian-6.1")
    assert old.default_pool() == 0
    assert old.at("pool", member) == old.btf.offset("io_tlb_mem", member)
    assert old.size_bytes("pool") == old.size_bytes("mem")
    new = layout_of("debian")
    assert new.at("pool", member) == new.btf.offset("io_tlb_pool", member)
    assert new.default_pool() == new.btf.offset("io_tlb_mem", "defpool")


def test_what_frees_a_pool_is_a_member_of_either_name() -> None:
    whole = layout_of("dynamic")
    offsets = dict(whole.btf.structs["io_tlb_pool"].offsets)
    at = offsets.pop("rcu")
    newer = of_struct(whole, "io_tlb_pool", {**offsets, "dyn_free": at})
    assert newer.at("pool", "free_head") == whole.at("pool", "free_head") == at
    assert set(newer.features) - set(whole.features) == {"dyn_free_work"}


def test_a_member_that_may_be_missing_has_no_offset_then() -> None:
    assert layout_of("debian-6.1").offset("slot", "pad_slots") is None
    assert layout_of("debian").offset("slot", "pad_slots") == 18


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_recorded_kernel_gives_what_the_program_is_compiled_with(kernel: str) -> None:
    known = layout_of(kernel)
    defined = known.defines()
    assert defined["O_mem_defpool"] == known.default_pool()
    assert ("PAD_SLOTS" in defined) == ("pad_slots" in known.features)
    assert ("O_mem_pools" in defined) == known.dynamic
    assert ("O_device_dma_ops" in defined) == (known.offset("device", "dma_ops") is not None)


def test_any_word_of_memory_can_be_loaded_where_the_kernel_has_the_cast_for_it() -> None:
    """bpf_rdonly_cast(), a35b9af4ec2c (6.2)"""
    whole = layout_of("dynamic")
    function_ids, struct_ids = {"bpf_rdonly_cast": 30_000}, {"io_tlb_slot": 50}
    known = replace(whole, btf=replace(whole.btf, function_ids=function_ids, struct_ids=struct_ids))
    assert known.cast_defines() == {"RDONLY_CAST": 30_000, "SLOT": 50}
    older = replace(whole, btf=replace(whole.btf, function_ids={}, struct_ids=struct_ids))
    assert older.cast_defines() == {}


def test_a_missing_member_is_named() -> None:
    with pytest.raises(CannotError, match=r"struct io_tlb_mem has no member 'pools'"):
        layout_of("debian").at("mem", "pools")


def test_a_kernel_without_swiotlb_is_told_so() -> None:
    with pytest.raises(CannotError, match=r"built without swiotlb \(CONFIG_SWIOTLB\)"):
        layout.from_btf(Btf({}, {}), Symbols({}))


def test_a_swiotlb_older_than_areas_is_refused_by_what_it_lacks() -> None:
    """Before 6.0 there was no struct io_tlb_area; one lock kept all slots."""
    whole = layout_of("debian-6.1")
    older = {name: known for name, known in whole.btf.structs.items() if name != "io_tlb_area"}
    with pytest.raises(CannotError, match="io_tlb_area"):
        layout.from_btf(Btf(older, whole.btf.functions), whole.symbols).defines()


def test_the_allocator_is_found_where_kallsyms_shows_it() -> None:
    assert layout_of("debian-6.1").default_mem() == 0xFFFFFFFFB1FD4400


@pytest.mark.parametrize(
    "hidden", [layout_of("micro-vm"), replace(layout_of("dynamic"), symbols=Symbols({"io_tlb_default_mem": 0}))]
)
def test_a_hidden_allocator_is_refused_with_what_would_show_it(hidden: Layout) -> None:
    with pytest.raises(CannotError, match=r"CONFIG_KALLSYMS_ALL=y, not root, or sysctl kernel.kptr_restrict"):
        hidden.default_mem()


def test_a_kernel_is_learnt_once() -> None:
    types, names = btf_of("dynamic"), kallsyms_of("dynamic")
    assert layout.load(types, names) is layout.load(types, names)


def test_addresses_that_are_hidden_are_looked_for_again(tmp_path: Path) -> None:
    types, shown = btf_of("dynamic"), kallsyms_of("dynamic").read_text()
    names = tmp_path / "kallsyms"
    names.write_text(re.sub(r"(?m)^[0-9a-f]+", "0" * 16, shown))
    assert layout.load(types, names).symbols.hidden
    names.write_text(shown)
    assert not layout.load(types, names).symbols.hidden


def test_a_kernel_without_types_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotError, match="CONFIG_DEBUG_INFO_BTF=y"):
        layout.load(tmp_path / "vmlinux", kallsyms_of("dynamic"))
