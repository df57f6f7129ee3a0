"""A line's numbers are held against the reference allocator: what is deduced of them is what it would say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.allocator import Cause
from swiotlb_top.constants import IO_TLB_SEGSIZE, MAX_ALLOC_BYTES
from swiotlb_top.kernel_log.causes import LogCause, Verdict, cause_of, least_used_without_run, needed_slots
from swiotlb_top.kernel_log.lines import read


def _verdict(size: int, total: int, used: int) -> Verdict:
    line = read(
        f"nvme 0000:00:01.0: swiotlb buffer is full (sz: {size} bytes), total {total} (slots), used {used} (slots)"
    )
    assert line is not None
    found = cause_of(line)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("size", "total", "used", "cause"),
    [
        (MAX_ALLOC_BYTES, 512, 511, LogCause.EXHAUSTED),
        (MAX_ALLOC_BYTES, 512, 512, LogCause.EXHAUSTED),
        (MAX_ALLOC_BYTES, 512, 4, LogCause.NO_RUN),
        (MAX_ALLOC_BYTES, 512, 3, LogCause.UNSUITABLE_RUN),
        (MAX_ALLOC_BYTES + 1, 512, 0, LogCause.TOO_LARGE),
        (1, 512, 512, LogCause.EXHAUSTED),
        (1, 512, 511, LogCause.UNSUITABLE_RUN),
        (4096, 512, 256, LogCause.NO_RUN),
        (0, 512, 512, LogCause.EXHAUSTED),
        (4096, 0, 0, LogCause.NOT_INITIALISED),
        (1 << 20, 0, 0, LogCause.NOT_INITIALISED),
        (4096, 512, 513, LogCause.UNTOLD),
    ],
)
def test_the_cause_follows_from_the_numbers(size: int, total: int, used: int, cause: LogCause) -> None:
    assert _verdict(size, total, used).cause is cause


@pytest.mark.parametrize("size", [4294967294, -2, 18446744073709551614, 1 << 30])
def test_a_size_that_nobody_means_is_said_to_be_one(size: int) -> None:
    found = _verdict(size, 512, 0)
    assert found.cause is LogCause.ABSURD_SIZE
    assert "no size that anybody means" in found.remarks[0]


@pytest.mark.parametrize("used", [18446744073709551615, 4294967295])
def test_a_counter_that_fell_below_0_is_no_number_of_slots(used: int) -> None:
    found = _verdict(4096, 32768, used)
    assert found.cause is LogCause.UNTOLD
    assert "fell below 0" in found.remarks[0]


def test_what_padding_may_have_made_too_large_is_said() -> None:
    assert "too large" in _verdict(MAX_ALLOC_BYTES, 32768, 128).remarks[0]
    assert not any("too large" in remark for remark in _verdict(65536, 32768, 128).remarks)


@given(st.data(), st.integers(1, 4), st.integers(1, IO_TLB_SEGSIZE))
def test_so_few_slots_in_use_always_leave_a_run(data: st.DataObject, sets: int, needed: int) -> None:
    total = sets * IO_TLB_SEGSIZE
    most = least_used_without_run(total, needed) - 1
    used = data.draw(st.sets(st.integers(0, total - 1), max_size=most))
    runs = (
        all(slot not in used for slot in range(begin, begin + needed))
        for of_set in range(sets)
        for begin in range(of_set * IO_TLB_SEGSIZE, (of_set + 1) * IO_TLB_SEGSIZE - needed + 1)
    )
    assert any(runs)


@pytest.mark.parametrize("needed", [1, 2, 3, 50, 64, 65, 127, 128])
def test_one_slot_more_can_leave_none(needed: int) -> None:
    used = {slot for slot in range(IO_TLB_SEGSIZE) if slot % needed == needed - 1}
    assert len(used) == least_used_without_run(IO_TLB_SEGSIZE, needed)
    assert all(
        any(slot in used for slot in range(begin, begin + needed)) for begin in range(IO_TLB_SEGSIZE - needed + 1)
    )


@given(st.integers(-(2**63), 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_any_numbers_have_a_cause(size: int, total: int, used: int) -> None:
    found = _verdict(size, total, used)
    assert found.cause.fails_maps
    assert isinstance(found.cause.possible[0], Cause)


def test_a_map_takes_a_slot_at_least() -> None:
    assert [needed_slots(size) for size in (0, 1, 2048, 2049, 262144)] == [1, 1, 1, 2, 128]


@pytest.mark.parametrize(
    ("address", "mask", "limit", "said"),
    [
        ("41ad44000", "ffffffff", "4ffffffff", "takes 35 bits, and the device's DMA mask has 32"),
        ("1faf00000", "ffffffff", "0", "takes 33 bits, and the device's DMA mask has 32"),
        ("f0000000", "ffffffff", "3fffffff", "beyond the limit of the bus"),
        ("ffffe800", "ffffffff", "0", "takes 33 bits"),
        ("1000", "ffffffff", "0", "it may be below where they begin"),
        ("ffe7a3fcc18c0000", "7fffffffffffffff", "0", "No machine has memory at"),
    ],
)
def test_how_far_an_address_is_out_of_reach_is_said(address: str, mask: str, limit: str, said: str) -> None:
    line = read(f"nvme 0: swiotlb addr 0x{address:0>16}+8192 overflow (mask {mask}, bus limit {limit}).")
    assert line is not None
    found = cause_of(line)
    assert found is not None
    assert found.cause is LogCause.UNREACHABLE
    assert said in found.remarks[0]
