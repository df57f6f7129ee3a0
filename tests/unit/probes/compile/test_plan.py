"""Where each hook goes: golden plans of recorded kernels, and what happens when the kernel says no."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.btf import Btf
from swiotlb_top.kernel.hooks import HOOKS
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.kernel.symbols import Symbols
from swiotlb_top.probes.compile import plan
from swiotlb_top.probes.compile.plan import Plan
from swiotlb_top.state import How
from tests.kernels import layout_of

DYNAMIC = layout_of("dynamic")
DEBIAN = layout_of("debian")
DEBIAN_6_1 = layout_of("debian-6.1")
DEBIAN_7_3 = layout_of("debian-7.3")
MICRO_VM = layout_of("micro-vm")

STATIC_FENTRY = {
    "find_slots": "derived from map",
    "map": "fentry+fexit swiotlb_tbl_map_single",
    "unmap": "fentry+fexit __swiotlb_tbl_unmap_single",
    "device_init": "fentry swiotlb_dev_init",
}
OLD_FENTRY = {
    "find_slots": "derived from map",
    "map": "fentry+fexit swiotlb_map",
    "unmap": "fentry+fexit swiotlb_tbl_unmap_single",
    "device_init": "fentry device_initialize",
}
DYNAMIC_FENTRY = {
    "find_slots": "fentry+fexit swiotlb_find_slots",
    "map": "derived from find_slots",
    "unmap": "fentry+fexit __swiotlb_tbl_unmap_single",
    "grow": "fentry+fexit swiotlb_dyn_alloc",
    "alloc_pool": "kretprobe swiotlb_alloc_pool.isra.0",
    "add_pool": "derived from grow",
    "free_pool": "fentry swiotlb_dyn_free",
    "device_init": "fentry swiotlb_dev_init",
}


def described(made: Plan) -> dict[str, str]:
    return {place.name: str(place) for place in made.places()}


def of_function(whole: Layout, name: str, parameters: tuple[str, ...] | None) -> Layout:
    """The same kernel, had the function these parameters (None: did BTF not know them)."""
    functions = {known: its for known, its in whole.btf.functions.items() if known != name}
    if parameters is not None:
        functions[name] = parameters
    return replace(whole, btf=Btf(whole.btf.structs, functions))


def renamed(whole: Layout, name: str, symbol: str | None) -> Layout:
    """The same kernel, had the compiler named the function so (None: inlined it)."""
    addresses = {known: at for known, at in whole.symbols.addresses.items() if known != name}
    if symbol is not None:
        addresses[symbol] = 1
    return replace(whole, symbols=Symbols(addresses))


@pytest.mark.parametrize(
    ("kernel", "kprobes", "expected"),
    [
        (DYNAMIC, True, DYNAMIC_FENTRY),
        (
            DYNAMIC,
            False,
            DYNAMIC_FENTRY | {"alloc_pool": "absent: transient pools are not seen before their first mapping"},
        ),
        (DEBIAN, True, STATIC_FENTRY),
        (DEBIAN, False, STATIC_FENTRY),
        (DEBIAN_6_1, True, OLD_FENTRY),
        (DEBIAN_6_1, False, OLD_FENTRY),
        (DEBIAN_7_3, True, STATIC_FENTRY),
        (MICRO_VM, False, STATIC_FENTRY),
    ],
    ids=[
        "dynamic",
        "dynamic without kprobes",
        "debian",
        "debian without kprobes",
        "debian 6.1",
        "debian 6.1 without kprobes",
        "debian 7.3",
        "micro-vm",
    ],
)
def test_golden_plans(kernel: Layout, kprobes: bool, expected: dict[str, str]) -> None:
    assert described(plan.make(kernel, kprobes=kprobes)) == expected


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (
            DYNAMIC,
            {
                "find_slots": "kprobe+kretprobe swiotlb_find_slots",
                "map": "derived from find_slots",
                "unmap": "kprobe+kretprobe __swiotlb_tbl_unmap_single",
                "grow": "kprobe+kretprobe swiotlb_dyn_alloc",
                "alloc_pool": "kretprobe swiotlb_alloc_pool.isra.0",
                "add_pool": "derived from grow",
                "free_pool": "kprobe swiotlb_dyn_free",
                "device_init": "kprobe swiotlb_dev_init",
            },
        ),
        (
            DEBIAN,
            {
                "find_slots": "derived from map",
                "map": "kprobe+kretprobe swiotlb_tbl_map_single",
                "unmap": "kprobe+kretprobe __swiotlb_tbl_unmap_single",
                "device_init": "kprobe swiotlb_dev_init",
            },
        ),
        (
            DEBIAN_6_1,
            {
                "find_slots": "derived from map",
                "map": "kprobe+kretprobe swiotlb_tbl_map_single",
                "unmap": "kprobe+kretprobe swiotlb_tbl_unmap_single",
                "device_init": "kprobe device_initialize",
            },
        ),
    ],
    ids=["dynamic", "debian", "debian 6.1"],
)
def test_kprobes_can_be_preferred(kernel: Layout, expected: dict[str, str]) -> None:
    assert described(plan.make(kernel, kprobes=True, prefer=How.KPROBE)) == expected


def test_preferring_kprobes_does_not_conjure_them_up() -> None:
    assert described(plan.make(DEBIAN, kprobes=False, prefer=How.KPROBE)) == STATIC_FENTRY


def test_hooks_of_growth_are_only_planned_where_pools_can_grow() -> None:
    growth = {hook.name for hook in HOOKS if hook.dynamic_only}
    assert growth == {"grow", "alloc_pool", "add_pool", "free_pool"}
    assert growth <= set(described(plan.make(DYNAMIC, kprobes=True)))
    assert not growth & set(described(plan.make(DEBIAN, kprobes=True)))


def test_an_out_of_line_add_mem_pool_is_probed() -> None:
    kernel = of_function(renamed(DYNAMIC, "", "add_mem_pool"), "add_mem_pool", ("*mem", "*pool"))
    assert described(plan.make(kernel, kprobes=True))["add_pool"] == "fentry+fexit add_mem_pool"


@pytest.mark.parametrize("before", [("*dev",), ("*dev", "*mem")], ids=["6.6", "7.3"])
def test_an_out_of_line_alloc_pool_is_probed_at_its_return(before: tuple[str, ...]) -> None:
    parameters = (*before, "minslabs", "nslabs", "nareas", "phys_limit", "gfp")
    whole = of_function(
        renamed(DYNAMIC, "swiotlb_alloc_pool.isra.0", "swiotlb_alloc_pool"), "swiotlb_alloc_pool", parameters
    )
    made = plan.make(whole, kprobes=True)
    assert described(made)["alloc_pool"] == "fentry+fexit swiotlb_alloc_pool"
    assert made.defines()["ALLOC_POOL_RESULT"] == str(len(parameters))


def test_growth_of_7_3_ends_in_a_work_function() -> None:
    kernel = of_function(
        renamed(DYNAMIC, "swiotlb_dyn_free", "swiotlb_dyn_free_work"), "swiotlb_dyn_free_work", ("*work",)
    )
    assert described(plan.make(kernel, kprobes=True))["free_pool"] == "fentry swiotlb_dyn_free_work"


@pytest.mark.parametrize(
    ("symbol", "hook", "instead"),
    [
        ("swiotlb_find_slots", "find_slots", "derived from map"),
        ("swiotlb_dyn_alloc", "grow", "absent: growth is not seen"),
        ("add_mem_pool", "add_pool", "derived from grow"),
    ],
)
def test_a_clone_is_not_probed_where_arguments_are_read(symbol: str, hook: str, instead: str) -> None:
    """The compiler may have moved or dropped a clone's arguments."""
    kernel = renamed(DYNAMIC, symbol, f"{symbol}.isra.0")
    assert described(plan.make(kernel, kprobes=True))[hook] == instead


