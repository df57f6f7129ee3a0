"""Reading swiotlb's debugfs files, as real kernels lay them out."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from swiotlb_top.errors import CannotError, Exit
from swiotlb_top.kernel.debugfs import (
    HIWATER_LOCKED,
    HIWATER_UNKEPT,
    HIWATER_UNTRACKED,
    Counters,
    read_default,
    read_restricted,
)
from swiotlb_top.kernel.no_pool import NoPoolError
from swiotlb_top.sources.debugfs import TOTALS_ONLY, DebugfsSource

DYNAMIC_6_12 = {"io_tlb_nslabs": 3072, "io_tlb_used": 40, "io_tlb_used_hiwater": 2688, "io_tlb_transient_nslabs": 0}
"""The lab kernel after it grew five times."""
STATIC_6_12 = {"io_tlb_nslabs": 512, "io_tlb_used": 0, "io_tlb_used_hiwater": 512}
"""A distribution's kernel, without CONFIG_SWIOTLB_DYNAMIC."""
SEED_6_1 = {"io_tlb_nslabs": 32768, "io_tlb_used": 2}
"""Before the high water was added."""
UNTRACKED_7_3 = {"io_tlb_nslabs": 32768, "io_tlb_used": 2, "io_tlb_used_hiwater": 0}
"""Booted without track_hiwater."""


def debugfs(root: Path, files: dict[str, int] | None, at: str = "swiotlb") -> Path:
    (root / "clk").mkdir(exist_ok=True)  # a mounted debugfs is never empty
    if files is not None:
        (root / at).mkdir(parents=True)
        for name, value in files.items():
            (root / at / name).write_text(f"{value}\n")
    return root


@pytest.mark.parametrize(
    ("files", "counters"),
    [
        (DYNAMIC_6_12, Counters(3072, 40, 2688, 0)),
        (STATIC_6_12, Counters(512, 0, 512, -1)),
        (SEED_6_1, Counters(32768, 2, -1, -1, HIWATER_UNKEPT)),
        (UNTRACKED_7_3, Counters(32768, 2, -1, -1, HIWATER_UNTRACKED)),
    ],
)
def test_counters_a_kernel_does_not_keep_are_unknown(tmp_path: Path, files: dict[str, int], counters: Counters) -> None:
    assert read_default(debugfs(tmp_path, files)) == counters


def test_an_empty_mount_point_says_how_to_mount_it(tmp_path: Path) -> None:
    with pytest.raises(CannotError, match=f"debugfs is not mounted at {tmp_path}; mount -t debugfs none") as refusal:
        read_default(tmp_path, machine=tmp_path)
    assert refusal.value.exit_code is Exit.CANNOT
    with pytest.raises(CannotError, match="not mounted"):
        read_default(tmp_path / "missing", machine=tmp_path)


def test_where_swiotlb_is_off_that_is_the_reason_whether_debugfs_is_mounted_or_not(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cmdline").write_text("root=/dev/vda swiotlb=noforce\n")
    with pytest.raises(NoPoolError, match="booted with swiotlb=noforce"):
        read_default(tmp_path / "missing", machine=tmp_path)


def test_no_directory_says_the_kernel_has_no_swiotlb(tmp_path: Path) -> None:
    with pytest.raises(CannotError, match="without CONFIG_SWIOTLB"):
        read_default(debugfs(tmp_path, None))


def test_a_directory_without_files_says_swiotlb_has_no_memory(tmp_path: Path) -> None:
    with pytest.raises(NoPoolError, match="swiotlb has no memory"):
        read_default(debugfs(tmp_path, {}), machine=tmp_path)


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.EACCES, "run as root"), (errno.EPERM, "closed even to root"), (errno.EIO, "cannot be read")],
)
def test_a_refusal_says_what_to_do_about_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(CannotError, match=advice):
        read_default(tmp_path)


def test_what_is_no_number_is_no_traceback(tmp_path: Path) -> None:
    debugfs(tmp_path, STATIC_6_12)
    (tmp_path / "swiotlb" / "io_tlb_used").write_text("many\n")
    with pytest.raises(CannotError, match="cannot be read"):
        read_default(tmp_path)


