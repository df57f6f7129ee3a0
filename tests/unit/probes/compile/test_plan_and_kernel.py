"""What a plan tells the compiler, what it must be told by BTF, and what sysfs says of probes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.hooks import HOOKS, Hook
from swiotlb_top.kernel.layout import FUNCTIONS
from swiotlb_top.probes.attach.loader import plan_for
from swiotlb_top.probes.compile import plan
from swiotlb_top.state import How
from tests.kernels import KERNELS, layout_of
from tests.unit.probes.compile.test_plan import DEBIAN, DEBIAN_6_1, DYNAMIC, described

# ---- what the compiler and BTF must know


def test_a_plan_is_told_to_the_compiler_hook_by_hook() -> None:
    assert plan.make(DYNAMIC, kprobes=True).defines() == {
        "DYNAMIC": "1",
        "ANY_KPROBE": "1",
        "ARGUMENTS": "6",
        "HOOK_FIND_SLOTS": "swiotlb_find_slots",
        "HOOK_FIND_SLOTS_FENTRY": "1",
        "FIND_SLOTS_orig_addr": "1",
        "FIND_SLOTS_alloc_size": "2",
        "FIND_SLOTS_alloc_align_mask": "3",
        "FIND_SLOTS_retpool": "4",
        "FIND_SLOTS_RESULT": "5",
        "HOOK_UNMAP": "__swiotlb_tbl_unmap_single",
        "HOOK_UNMAP_FENTRY": "1",
        "UNMAP_tlb_addr": "1",
        "UNMAP_mapping_size": "2",
        "UNMAP_dir": "3",
        "UNMAP_attrs": "4",
        "UNMAP_pool": "5",
        "UNMAP_RESULT": "6",
        "HOOK_GROW": "swiotlb_dyn_alloc",
        "HOOK_GROW_FENTRY": "1",
        "GROW_work": "0",
        "GROW_RESULT": "1",
        "HOOK_ALLOC_POOL": "swiotlb_alloc_pool.isra.0",
        "HOOK_ALLOC_POOL_KPROBE": "1",
        "HOOK_FREE_POOL": "swiotlb_dyn_free",
        "HOOK_FREE_POOL_FENTRY": "1",
        "HOOK_DEVICE_INIT": "swiotlb_dev_init",
        "HOOK_DEVICE_INIT_FENTRY": "1",
        "HOOK_SYNC_DEVICE": "__swiotlb_sync_single_for_device",
        "HOOK_SYNC_DEVICE_KPROBE": "1",
        "SYNC_DEVICE_tlb_addr": "1",
        "HOOK_SYNC_CPU": "__swiotlb_sync_single_for_cpu",
        "HOOK_SYNC_CPU_KPROBE": "1",
        "SYNC_CPU_tlb_addr": "1",
    }
    debian = plan.make(DEBIAN, kprobes=True)
    assert not any(name in debian.defines() for name in ("DYNAMIC", "HOOK_FIND_SLOTS"))
    assert {attached.how for attached in debian.probed()} == {How.FENTRY}
    assert "ANY_KPROBE" not in replace(debian, syncs=()).defines()


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name)
def test_every_function_of_a_hook_is_looked_up_and_has_what_is_read(hook: Hook) -> None:
    assert set(hook.symbols) <= set(FUNCTIONS)
    everywhere = [set(prototype.places()) for prototype in hook.prototypes]
    assert set(hook.reads) <= set.union(*everywhere)
    assert all(prototype.places().get("dev", 0) == 0 for prototype in hook.prototypes)


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_recorded_function_has_a_shape_that_is_known(kernel: str) -> None:
    shapes = {(prototype.symbol, prototype.parameters) for hook in HOOKS for prototype in hook.prototypes}
    assert set(layout_of(kernel).btf.functions.items()) <= shapes


# ---- what sysfs knows


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    """sysfs of a machine with kprobes and without an IOMMU."""
    (tmp_path / "bus/event_source/devices/kprobe").mkdir(parents=True)
    (tmp_path / "class/iommu").mkdir(parents=True)
    return tmp_path


def test_sysfs_says_whether_there_are_kprobes(sys: Path) -> None:
    made = plan_for(DEBIAN, prefer=How.KPROBE, sys=sys, release="6.12.117+deb12-amd64")
    assert made.how("map") is How.KPROBE
    (sys / "bus/event_source/devices/kprobe").rmdir()
    made = plan_for(DEBIAN, prefer=How.KPROBE, sys=sys, release="6.12.117+deb12-amd64")
    assert made.how("map") is How.FENTRY


@pytest.mark.parametrize(
    ("release", "how"),
    [("6.6.119", How.FENTRY), ("6.7.0-rc1", How.KPROBE), ("7.0", How.KPROBE), ("unheard of", How.FENTRY)],
)
def test_kprobes_of_a_kernel_that_does_not_count_what_they_miss_are_not_used(sys: Path, release: str, how: How) -> None:
    assert plan_for(DEBIAN, prefer=How.KPROBE, sys=sys, release=release).how("map") is how


def test_6_1_is_watched_only_where_all_mappings_are_direct(sys: Path) -> None:
    assert described(plan_for(DEBIAN_6_1, sys=sys, release="6.1.0-56-amd64"))["map"] == "fentry+fexit swiotlb_map"
    (sys / "class/iommu/dmar0").mkdir()
    with pytest.raises(CannotError, match="tells what it misses"):
        plan_for(DEBIAN_6_1, sys=sys, release="6.1.0-56-amd64")


def test_where_types_come_from_a_file_and_kprobes_count_not_what_they_miss_that_is_the_reason(sys: Path) -> None:
    layout = replace(DEBIAN, btf=replace(DEBIAN.btf, of_kernel=False))
    assert plan_for(layout, sys=sys, release="6.7.0").how("map") is How.KPROBE
    with pytest.raises(CannotError, match=r"counts the calls that kprobes miss \(since 6\.7\)"):
        plan_for(layout, sys=sys, release="6.6.119")


def test_xen_maps_by_itself(sys: Path) -> None:
    (sys / "hypervisor").mkdir()
    (sys / "hypervisor/type").write_text("xen\n")
    with pytest.raises(CannotError, match="tells what it misses"):
        plan_for(DEBIAN_6_1, sys=sys, release="6.1.0-56-amd64")
