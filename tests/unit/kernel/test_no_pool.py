"""Why swiotlb has no memory: told from how the machine was booted, and from what memory and IOMMUs it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from swiotlb_top.errors import Exit
from swiotlb_top.kernel.debugfs import read_default
from swiotlb_top.kernel.no_pool import NoPool, NoPoolError, why_no_pool

SMALL = {"DMA": 3_996, "DMA32": 258_014, "Normal": 0, "Movable": 0, "Device": 0}
LARGE = {"DMA": 3_996, "DMA32": 782_336, "Normal": 5_505_024, "Movable": 0, "Device": 0}


def zone(node: int, name: str, present: int) -> str:
    """A zone as ``zoneinfo_show_print()`` prints it, in part."""
    return (
        f"Node {node}, zone {name:>8}\n  pages free     {present // 2}\n        boost    0\n"
        f"        spanned  {present + 99}\n        present  {present}\n        managed  {present - present // 9}\n"
    )


def machine(
    root: Path, *, booted: str = "quiet", zones: tuple[dict[str, int], ...] = (SMALL,), iommu: bool = False
) -> Path:
    """A root with the files that tell; ``zones`` are each node's present pages."""
    for directory in ("proc", "sys/class/iommu"):
        (root / directory).mkdir(parents=True)
    (root / "proc/cmdline").write_text(f"{booted}\n")
    told = "".join(zone(node, name, present) for node, each in enumerate(zones) for name, present in each.items())
    (root / "proc/zoneinfo").write_text(told)
    if iommu:
        (root / "sys/class/iommu/dmar0").mkdir()
    return root


def test_swiotlb_was_switched_off_at_boot(tmp_path: Path) -> None:
    booted = "ro swiotlb=noforce quiet"
    assert why_no_pool(machine(tmp_path, booted=booted, zones=(LARGE,), iommu=True)) is NoPool.NOFORCE


def test_a_machine_whose_memory_devices_reach_needs_no_swiotlb_whatever_size_was_asked_for(tmp_path: Path) -> None:
    assert why_no_pool(machine(tmp_path, booted="swiotlb=512")) is NoPool.ALL_WITHIN_REACH


def test_memory_of_any_node_counts(tmp_path: Path) -> None:
    assert why_no_pool(machine(tmp_path, zones=(SMALL, LARGE))) is NoPool.UNKNOWN


def test_large_memory_behind_an_iommu_needs_no_swiotlb(tmp_path: Path) -> None:
    assert why_no_pool(machine(tmp_path, zones=(LARGE,), iommu=True)) is NoPool.IOMMU


@pytest.mark.parametrize("memory", [(LARGE,), ()])
def test_where_nothing_tells_no_reason_is_made_up(tmp_path: Path, memory: tuple[dict[str, int], ...]) -> None:
    assert why_no_pool(machine(tmp_path, zones=memory)) is NoPool.UNKNOWN


def test_without_proc_no_reason_is_made_up(tmp_path: Path) -> None:
    assert why_no_pool(tmp_path) is NoPool.UNKNOWN


def test_each_reason_is_one_line_that_this_machine_cannot_and_only_a_kernel_switched_off_is_called_off() -> None:
    for why in NoPool:
        error = NoPoolError(why)
        assert (error.exit_code, error.why) == (Exit.CANNOT, why)
        assert "\n" not in str(error)
        assert ("is off" in str(error)) == (why is NoPool.NOFORCE)
        assert "force" not in str(error).replace("noforce", "")


def test_debugfs_without_counters_has_the_same_reason(tmp_path: Path) -> None:
    debugfs = tmp_path / "debug"
    (debugfs / "swiotlb").mkdir(parents=True)
    with pytest.raises(NoPoolError) as refused:
        read_default(debugfs, machine(tmp_path / "machine", booted="swiotlb=512"))
    assert refused.value.why is NoPool.ALL_WITHIN_REACH