def test_restricted_pools_are_told_by_name(tmp_path: Path) -> None:
    debugfs(tmp_path, STATIC_6_12)
    debugfs(tmp_path, {"io_tlb_nslabs": 2048, "io_tlb_used": 12}, at="swiotlb/wifi@50000000")
    assert read_restricted(tmp_path) == (("wifi@50000000", Counters(2048, 12, -1, -1, HIWATER_UNKEPT)),)
    assert "restricted pool wifi@50000000: 12 of 2048 slots used" in DebugfsSource(tmp_path).snapshot().notes


def test_a_restricted_pool_that_goes_while_it_is_read_is_left_out_and_the_others_are_told(tmp_path: Path) -> None:
    debugfs(tmp_path, STATIC_6_12)
    debugfs(tmp_path, {}, at="swiotlb/gone@40000000")
    debugfs(tmp_path, {"io_tlb_nslabs": 2048, "io_tlb_used": 12}, at="swiotlb/wifi@50000000")
    assert [name for name, _ in read_restricted(tmp_path)] == ["wifi@50000000"]


def test_a_restricted_pool_that_says_nonsense_is_no_pool_that_is_not_there(tmp_path: Path) -> None:
    debugfs(tmp_path, STATIC_6_12)
    debugfs(tmp_path, {"io_tlb_nslabs": 2048, "io_tlb_used": 12}, at="swiotlb/wifi@50000000")
    (tmp_path / "swiotlb/wifi@50000000/io_tlb_used").write_text("many\n")
    with pytest.raises(CannotError, match="cannot be read: invalid literal"):
        read_restricted(tmp_path)


def test_a_restricted_pool_whose_count_cannot_be_true_is_told_without_it(tmp_path: Path) -> None:
    debugfs(tmp_path, STATIC_6_12)
    debugfs(tmp_path, {"io_tlb_nslabs": 2048, "io_tlb_used": 2**64 - 1}, at="swiotlb/wifi@50000000")
    assert DebugfsSource(tmp_path).snapshot().notes == ("restricted pool wifi@50000000: 2048 slots, used: not known",)


def test_the_source_knows_slots_and_says_what_it_does_not_know(tmp_path: Path) -> None:
    source = DebugfsSource(debugfs(tmp_path, DYNAMIC_6_12), clock=lambda: 7, kernel_release="6.12.117")
    snapshot = source.snapshot()
    assert (snapshot.time_ns, snapshot.source, snapshot.kernel_release) == (7, "debugfs", "6.12.117")
    assert (snapshot.nslabs, snapshot.used_slots, snapshot.used_hiwater_slots) == (3072, 40, 2688)
    assert {snapshot.maps, snapshot.map_failures, snapshot.unmaps, snapshot.growths} == {-1}
    assert snapshot.unseen == TOTALS_ONLY
    assert snapshot.notes == ()


@pytest.mark.parametrize(("files", "why"), [(UNTRACKED_7_3, HIWATER_UNTRACKED), (SEED_6_1, HIWATER_UNKEPT)])
def test_a_high_water_that_is_not_kept_is_explained(tmp_path: Path, files: dict[str, int], why: str) -> None:
    assert DebugfsSource(debugfs(tmp_path, files)).snapshot().notes == (why,)


def refuse_to_read(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Reading a file of this name fails."""
    read = Path.read_text

    def refusing(path: Path, encoding: str) -> str:
        if path.name == name:
            raise OSError(number, os.strerror(number), str(path))
        return read(path, encoding)

    monkeypatch.setattr(Path, "read_text", refusing)


def test_lockdown_keeps_the_high_water_to_itself_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_read(monkeypatch, "io_tlb_used_hiwater", errno.EPERM)
    counters = read_default(debugfs(tmp_path, DYNAMIC_6_12))
    assert counters == Counters(3072, 40, -1, 0, HIWATER_LOCKED)
    assert DebugfsSource(tmp_path).snapshot().notes == (HIWATER_LOCKED,)


def test_a_high_water_that_only_root_may_read_is_not_called_locked_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_read(monkeypatch, "io_tlb_used_hiwater", errno.EACCES)
    with pytest.raises(CannotError, match="run as root"):
        read_default(debugfs(tmp_path, DYNAMIC_6_12))


def test_each_snapshot_reads_anew(tmp_path: Path) -> None:
    source = DebugfsSource(debugfs(tmp_path, STATIC_6_12))
    assert source.snapshot().used_slots == 0
    (tmp_path / "swiotlb" / "io_tlb_used").write_text("412\n")
    assert source.snapshot().used_slots == 412


def test_the_source_cannot_be_opened_where_there_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(CannotError):
        DebugfsSource(tmp_path)