def test_a_clone_of_a_necessary_function_does_not_serve() -> None:
    kernel = renamed(DYNAMIC, "__swiotlb_tbl_unmap_single", "__swiotlb_tbl_unmap_single.isra.0")
    with pytest.raises(CannotError, match="nothing attach to __swiotlb_tbl_unmap_single"):
        plan.make(kernel, kprobes=True)


@pytest.mark.parametrize("prefer", [How.FENTRY, How.KPROBE])
def test_a_function_of_another_shape_is_not_probed(prefer: How) -> None:
    """One parameter more: its arguments are not where we read them."""
    other = of_function(
        DYNAMIC, "swiotlb_find_slots", ("*dev", "orig_addr", "alloc_size", "alloc_align_mask", "new", "**retpool")
    )
    made = plan.make(other, kprobes=True, prefer=prefer)
    assert described(made)["find_slots"] == "derived from map"
    assert "swiotlb_tbl_map_single" in described(made)["map"]


def test_a_parameter_that_became_a_pointer_is_another_shape() -> None:
    pointed = ("*dev", "orig_addr", "*alloc_size", "alloc_align_mask", "**retpool")
    made = plan.make(of_function(DYNAMIC, "swiotlb_find_slots", pointed), kprobes=True)
    assert described(made)["find_slots"] == "derived from map"


