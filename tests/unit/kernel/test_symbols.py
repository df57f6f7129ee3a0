"""kallsyms: which functions stand under their own name, which only as the compiler's clone."""

from __future__ import annotations

from pathlib import Path

import pytest

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import symbols
from swiotlb_top.kernel.symbols import Symbols
from tests.kernels import kallsyms_of


def read(directory: Path, text: str) -> Symbols:
    path = directory / "kallsyms"
    path.write_text(text)
    return symbols.load(path)


def test_functions_of_swiotlb_are_kept_and_others_are_not(tmp_path: Path) -> None:
    known = read(
        tmp_path, "ffffffff810dd320 t swiotlb_find_slots\nffffffff810dd5c0 T vmalloc\nffffffff810dd5d0 t add_mem_pool\n"
    )
    assert known.exact("swiotlb_find_slots")
    assert known.exact("add_mem_pool")
    assert not known.exact("vmalloc")


def test_modules_symbols_are_not_the_kernels(tmp_path: Path) -> None:
    known = read(tmp_path, "ffffffffc0000000 t swiotlb_find_slots\t[shadow]\n")
    assert not known.exact("swiotlb_find_slots")


@pytest.mark.parametrize("suffix", [".isra.0", ".constprop.12", ".part.0", ".isra", ".part"])
def test_a_clone_is_found_by_the_function_s_name(suffix: str, tmp_path: Path) -> None:
    known = read(tmp_path, f"ffffffff810dcf80 t swiotlb_alloc_pool{suffix}\n")
    assert known.suffixed("swiotlb_alloc_pool") == f"swiotlb_alloc_pool{suffix}"
    assert not known.exact("swiotlb_alloc_pool")


@pytest.mark.parametrize("other", [".cold", ".isra.0.cold", "_again", "_again.isra.0", ".llvm.1234"])
def test_what_is_not_the_whole_function_is_no_clone_of_it(other: str, tmp_path: Path) -> None:
    known = read(tmp_path, f"ffffffff810dcf80 t swiotlb_alloc_pool{other}\n")
    assert known.suffixed("swiotlb_alloc_pool") is None


def test_a_variable_has_an_address(tmp_path: Path) -> None:
    known = read(tmp_path, "ffffffff81ea2940 d io_tlb_default_mem\n")
    assert known.address("io_tlb_default_mem") == 0xFFFFFFFF81EA2940


def test_a_hidden_or_missing_variable_has_none(tmp_path: Path) -> None:
    known = read(tmp_path, "0000000000000000 d io_tlb_default_mem\n")
    assert known.address("io_tlb_default_mem") is None
    assert known.address("default_nslabs") is None


def test_functions_are_known_by_name_even_where_addresses_are_hidden(tmp_path: Path) -> None:
    assert read(tmp_path, "0000000000000000 t swiotlb_find_slots\n").exact("swiotlb_find_slots")


def test_a_kernel_without_kallsyms_is_refused_by_the_option_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(CannotError, match="CONFIG_KALLSYMS=y"):
        symbols.load(tmp_path / "kallsyms")


@pytest.mark.parametrize(
    ("kernel", "function", "exact", "suffixed"),
    [
        ("dynamic", "swiotlb_find_slots", True, None),
        ("dynamic", "swiotlb_alloc_pool", False, "swiotlb_alloc_pool.isra.0"),
        ("dynamic", "add_mem_pool", False, None),
        ("debian", "swiotlb_find_slots", False, None),
        ("debian", "swiotlb_init_io_tlb_pool", False, "swiotlb_init_io_tlb_pool.constprop.0"),
        ("micro-vm", "swiotlb_tbl_map_single", True, None),
        ("micro-vm", "swiotlb_init_late", True, None),
    ],
)
def test_real_kernels(kernel: str, function: str, exact: bool, suffixed: str | None) -> None:
    known = symbols.load(kallsyms_of(kernel))
    assert known.exact(function) == exact
    assert known.suffixed(function) == suffixed


@pytest.mark.parametrize(("kernel", "listed"), [("dynamic", True), ("debian", True), ("micro-vm", False)])
def test_variables_are_listed_only_with_kallsyms_all(kernel: str, listed: bool) -> None:
    assert (symbols.load(kallsyms_of(kernel)).address("io_tlb_default_mem") is not None) == listed


def test_trampolines_of_a_function_are_known_by_its_number_in_the_kernel_s_types(tmp_path: Path) -> None:
    """Those of a kernel's own functions have its BTF's number above, and a bit between."""
    path = tmp_path / "kallsyms"
    keys = [1 << 32 | 1 << 31 | 70, 1 << 32 | 1 << 31 | 71, 1 << 32 | 1 << 31 | 70]
    lines = [f"ffffffffc0201000 t bpf_trampoline_{key}\t[bpf]\n" for key in keys]
    path.write_text("".join(["ffffffff82a85254 r bpf_trampoline_ops\n", *lines]))
    assert [symbols.trampolines(number, path) for number in (70, 71, 72)] == [2, 1, 0]


def test_trampolines_are_counted_where_addresses_are_hidden(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text(f"0000000000000000 t bpf_trampoline_{1 << 32 | 1 << 31 | 70}\t[bpf]\n")
    assert symbols.trampolines(70, path) == 1
