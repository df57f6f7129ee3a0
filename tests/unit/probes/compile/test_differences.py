"""A program that is not for this kernel: what differs is named, in one line."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from swiotlb_top.kernel.hooks import HOOKS
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.probes.compile import building, differences, plan
from swiotlb_top.probes.compile.flags import Macros, compiler_flags, macros_of
from swiotlb_top.state import How
from tests.kernels import KERNELS, layout_of
from tests.support.program_files import moved, reshaped, without

DEBIAN = layout_of("debian")
DYNAMIC = layout_of("dynamic")
MAP = {prototype.parameters for hook in HOOKS if hook.name == "map" for prototype in hook.prototypes}


def wanted(layout: Layout, prefer: How = How.FENTRY, *, jit: bool = True, cpus: int = 6) -> Macros:
    """What a machine with this kernel compiles its recorder with."""
    made = plan.make(layout, kprobes=True, prefer=prefer)
    return macros_of(compiler_flags(layout, made, spares=True, jit=jit, cpus=cpus))


def compiled(layout: Layout) -> list[Macros]:
    """What the programs of a file for this kernel were compiled with."""
    return [macros_of(flags) for flags in building.wanted(layout)]


def named(there: Layout, here: Layout) -> str:
    return differences.named(compiled(there), wanted(here), here)


def casting(layout: Layout, number: int) -> Layout:
    """The same kernel, with ``bpf_rdonly_cast()``, whose type has this number; recordings are without."""
    ids = {**layout.btf.function_ids, "bpf_rdonly_cast": number}
    return replace(layout, btf=replace(layout.btf, function_ids=ids, struct_ids={"io_tlb_slot": 7}))


def test_a_member_that_moved_is_named_with_both_places() -> None:
    at = DEBIAN.btf.structs["io_tlb_pool"].offsets["areas"]
    assert named(DEBIAN, moved(DEBIAN, "io_tlb_pool", "areas", at + 8)) == (
        f"areas of struct io_tlb_pool is at byte {at + 8} here, and at byte {at} where it was compiled for"
    )


def test_of_several_differences_one_is_named_and_the_others_are_counted() -> None:
    here = moved(moved(DEBIAN, "io_tlb_pool", "areas", 200), "io_tlb_slot", "list", 4)
    assert named(DEBIAN, here).startswith("areas of struct io_tlb_pool is at byte 200 here")
    assert named(DEBIAN, here).endswith("(and 1 more difference)")


def test_a_member_has_the_name_that_it_has_here() -> None:
    at = DYNAMIC.btf.structs["io_tlb_pool"].offsets["rcu"]
    here = moved(moved(DYNAMIC, "io_tlb_pool", "rcu", None), "io_tlb_pool", "dyn_free", at + 8)
    assert "dyn_free of struct io_tlb_pool is at byte" in named(DYNAMIC, here)


def test_where_the_allocator_is_its_own_pool_that_struct_is_named() -> None:
    assert named(layout_of("debian-6.1"), moved(layout_of("debian-6.1"), "io_tlb_mem", "areas", 200)).startswith(
        "areas of struct io_tlb_mem is at byte 200"
    )


def test_a_function_that_is_not_there_is_named() -> None:
    assert named(DYNAMIC, without(DYNAMIC, "swiotlb_find_slots")).startswith(
        "it probes swiotlb_find_slots(), which is no function here"
    )


def test_a_function_that_is_there_and_not_probed_is_named() -> None:
    assert named(without(DYNAMIC, "swiotlb_dyn_free"), DYNAMIC).startswith(
        "it does not probe swiotlb_dyn_free(), which can be probed here"
    )


def test_a_function_whose_parameters_nobody_knows_cannot_be_probed_as_it_was() -> None:
    here = reshaped(DYNAMIC, "swiotlb_find_slots", ("*dev", "what"))
    assert "swiotlb_find_slots(), which cannot be probed here in that way" in named(DYNAMIC, here)


def test_a_function_with_other_parameters_is_named() -> None:
    old = max(MAP, key=len)
    assert named(DEBIAN, reshaped(DEBIAN, "swiotlb_tbl_map_single", old)).startswith(
        "swiotlb_tbl_map_single() has other parameters here"
    )


def test_a_parameter_that_became_a_pointer_is_named() -> None:
    newest = next(parameters for parameters in MAP if "*attrs" in parameters)
    assert named(DEBIAN, reshaped(DEBIAN, "swiotlb_tbl_map_single", newest)) == (
        "attrs of swiotlb_tbl_map_single() is a pointer in one of the two kernels and not in the other"
    )


def test_pools_that_grow_or_do_not_are_told_first() -> None:
    assert named(DYNAMIC, DEBIAN).startswith(
        "it is for a kernel with CONFIG_SWIOTLB_DYNAMIC, and this one is without ("
    )
    assert named(DEBIAN, DYNAMIC).startswith("it is for a kernel without CONFIG_SWIOTLB_DYNAMIC, and this one is with ")


def test_a_member_that_only_one_has_is_named() -> None:
    padded, plain = DEBIAN, moved(DEBIAN, "io_tlb_slot", "pad_slots", None)
    assert named(padded, plain) == "it reads pad_slots of struct io_tlb_slot, which this kernel does not have"
    assert named(plain, padded) == "it does not read pad_slots of struct io_tlb_slot, which this kernel has"


def test_a_function_that_is_seen_in_another_way_is_named() -> None:
    assert differences.named(compiled(DEBIAN), wanted(DEBIAN, How.KPROBE), DEBIAN).startswith(
        "it probes swiotlb_tbl_map_single() by fentry, and here that is done by kprobe"
    )


def test_another_build_of_the_same_sources_is_told_by_the_numbers_of_its_types() -> None:
    assert named(casting(DEBIAN, 5000), casting(DEBIAN, 5001)) == (
        "it is for another build, whose types have other numbers (bpf_rdonly_cast 5000, and here 5001)"
    )


def test_a_kernel_that_interprets_bpf_is_named_by_the_setting() -> None:
    here = casting(DEBIAN, 5000)
    assert differences.named(compiled(here), wanted(here, jit=False), here) == (
        "it is for a kernel that compiles BPF programs, and here net.core.bpf_jit_enable is 0"
    )


def test_a_function_that_is_called_and_not_there_is_named() -> None:
    assert named(casting(DEBIAN, 5000), DEBIAN) == "it calls bpf_rdonly_cast(), which this kernel does not have"
    assert named(DEBIAN, casting(DEBIAN, 5000)) == "it does not call bpf_rdonly_cast(), which this kernel has"


def test_what_is_no_kernel_s_is_named_as_the_compiler_was_told_it() -> None:
    few = [macros for macros in compiled(DEBIAN) if ("DEVICE_BANKS", "1") in macros]
    assert differences.named(few, wanted(DEBIAN, cpus=2), DEBIAN) == (
        "it was compiled with DEVICE_BANKS 1, and here it has to be 2"
    )


@pytest.mark.parametrize(("there", "here"), list(permutations(KERNELS, 2)), ids="-on-".join)
def test_between_any_two_kernels_something_is_named_in_one_line(there: str, here: str) -> None:
    words = named(layout_of(there), layout_of(here))
    assert words.startswith(("it ", "areas ", "nslabs ", "swiotlb_", "attrs ")) or " is at byte " in words
    assert "\n" not in words
    assert "None" not in words