def test_attrs_behind_a_pointer_are_read_through_it() -> None:
    assert plan.make(DEBIAN_7_3, kprobes=True).defines()["MAP_attrs_POINTER"] == "1"
    assert "MAP_attrs_POINTER" not in plan.make(DEBIAN, kprobes=True).defines()


def test_a_function_btf_does_not_know_gets_a_kprobe() -> None:
    made = plan.make(of_function(DEBIAN, "swiotlb_tbl_map_single", None), kprobes=True)
    assert described(made)["map"] == "kprobe+kretprobe swiotlb_tbl_map_single"


def test_fentry_of_map_is_worth_more_than_a_kprobe_of_find_slots() -> None:
    made = plan.make(DYNAMIC, kprobes=True, refused={("find_slots", How.FENTRY): "no"})
    assert described(made)["find_slots"] == "derived from map (refused: fentry: no)"
    assert described(made)["map"] == "fentry+fexit swiotlb_tbl_map_single"


def test_of_equals_find_slots_is_taken_and_map_would_only_cost() -> None:
    for prefer in (How.FENTRY, How.KPROBE):
        probed = {attached.hook.name for attached in plan.make(DYNAMIC, kprobes=True, prefer=prefer).probed()}
        assert "find_slots" in probed
        assert "map" not in probed


def test_what_the_kernel_turned_down_falls_to_the_next_candidate_and_says_why() -> None:
    made = plan.make(DEBIAN, kprobes=True, refused={("unmap", How.FENTRY): "no trampoline"})
    assert made.how("unmap") is How.KPROBE
    assert described(made)["unmap"] == "kprobe+kretprobe __swiotlb_tbl_unmap_single (refused: fentry: no trampoline)"
    assert made.how("map") is How.FENTRY


def test_an_optional_hook_that_was_turned_down_everywhere_is_absent_and_says_what_is_lost() -> None:
    refused = {("free_pool", How.FENTRY): "no", ("free_pool", How.KPROBE): "no"}
    made = plan.make(DYNAMIC, kprobes=True, refused=refused)
    assert made.how("free_pool") is How.ABSENT
    assert made.notes() == ("free_pool: when a transient pool's memory goes back is not seen",)


def test_a_complete_plan_has_nothing_to_note() -> None:
    assert plan.make(DYNAMIC, kprobes=True).notes() == ()


def test_without_grow_nothing_tells_of_added_pools() -> None:
    made = plan.make(renamed(DYNAMIC, "swiotlb_dyn_alloc", None), kprobes=True)
    assert made.how("grow") is How.ABSENT
    assert made.how("add_pool") is How.ABSENT
    assert any(note.startswith("grow: ") for note in made.notes())


def test_a_necessary_hook_that_cannot_be_had_is_named_with_every_reason() -> None:
    refused = {("unmap", How.FENTRY): "not allowed by the verifier", ("unmap", How.KPROBE): "blacklisted"}
    with pytest.raises(CannotError) as failed:
        plan.make(DEBIAN, kprobes=True, refused=refused)
    assert "__swiotlb_tbl_unmap_single" in str(failed.value)
    assert "fentry: not allowed by the verifier; kprobe: blacklisted" in str(failed.value)


