"""Logs are hostile input: of any size, in any encoding, cut anywhere. What can be read of them is."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.kernel_log.stream import read_log

FULL = b"[ 1.5] nvme 0000:00:01.0: swiotlb buffer is full (sz: 8192 bytes), total 32768 (slots), used 16 (slots)"


def _failed(log: bytes) -> int:
    return read_log(io.BytesIO(log)).found.failed_maps


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\n\n\0", b""], ids=repr)
def test_lines_end_in_any_way(ending: bytes) -> None:
    assert _failed(FULL + ending) == 1


def test_a_line_without_an_end_is_cut_and_the_next_is_read() -> None:
    log = b"x" * 10_000_000 + FULL + b"\n" + FULL + b"\n"
    tracemalloc.start()
    try:
        assert _failed(log) == 1
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_line_across_two_chunks_is_one() -> None:
    for before in range((1 << 20) - 120, (1 << 20) + 1, 7):
        assert _failed(b"x" * before + b"\n" + FULL) == 1


def test_nuls_and_bytes_that_are_no_utf_8_do_no_harm() -> None:
    assert _failed(b"\0\0\0" + FULL.replace(b"nvme", b"nv\0me") + b"\xff\xfe\n") == 1
    assert _failed(FULL.decode().encode("utf-16")) == 1
    found = read_log(io.BytesIO(b"\xff\xff\xff" + FULL)).found
    assert found.groups[0].device == "0000:00:01.0"


def test_what_a_mail_has_folded_is_put_together() -> None:
    found = read_log(
        io.BytesIO(
            b"> [  123.951630] hv_storvsc fd1d2cbd-ce7c-535c-966b-eb5f811c95f0: swiotlb\n"
            b"> buffer is full (sz: 65536 bytes), total 32768 (slots), used 0 (slots)\n"
            b"[   10.194343] ath11k_pci 0000:04:00.0: swiotlb buffer is full (sz:\n"
            b"1048583 bytes), total 32768 (slots), used 2529 (slots)\n"
            b"virtio-pci 0000:00:02.0: swiotlb buffer is full (sz: 262144 bytes),\n"
            b"total 524288 (slots), used 523564 (slots)\n"
        )
    ).found
    assert [(g.device, g.cause.value, g.total_slots and g.total_slots[0]) for g in found.groups] == [
        ("fd1d2cbd-ce7c-535c-966b-eb5f811c95f0", "unsuitable_run", 32768),
        ("0000:04:00.0", "too_large", 32768),
        ("0000:00:02.0", "no_run", 524288),
    ]


def test_a_line_that_was_cut_off_is_told_of_all_the_same() -> None:
    assert _failed(FULL[:60]) == 1
    assert _failed(FULL[:60] + b"\n" + FULL) == 1


def test_no_more_is_read_than_so_much_and_that_is_said() -> None:
    read = read_log(io.BytesIO((FULL + b"\n") * 10), most_bytes=(len(FULL) + 1) * 3)
    assert read.found.failed_maps == 3
    assert "only the first" in read.missing
    assert read_log(io.BytesIO(FULL), most_bytes=len(FULL)).missing == ""


def test_device_names_hold_no_escape_sequences() -> None:
    found = read_log(io.BytesIO(FULL.replace(b"nvme", b"\x1b[31mnv\x07me\x1b]0;title\x07"))).found
    assert "\x1b" not in f"{found.groups[0]}"
    assert "\x07" not in f"{found.groups[0]}"


@given(
    st.lists(st.sampled_from([FULL, b"\n", b"swiotlb", b"(sz:", b"[1.", b"\xff", b"\0", b"<4>", b": "]), max_size=40)
)
def test_any_pieces_of_lines_can_be_read(pieces: list[bytes]) -> None:
    read_log(io.BytesIO(b"".join(pieces)))


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_whatever_is_around_it_a_line_is_found(before: bytes, after: bytes) -> None:
    log = before.replace(b"\n", b" ") + b"\n" + FULL + b"\n" + after
    assert _failed(log) >= 1
