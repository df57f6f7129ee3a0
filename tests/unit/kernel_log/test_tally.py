"""Counting: by device and cause, each failed map once, and of what was not printed."""

from __future__ import annotations

from swiotlb_top.kernel_log.causes import LogCause
from swiotlb_top.kernel_log.stream import tally
from swiotlb_top.kernel_log.tally import MOST_GROUPS, OTHER, Found

FULL = "[{when}] {who}: swiotlb buffer is full (sz: {size} bytes), total {total} (slots), used {used} (slots)"


def _found(*lines: str) -> Found:
    return tally(line.encode() for line in lines).found()


def _full(who: str, size: int = 8192, used: int = 16, when: str = "1.5", total: int = 32768) -> str:
    return FULL.format(who=who, size=size, used=used, when=when, total=total)


def test_lines_are_counted_by_device_and_cause() -> None:
    found = _found(
        _full("nvme 0000:00:01.0", when="1.5"),
        _full("nvme 0000:00:01.0", size=65536, used=100, when="2.5"),
        _full("nvme 0000:00:01.0", size=1 << 20, when="3.5"),
        _full("udl 2-1.4:1.0", when="4.5"),
    )
    assert [(g.device, g.cause, g.lines) for g in found.groups] == [
        ("0000:00:01.0", LogCause.UNSUITABLE_RUN, 2),
        ("0000:00:01.0", LogCause.TOO_LARGE, 1),
        ("2-1.4:1.0", LogCause.UNSUITABLE_RUN, 1),
    ]
    first = found.groups[0]
    assert (first.first_when, first.last_when, first.last_seconds) == ("[1.5]", "[2.5]", 2.5)
    assert (first.sizes_bytes, first.used_slots, first.total_slots) == ((8192, 65536), (16, 100), (32768, 32768))
    assert found.failed_maps == 4


def test_what_was_not_printed_is_counted_apart() -> None:
    found = _found(
        _full("nvme 0000:00:01.0"),
        "[2.0] swiotlb_tbl_map_single: 26 callbacks suppressed",
        "[7.0] swiotlb_tbl_map_single: 67451 callbacks suppressed",
        "[8.0] net_ratelimit: 12 callbacks suppressed",
    )
    assert found.suppressed == (("swiotlb_tbl_map_single", 67477),)
    assert found.failed_maps == 1
    assert found.groups[0].at_least


def test_a_failure_told_of_twice_is_counted_once() -> None:
    found = _found(
        "[437.548691] dwc3 38200000.dwc3: swiotlb buffer is full (sz: 16384 bytes)",
        "[437.555402] dwc3 38200000.dwc3: DMA: Out of SW-IOMMU space for 16384 bytes",
        "[437.6] nouveau 0000:01:00.0: swiotlb buffer is full (sz: 2097152 bytes)",
        "[437.7] nouveau 0000:01:00.0: swiotlb: coherent allocation failed, size=2097152",
    )
    assert [(g.device, g.lines) for g in found.groups] == [("38200000.dwc3", 1), ("0000:01:00.0", 1)]


def test_the_second_half_alone_is_a_failure_too() -> None:
    echo = "[437.555402] dwc3 38200000.dwc3: DMA: Out of SW-IOMMU space for 16384 bytes"
    found = _found(echo, echo, "[438.0] dwc3 38200000.dwc3: swiotlb buffer is full (sz: 4096 bytes)", echo)
    assert found.failed_maps == 4


def test_an_overflow_after_a_refusal_is_of_the_same_map() -> None:
    full = "[97.28] vc4-drm gpu: swiotlb buffer is full (sz: 708608 bytes), total 32768 (slots), used 0 (slots)"
    overflow = "[97.29] vc4-drm gpu: overflow 0x00000001a7296000+708608 of DMA mask ffffffff bus limit ffffffff"
    assert [g.cause for g in _found(full, overflow).groups] == [LogCause.TOO_LARGE]
    assert [g.cause for g in _found(overflow).groups] == [LogCause.UNREACHABLE]


def test_slots_that_never_come_back_are_noticed() -> None:
    def seen(*used: int, every_s: int) -> bool:
        lines = (_full("rtl8192ee 0000:05:00.0", used=now, when=f"{n * every_s}.5") for n, now in enumerate(used))
        return _found(*lines).groups[0].never_fell

    assert seen(30824, 31000, 32764, every_s=10)
    assert not seen(30824, 32764, 31000, every_s=10)
    assert not seen(30824, 31000, 32764, every_s=1)


def test_any_number_of_devices_takes_no_more_room() -> None:
    found = _found(*(_full(f"nvme device-{number}") for number in range(MOST_GROUPS + 100)))
    assert len(found.groups) == MOST_GROUPS + 1
    assert found.groups[0].device == OTHER
    assert found.groups[0].lines == 100
    assert found.failed_maps == MOST_GROUPS + 100


def test_boot_and_unknown_lines_are_kept_a_few_of_each() -> None:
    found = _found(
        *(f"[0.1] software IO TLB: mapped [mem 0x{number:x}-0x1] (64MB)" for number in range(50)),
        *(f"[0.1] swiotlb: something new, number {number}" for number in range(50)),
    )
    assert 0 < len(found.boot) < 20
    assert 0 < len(found.unknown_samples) < 20
    assert found.unknown == 50
    assert not found.groups
