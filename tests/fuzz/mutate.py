"""What a stranger may do to a recording: change its payloads, frames and records, and mend the checksums.

A recording is taken to pieces that know what they are - JSON objects, a state's arrays, single records - so that most
of what comes out still reads as one, and is wrong only in what it says.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from swiotlb_top.records import RECORD, Kind
from swiotlb_top.trace import format as layout
from swiotlb_top.trace.codecs import read_records, records_payload
from swiotlb_top.trace.format import FrameType

NUMBERS: Final = (
    *(0, 1, 2, 3, 7, 127, 128, 129, 255, 256, 511, 512, 2047, 2048, 4095, 4096, 8191, 8192, 65535),
    *(bits for power in (20, 22, 31, 32, 40, 52, 62, 63, 64) for bits in ((1 << power) - 1, 1 << power)),
    *(-1, -2, 10**9, 10**18, 10**21),
)
WORDS: Final = (
    "",
    "x",
    "6.1.0",
    "6.6.9",
    "6.12.117",
    "7.3.4",
    "0.0",
    "\x1b[2J",
    "\ud800",
    "9" * 5000,
    "dynamic",
    "absent",
)


@dataclass
class Frame:
    """One frame, in pieces."""

    type: int
    meta: Any = None
    """Its JSON, if it has some."""
    arrays: bytearray = field(default_factory=bytearray)
    """Of a state, uncompressed."""
    records: list[list[int]] = field(default_factory=list)

    def payload(self) -> bytes:
        if self.type == FrameType.RECORDS:
            packed = b"".join(map(_packed, self.records))
            return records_payload(packed[: layout.MAX_BLOCK_RECORDS * RECORD.size])
        encoded = json.dumps(self.meta).encode()
        if self.type == FrameType.STATE:
            return struct.pack("<I", len(encoded)) + encoded + zlib.compress(bytes(self.arrays), 1)
        return encoded

    def copy(self) -> Frame:
        meta = json.loads(json.dumps(self.meta))
        return Frame(self.type, meta, bytearray(self.arrays), [list(record) for record in self.records])


WIDTHS: Final = (64, 32, 16, 8, 8, 64, 64, 64, 64, 64, 32, 32)
"""Bits of the fields of a record."""


def _packed(record: list[int]) -> bytes:
    return RECORD.pack(*(value & ((1 << bits) - 1) for value, bits in zip(record, WIDTHS, strict=True)))


def taken_apart(path: Path) -> list[Frame]:
    """The frames of a whole recording."""
    content = path.read_bytes()
    frames = []
    begin = layout.PREAMBLE.size
    while begin < len(content):
        frame_type, length, _ = layout.FRAME.unpack_from(content, begin)
        begin += layout.FRAME.size + length
        frames.append(_frame(frame_type, content[begin - length : begin]))
    return frames


def _frame(frame_type: int, payload: bytes) -> Frame:
    if frame_type == FrameType.RECORDS:
        return Frame(frame_type, records=[list(r) for r in RECORD.iter_unpack(read_records(payload))])
    if frame_type == FrameType.STATE:
        (length,) = struct.unpack_from("<I", payload)
        meta = json.loads(payload[4 : 4 + length])
        return Frame(frame_type, meta, bytearray(zlib.decompress(payload[4 + length :])))
    return Frame(frame_type, json.loads(payload))


def put_together(frames: list[Frame]) -> bytes:
    """A recording of these frames, every checksum right."""
    content = [layout.preamble()]
    crc = layout.preamble_crc(content[0])
    for frame in frames:
        payload = frame.payload()
        crc = layout.frame_crc(frame.type, payload, crc)
        content.append(layout.FRAME.pack(frame.type, len(payload), crc) + payload)
    return b"".join(content)


def mutated(frames: list[Frame], chance: random.Random) -> list[Frame]:
    """Another recording: a few things changed."""
    frames = [frame.copy() for frame in frames]
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5, 8))):
        chance.choice(_MUTATIONS)(frames, chance)
    return frames


# ---- values ------------------------------------------------------------------


def _other_number(value: int, chance: random.Random) -> int:
    match chance.randrange(5):
        case 0:
            return chance.choice(NUMBERS)
        case 1:
            return value ^ 1 << chance.randrange(64)
        case 2:
            return value + chance.choice((-4096, -2048, -129, -128, -1, 1, 127, 128, 2048, 4096))
        case 3:
            return value * chance.choice((-1, 2, 3, 1000, 1 << 20))
        case _:
            return value >> chance.randrange(1, 16)


def _other_value(value: Any, chance: random.Random) -> Any:
    if chance.random() < 0.03:
        return chance.choice((None, [], {}, "", 0, True, 1.5, [[]], -1, 1e300))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return _other_number(value, chance)
    if isinstance(value, str):
        return chance.choice((chance.choice(WORDS), value[: chance.randrange(len(value) + 1)], value * 3))
    if isinstance(value, list):
        kept = [entry for entry in value if chance.random() < 0.8]
        return kept + kept[:1] * chance.choice((0, 1, 40))
    if isinstance(value, dict):
        return _other_fields(value, chance)
    return value


def _other_fields(values: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    if not values:
        return {"x": chance.choice(NUMBERS)}
    name = chance.choice(sorted(values))
    if chance.random() < 0.05:
        return {other: value for other, value in values.items() if other != name}
    return values | {name: _other_value(values[name], chance)}


# ---- mutations ---------------------------------------------------------------


def _some(frames: list[Frame], chance: random.Random, *types: int) -> Frame | None:
    found = [frame for frame in frames if frame.type in types]
    return chance.choice(found) if found else None


def _change_json(frames: list[Frame], chance: random.Random) -> None:
    frame = chance.choice([frame for frame in frames if frame.meta is not None])
    frame.meta = _other_fields(frame.meta, chance)


def _change_kernel(frames: list[Frame], chance: random.Random) -> None:
    frame = frames[0]
    if isinstance(frame.meta, dict) and isinstance(frame.meta.get("kernel"), dict):
        frame.meta["kernel"] = _other_fields(frame.meta["kernel"], chance)


def _call_it_partial(frames: list[Frame], chance: random.Random) -> None:
    if isinstance(frames[0].meta, dict):
        frames[0].meta["partial"] = chance.choice((True, True, True, False, 1))


def _change_pool(frames: list[Frame], chance: random.Random) -> None:
    frame = _some(frames, chance, FrameType.STATE)
    pools = frame.meta.get("pools") if frame and isinstance(frame.meta, dict) else None
    if isinstance(pools, list) and pools:
        at = chance.randrange(len(pools))
        if isinstance(pools[at], dict):
            pools[at] = _other_fields(pools[at], chance)


def _change_geometry(frames: list[Frame], chance: random.Random) -> None:
    """A pool of another size, with arrays of that size."""
    frame = _some(frames, chance, FrameType.STATE)
    pools = frame.meta.get("pools") if frame and isinstance(frame.meta, dict) else None
    if not frame or not isinstance(pools, list) or len(pools) != 1 or not isinstance(pools[0], dict):
        return
    nslabs = chance.choice((1, 7, 128, 130, 512, 1000, 4096, 32768, 262_144))
    nareas = min(nslabs, chance.choice((1, 2, 3, 4, 64, 100, 4096)))
    pools[0] |= {"nslabs": nslabs, "nareas": nareas, "area_nslabs": nslabs // nareas}
    used = chance.choice((0, 1))
    list_ = struct.pack(f"<{nslabs}I", *(0 if used else 128 - slot % 128 for slot in range(nslabs)))
    planes = [b"".join(array[byte::4] for byte in range(4)) for array in (bytes(4 * nareas), bytes(4 * nareas), list_)]
    orig = (b"\0" if used else b"\xff") * 8 * nslabs
    frame.arrays = bytearray(b"".join(planes) + orig + bytes(12 * nslabs))


def _change_arrays(frames: list[Frame], chance: random.Random) -> None:
    frame = _some(frames, chance, FrameType.STATE)
    if not frame or not frame.arrays:
        return
    for _ in range(chance.choice((1, 4, 64))):
        frame.arrays[chance.randrange(len(frame.arrays))] = chance.randrange(256)


def _change_record(frames: list[Frame], chance: random.Random) -> None:
    frame = _some(frames, chance, FrameType.RECORDS)
    if not frame or not frame.records:
        return
    record = chance.choice(frame.records)
    at = chance.randrange(len(record))
    record[at] = chance.choice([*Kind, 0, 10]) if at == 3 else _other_number(record[at], chance)


def _change_a_field_everywhere(frames: list[Frame], chance: random.Random) -> None:
    """One field of all records, or of all of a kind: durations that make all overlap, one pool for all."""
    at = chance.randrange(12)
    kind = chance.choice([*Kind, 0])
    value = chance.choice((*NUMBERS, None, None))
    step = chance.choice((0, 0, 0, 1, 2048, 4096))
    records = [record for frame in frames for record in frame.records]
    for number, record in enumerate(records):
        if kind in (0, record[3]) and at != 3:
            record[at] = (record[at] if value is None else value) + number * step


def _change_frames(frames: list[Frame], chance: random.Random) -> None:
    at, other = chance.randrange(len(frames)), chance.randrange(len(frames))
    match chance.randrange(3):
        case 0 if len(frames) > 1:
            del frames[at]
        case 1:
            frames.insert(other, frames[at].copy())
        case _:
            frames[at], frames[other] = frames[other], frames[at]


def _change_order(frames: list[Frame], chance: random.Random) -> None:
    """Records dropped, doubled, moved."""
    frame = _some(frames, chance, FrameType.RECORDS)
    if not frame or not frame.records:
        return
    records = frame.records
    begin = chance.randrange(len(records))
    some = records[begin : begin + chance.choice((1, 2, 10, 1000))]
    match chance.randrange(4):
        case 0:
            del records[begin : begin + len(some)]
        case 1:
            records[begin:begin] = [list(record) for record in some]
        case 2:
            chance.shuffle(some)
            records[begin : begin + len(some)] = some
        case _:
            records += [list(record) for record in some] * chance.choice((1, 20))


def _add_a_pool(frames: list[Frame], chance: random.Random) -> None:
    """Pools that come, many or large ones, among the records."""
    frame = _some(frames, chance, FrameType.RECORDS)
    if not frame or not frame.records:
        return
    at = chance.randrange(len(frame.records))
    before = frame.records[at]
    addresses = [state.meta.get("address") for state in frames if state.type == FrameType.STATE]
    mem = next((address for address in addresses if isinstance(address, int)), 0)
    nslabs = chance.choice((1, 128, 512, 2048, 1 << 22))
    nareas = min(nslabs, chance.choice((1, 3, 4, 4096, 8192)))
    kind = chance.choice((Kind.POOL_ALLOC, Kind.POOL_ADD, Kind.GROW))
    start, pool = 0x2_0000_0000, 0xFFFF_8880_7000_0000
    frame.records[at:at] = [
        [before[0], 0, 0, kind, 0, mem, pool + 64 * n, start + (n * nslabs << 12), nslabs, 0, nareas, nslabs // nareas]
        for n in range(chance.choice((1, 10, 300)))
    ]


_Mutation = Callable[[list[Frame], random.Random], None]
_MUTATIONS: Final[tuple[_Mutation, ...]] = (
    *(_change_json, _change_kernel, _change_pool, _change_geometry, _change_arrays, _change_frames, _change_order),
    *(_change_record, _change_record, _change_record, _change_a_field_everywhere, _change_a_field_everywhere),
    *(_add_a_pool, _call_it_partial),
)
