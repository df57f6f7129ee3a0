"""What is read from ftrace's own lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.support.ftrace import FAILED, Map, Unmap, maps_by_cpu, traced

HEAD = "# tracer: nop\n#\n# entries-in-buffer/entries-written: 6/6   #P:4\n#\n"
OUTER = (
    "     python3-98      [001] ...1.    20.000001: map: (swiotlb_tbl_map_single+0x4/0x2a0) "
    'device="0000:00:05.0" orig_addr=6144 size=512\n'
)
INNER = (
    "     python3-98      [001] d.s2.    20.000002: map: (swiotlb_tbl_map_single+0x4/0x2a0) "
    'device="0000:00:04.0" orig_addr=4096 size=64\n'
)
RETURN = (
    "     python3-98      [001] d.s2.    20.00000{}: mapped: (dma_map+0x7/0x90 <- swiotlb_tbl_map_single) tlb_addr={}\n"
)
UNMAP = "      <idle>-0       [003] d.h1.    20.000009: unmap: (__swiotlb_tbl_unmap_single+0x4/0x250) tlb_addr=8192\n"


def keep(files: Path, lines: str, lost: int = 0) -> Path:
    (files / "some.status").write_text("1\n")
    (files / "some.out").write_text("wrong\n")
    (files / "some.ftrace").write_text(f"{HEAD}{lines}lost {lost}\n")
    return files


def test_a_call_in_an_interrupt_returns_before_the_one_it_interrupted(tmp_path: Path) -> None:
    lines = OUTER + INNER + RETURN.format(3, 8192) + RETURN.format(4, FAILED) + UNMAP
    came = traced(keep(tmp_path, lines), "some")
    assert came.calls == [
        Map(1, "0000:00:04.0", 4096, 64, 8192, 20_000_003_000),
        Map(1, "0000:00:05.0", 6144, 512, FAILED, 20_000_004_000),
        Unmap(8192),
    ]
    assert came.maps == came.calls[:2]
    assert (came.status, came.out) == (1, "wrong\n")


def test_a_return_whose_entry_was_missed_is_nothing(tmp_path: Path) -> None:
    assert traced(keep(tmp_path, RETURN.format(3, 8192) + UNMAP), "some").calls == [Unmap(8192)]


def test_a_buffer_that_was_too_small_is_told(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="lost 3"):
        traced(keep(tmp_path, OUTER, lost=3), "some")


def test_maps_are_counted_with_those_the_buffer_had_no_room_for(tmp_path: Path) -> None:
    cpus = ("entries: 7\noverrun: 0\ncommit overrun: 5\n", "entries: 1\noverrun: 3\ncommit overrun: 0\n")
    (tmp_path / "some.stats").write_text("".join(cpus))
    assert maps_by_cpu(tmp_path, "some") == [7, 4]