def test_mappings_need_one_of_two_functions_and_both_are_named() -> None:
    kernel = renamed(DEBIAN, "swiotlb_tbl_map_single", None)
    with pytest.raises(CannotError, match="swiotlb_find_slots or swiotlb_tbl_map_single"):
        plan.make(kernel, kprobes=True)


def test_where_nothing_was_tried_the_error_says_why_not() -> None:
    kernel = of_function(MICRO_VM, "swiotlb_tbl_map_single", ("dev",))
    with pytest.raises(CannotError, match=r"swiotlb_tbl_map_single .*of another shape"):
        plan.make(kernel, kprobes=False)


# ---- 6.1: seven parameters are more than fentry could take on x86 before 6.6


def test_with_an_iommu_or_xen_mappings_are_seen_where_all_of_them_come_by() -> None:
    made = plan.make(DEBIAN_6_1, kprobes=True, direct_only=False)
    assert described(made) == OLD_FENTRY | {"map": "kprobe+kretprobe swiotlb_tbl_map_single"}
    assert [note for note in made.notes() if note.startswith("map: by kprobes")]
    with pytest.raises(CannotError, match="swiotlb_find_slots or swiotlb_tbl_map_single"):
        plan.make(DEBIAN_6_1, kprobes=False, direct_only=False)


def test_swiotlb_map_is_not_asked_where_fentry_takes_the_function_itself() -> None:
    """Since 6.6; from there to 6.9 the function still has the seven parameters."""
    seven = DEBIAN_6_1.btf.functions["swiotlb_tbl_map_single"]
    made = plan.make(of_function(DEBIAN, "swiotlb_tbl_map_single", seven), kprobes=True)
    assert described(made)["map"] == "fentry+fexit swiotlb_tbl_map_single"
    assert made.defines()["MAP_alloc_size"] == "3"
    foreign = of_function(DEBIAN, "swiotlb_tbl_map_single", ("*dev",))
    with pytest.raises(CannotError, match="of another shape"):
        plan.make(foreign, kprobes=True)


def test_what_swiotlb_map_is_not_told_lies_nowhere() -> None:
    defined = plan.make(DEBIAN_6_1, kprobes=True).defines()
    places = {name: defined[f"MAP_{name}"] for name in ("orig_addr", "mapping_size", "alloc_size", "alloc_align_mask")}
    assert places == {"orig_addr": "1", "mapping_size": "2", "alloc_size": "-1", "alloc_align_mask": "-1"}


def test_a_kprobe_is_told_how_many_arguments_to_remember() -> None:
    assert plan.make(DEBIAN_6_1, kprobes=True, prefer=How.KPROBE).defines()["ARGUMENTS"] == "7"
    assert plan.make(DEBIAN, kprobes=True, prefer=How.KPROBE).defines()["ARGUMENTS"] == "6"


# ---- restricted pools


def with_functions(whole: Layout, functions: Mapping[str, tuple[str, ...]]) -> Layout:
    """The same kernel, had it these functions too, out of line."""
    return replace(
        whole,
        btf=Btf(whole.btf.structs, {**whole.btf.functions, **functions}),
        symbols=Symbols({**whole.symbols.addresses, **dict.fromkeys(functions, 1)}),
    )


RESTRICTED = {"swiotlb_free": ("*dev", "*page", "size"), "swiotlb_free_from_pool": ("*dev", "tlb_addr", "*pool")}


def test_what_searches_without_a_map_is_seen_to_give_back_without_an_unmap() -> None:
    made = described(plan.make(with_functions(DYNAMIC, RESTRICTED), kprobes=True))
    assert made["free"] == "fentry+fexit swiotlb_free"
    assert made["free_from_pool"] == "fentry+fexit swiotlb_free_from_pool"


def test_where_those_searches_are_not_seen_neither_is_what_they_give_back() -> None:
    made = described(plan.make(with_functions(DEBIAN, RESTRICTED), kprobes=True))
    assert "free" not in made
    assert "free_from_pool" not in made
