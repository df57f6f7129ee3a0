"""Where each hook goes: golden plans of recorded kernels, and what happens when the kernel says no."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.btf import Btf
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.kernel.symbols import Symbols
from swiotlb_top.probes import plan
from swiotlb_top.probes.plan import HOOKS, How, Plan
from tests.kernels import layout_of

DYNAMIC = layout_of("dynamic")
DEBIAN = layout_of("debian")
MICRO_VM = layout_of("micro-vm")

STATIC_FENTRY = {
    "find_slots": "derived from map",
    "map": "fentry+fexit swiotlb_tbl_map_single",
    "unmap": "fentry+fexit __swiotlb_tbl_unmap_single",
    "device_init": "fentry swiotlb_dev_init",
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
    return dict(made.describe())


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
        (MICRO_VM, False, STATIC_FENTRY),
    ],
    ids=["dynamic", "dynamic without kprobes", "debian", "debian without kprobes", "micro-vm"],
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
    ],
    ids=["dynamic", "debian"],
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
    kernel = of_function(renamed(DYNAMIC, "", "add_mem_pool"), "add_mem_pool", ("mem", "pool"))
    assert described(plan.make(kernel, kprobes=True))["add_pool"] == "fentry+fexit add_mem_pool"


def test_an_out_of_line_alloc_pool_is_probed_at_its_return() -> None:
    whole = of_function(
        renamed(DYNAMIC, "swiotlb_alloc_pool.isra.0", "swiotlb_alloc_pool"),
        "swiotlb_alloc_pool",
        ("dev", "minslabs", "nslabs", "nareas", "phys_limit", "gfp"),
    )
    assert described(plan.make(whole, kprobes=True))["alloc_pool"] == "fentry+fexit swiotlb_alloc_pool"


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
    """Linux 7.3's swiotlb_find_slots, say, with one parameter more: its arguments are not where we read them."""
    other = of_function(
        DYNAMIC, "swiotlb_find_slots", ("dev", "orig_addr", "alloc_size", "alloc_align_mask", "new", "x")
    )
    made = plan.make(other, kprobes=True, prefer=prefer)
    assert described(made)["find_slots"] == "derived from map"
    assert "swiotlb_tbl_map_single" in described(made)["map"]


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


def test_a_plan_is_told_to_the_compiler_hook_by_hook() -> None:
    assert plan.make(DYNAMIC, kprobes=True).defines() == {
        "DYNAMIC": "1",
        "ANY_KPROBE": "1",
        "HOOK_FIND_SLOTS": "swiotlb_find_slots",
        "HOOK_FIND_SLOTS_FENTRY": "1",
        "HOOK_UNMAP": "__swiotlb_tbl_unmap_single",
        "HOOK_UNMAP_FENTRY": "1",
        "HOOK_GROW": "swiotlb_dyn_alloc",
        "HOOK_GROW_FENTRY": "1",
        "HOOK_ALLOC_POOL": "swiotlb_alloc_pool.isra.0",
        "HOOK_ALLOC_POOL_KPROBE": "1",
        "HOOK_FREE_POOL": "swiotlb_dyn_free",
        "HOOK_FREE_POOL_FENTRY": "1",
        "HOOK_DEVICE_INIT": "swiotlb_dev_init",
        "HOOK_DEVICE_INIT_FENTRY": "1",
    }
    assert not any(
        name in plan.make(DEBIAN, kprobes=True).defines() for name in ("DYNAMIC", "ANY_KPROBE", "HOOK_FIND_SLOTS")
    )
