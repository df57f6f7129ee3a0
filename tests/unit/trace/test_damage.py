"""A trace that is cut short, damaged or hostile never reads as something else, and never brings the reader down."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.errors import Exit, UnreadableError
from swiotlb_top.trace import Item, TraceReader
from swiotlb_top.trace import format as layout
from swiotlb_top.trace.format import FrameType
from swiotlb_top.trace.items import End
from swiotlb_top.trace.json_payload import end_payload, header_payload
from swiotlb_top.trace.state_payload import state_payload
from tests.unit.trace.test_format_1 import HEADER, ITEMS, RECORDED, STATE

HEADER_FRAME = (FrameType.HEADER, header_payload(HEADER))
END_FRAME = (FrameType.END, end_payload(End({}, 1, 0)))


def read_until_refused(path: Path) -> tuple[list[Item], str]:
    """The items before the fault, and the one line that says what it is."""
    items: list[Item] = []
    with pytest.raises(UnreadableError) as refused:
        items.extend(TraceReader(path))  # extend() keeps what came before the error
    line = str(refused.value)
    assert refused.value.exit_code == Exit.UNREADABLE
    assert line.startswith((str(path), f"no permission to read {path}"))
    assert "\n" not in line
    return items, line


def build(path: Path, *frames: tuple[int, bytes]) -> Path:
    """A trace of exactly these frames, every checksum right."""
    content = layout.preamble()
    crc = layout.preamble_crc(content)
    for frame_type, payload in frames:
        crc = layout.frame_crc(frame_type, payload, crc)
        content += layout.FRAME.pack(frame_type, len(payload), crc) + payload
    path.write_bytes(content)
    return path


def frames_of(content: bytes) -> Iterator[tuple[int, int]]:
    """Where each frame begins and ends."""
    begin = layout.PREAMBLE.size
    while begin < len(content):
        _, length, _ = layout.FRAME.unpack_from(content, begin)
        yield begin, begin + layout.FRAME.size + length
        begin += layout.FRAME.size + length


def test_any_flipped_bit_is_noticed_and_all_before_it_is_read(tmp_path: Path) -> None:
    content = RECORDED.read_bytes()
    frames = list(frames_of(content))
    damaged = tmp_path / "damaged.swtrace"
    damaged.write_bytes(content)
    with damaged.open("r+b", buffering=0) as file:
        for position, byte in enumerate(content):
            whole = list(ITEMS[: sum(end <= position for _, end in frames)])
            for bit in range(8):
                os.pwrite(file.fileno(), bytes((byte ^ 1 << bit,)), position)
                assert read_until_refused(damaged)[0] == whole
            os.pwrite(file.fileno(), bytes((byte,)), position)
    assert list(TraceReader(damaged)) == list(ITEMS)


def test_a_trace_cut_anywhere_gives_its_whole_frames_and_says_so(tmp_path: Path) -> None:
    content = RECORDED.read_bytes()
    frames = list(frames_of(content))
    cut = tmp_path / "cut.swtrace"
    for size in range(1, len(content)):
        cut.write_bytes(content[:size])

        items, line = read_until_refused(cut)

        assert items == list(ITEMS[: sum(end <= size for _, end in frames)])
        assert f"is truncated at byte {size}: " in line
        assert "the recorder did not finish" in line


def test_a_frame_lost_doubled_or_swapped_is_damage(tmp_path: Path) -> None:
    content = RECORDED.read_bytes()
    frames = list(frames_of(content))
    tampered = tmp_path / "tampered.swtrace"
    for (begin, middle), (_, end) in pairwise(frames[1:]):
        first, second = content[begin:middle], content[middle:end]
        for replacement in (second, first + first + second, second + first):
            tampered.write_bytes(content[:begin] + replacement + content[end:])
            assert "damaged at byte" in read_until_refused(tampered)[1]


def test_something_after_the_end_is_damage(tmp_path: Path) -> None:
    longer = tmp_path / "longer.swtrace"
    longer.write_bytes(RECORDED.read_bytes() + b"\0")

    items, line = read_until_refused(longer)

    assert items == list(ITEMS)
    assert f"damaged at byte {RECORDED.stat().st_size}: something follows its end" in line


def test_a_newer_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "newer.swtrace"
    unchecked = layout.PREAMBLE.pack(layout.MAGIC, 2, 0)
    path.write_bytes(layout.PREAMBLE.pack(layout.MAGIC, 2, layout.preamble_crc(unchecked)))

    _, line = read_until_refused(path)

    assert line.startswith(f"{path} was written by a newer swiotlb-top (format 2); this one reads 1")


def test_an_unknown_frame_that_is_optional_is_skipped(tmp_path: Path) -> None:
    path = build(tmp_path / "a.swtrace", HEADER_FRAME, (layout.OPTIONAL_BIT | 77, b"later"), END_FRAME)

    assert list(TraceReader(path)) == [HEADER, End({}, 1, 0)]


def test_an_unknown_frame_that_is_required_needs_a_newer_reader(tmp_path: Path) -> None:
    path = build(tmp_path / "a.swtrace", HEADER_FRAME, (77, b"later"), END_FRAME)

    items, line = read_until_refused(path)

    assert items == [HEADER]
    assert "was written by a newer swiotlb-top (frame type 77)" in line


def test_json_keys_of_a_later_version_are_ignored(tmp_path: Path) -> None:
    later = json.loads(header_payload(HEADER)) | {"later": 1}
    later["kernel"]["later"] = [2]
    path = build(tmp_path / "a.swtrace", (FrameType.HEADER, json.dumps(later).encode()), END_FRAME)

    assert TraceReader(path).header == HEADER


@pytest.mark.parametrize(
    "frames",
    [(END_FRAME,), (END_FRAME, HEADER_FRAME), (HEADER_FRAME, HEADER_FRAME), ((layout.OPTIONAL_BIT, b""), HEADER_FRAME)],
    ids=["no header", "header last", "two headers", "header second"],
)
def test_the_header_comes_first_and_once(tmp_path: Path, frames: tuple[tuple[int, bytes], ...]) -> None:
    path = build(tmp_path / "a.swtrace", *frames)

    assert "its header is not where it belongs" in read_until_refused(path)[1]


STATE_JSON: dict[str, Any] = json.loads(state_payload(STATE)[4:].split(b"x\x9c")[0])


def _state(meta: object, arrays: bytes = b"") -> bytes:
    encoded = json.dumps(meta).encode()
    return struct.pack("<I", len(encoded)) + encoded + zlib.compress(arrays)


def _with_pool(**fields: object) -> dict[str, Any]:
    return STATE_JSON | {"pools": [STATE_JSON["pools"][0] | fields]}


HOSTILE = {
    "state: no room": (FrameType.STATE, b"ab", "no room"),
    "state: JSON too long": (FrameType.STATE, struct.pack("<I", 1 << 31), "bytes of JSON, more than"),
    "state: no JSON": (FrameType.STATE, struct.pack("<I", 1) + b"{", "damaged"),
    "state: slots beyond reason": (FrameType.STATE, _state(_with_pool(nslabs=1 << 40)), "nslabs 1099511627776 is more"),
    "state: areas beyond reason": (FrameType.STATE, _state(_with_pool(nareas=1 << 40)), "no possible size"),
    "state: less than no slots": (FrameType.STATE, _state(_with_pool(nslabs=-1)), "no possible size"),
    "state: a slot count in words": (FrameType.STATE, _state(_with_pool(nslabs="8")), "'nslabs' is missing or no int"),
    "state: true slots": (FrameType.STATE, _state(_with_pool(nslabs=True)), "'nslabs' is missing or no int"),
    "state: pools that are none": (FrameType.STATE, _state(STATE_JSON | {"pools": [3]}), "no JSON object"),
    "state: too few slots": (FrameType.STATE, _state(STATE_JSON, bytes(8)), "does not hold the 208 bytes"),
    "records: no room": (FrameType.RECORDS, b"ab", "no room"),
    "records: too many": (FrameType.RECORDS, struct.pack("<II", 1, 1 << 31), "records in a block, more than"),
    "records: unknown codec": (FrameType.RECORDS, struct.pack("<II", 9, 1), "use the swiotlb-top that wrote it"),
    "records: a codec that is no longer": (FrameType.RECORDS, struct.pack("<II", 2, 1), "packed with codec 2"),
    "planes: too few": (FrameType.RECORDS, struct.pack("<II", 1, 2) + zlib.compress(bytes(64)), "the 128 bytes"),
    "planes: no zlib": (FrameType.RECORDS, struct.pack("<II", 1, 2) + b"none", "compressed data: "),
    "name: nested without end": (FrameType.DEVICE_NAME, b"[" * 100_000, "nested too deep"),
    "name: not UTF-8": (FrameType.DEVICE_NAME, b'{"dev":1,"name":"\xff","driver":""}', "damaged"),
    "gap: a fraction of a record": (FrameType.GAP, b'{"begin_ns":1,"exit_ns":2,"lost":0.5,"cause":""}', "'lost'"),
    "gap: digits without end": (FrameType.GAP, b'{"lost":' + b"9" * 10_000 + b"}", "damaged"),
    "end: NaN": (FrameType.END, b'{"counters":{"maps":NaN}}', "NaN is no JSON"),
    "end: a counter in words": (
        FrameType.END,
        b'{"counters":{"maps":"many"},"duration_ns":1,"lost":0,"complete":true}',
        "counters holds something else than int",
    ),
    "end: not complete": (
        FrameType.END,
        b'{"counters":{},"duration_ns":1,"lost":0,"complete":false}',
        "an end that is not complete",
    ),
}


@pytest.mark.parametrize(("frame_type", "payload", "says"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_payload_made_to_harm_is_refused(tmp_path: Path, frame_type: FrameType, payload: bytes, says: str) -> None:
    path = build(tmp_path / "hostile.swtrace", HEADER_FRAME, (frame_type, payload), END_FRAME)

    items, line = read_until_refused(path)

    assert items == [HEADER]
    assert says in line


BOMB_BYTES = 128 << 20
BOMBS: dict[str, tuple[FrameType, Callable[[bytes], bytes], str]] = {
    "state": (FrameType.STATE, lambda zeros: _state(STATE_JSON, zeros), "does not hold the 208 bytes"),
    "planes": (FrameType.RECORDS, lambda zeros: struct.pack("<II", 1, 2) + zlib.compress(zeros, 1), "the 128 bytes"),
}


@pytest.mark.parametrize(("frame_type", "payload", "says"), BOMBS.values(), ids=BOMBS.keys())
def test_a_small_file_that_unpacks_to_much_is_refused_in_little_memory(
    tmp_path: Path, frame_type: FrameType, payload: Callable[[bytes], bytes], says: str
) -> None:
    path = build(tmp_path / "bomb.swtrace", HEADER_FRAME, (frame_type, payload(bytes(BOMB_BYTES))), END_FRAME)

    tracemalloc.start()
    try:
        items, line = read_until_refused(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert items == [HEADER]
    assert says in line
    assert peak_bytes < BOMB_BYTES // 2


@pytest.mark.parametrize("frame_type", [*FrameType, layout.OPTIONAL_BIT | 77])
def test_a_frame_of_four_gigabytes_is_refused_before_it_is_read(tmp_path: Path, frame_type: int) -> None:
    path = build(tmp_path / "huge.swtrace", HEADER_FRAME)
    with path.open("ab") as file:
        file.write(layout.FRAME.pack(frame_type, 0xFFFF_FFFF, 0))

    assert "a frame of 4294967295 bytes is more than a trace can hold" in read_until_refused(path)[1]
