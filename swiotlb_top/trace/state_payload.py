"""STATE payload: scalars as JSON, areas and slots as compressed arrays."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import MISSING, fields
from itertools import starmap
from typing import Any, Final, get_type_hints

from swiotlb_top.state import AreaState, MemState, PoolState
from swiotlb_top.trace import planes
from swiotlb_top.trace.format import (
    MAX_CPUS,
    MAX_PAYLOAD_BYTES,
    MAX_PHYS_ADDR,
    MAX_STATE_SLOTS,
    FrameType,
)
from swiotlb_top.trace.json_payload import TIME_NS, U64_OR_NONE, FieldTypes, checked, dump_json, load_json

_META_LENGTH: Final = struct.Struct("<I")
MAX_META_BYTES: Final = MAX_PAYLOAD_BYTES[FrameType.HEADER]

_BOUNDS: Final = {
    "default_nareas": range(MAX_CPUS + 1),
    "start": range(MAX_PHYS_ADDR + 1),
    "begin_ns": TIME_NS,
    "end_ns": TIME_NS,
    "force_bounce": range(-1, 2),
    "cc_shared": range(-1, 2),
}
"""The ranges of numbers; a number that is not here has 64 bits, or is -1."""


def _scalars(of: type) -> FieldTypes:
    """The fields of a dataclass that are stored as JSON: those that are numbers or booleans."""
    hints = get_type_hints(of).items()
    return {name: bool if of is bool else _BOUNDS.get(name, U64_OR_NONE) for name, of in hints if of in (int, bool)}


_MEM: Final = _scalars(MemState)
_MEM_OF_OLD: Final = {field.name: field.default for field in fields(MemState) if field.default is not MISSING}
"""The values of fields that were added later, for recordings that do not have them."""
_POOL: Final = _scalars(PoolState)
_AREA_WIDTHS: Final = {"used": 4, "index": 4}
_SLOT_WIDTHS: Final = {"list_": 4, "orig_addr": 8, "alloc_size": 8, "pad_slots": 4}


def state_payload(mem: MemState) -> bytes:
    """STATE payload.

    :raises ValueError: arrays that do not fit nareas and nslabs, values that do not fit their
        width, or more than MAX_STATE_SLOTS slots.
    """
    pools = [{name: getattr(pool, name) for name in _POOL} for pool in mem.pools]
    _check_size(pools)
    meta = dump_json({name: getattr(mem, name) for name in _MEM} | {"pools": pools})
    if len(meta) > MAX_META_BYTES:
        raise ValueError(f"{len(pools)} pools are more than a trace can hold")
    deflated = zlib.compress(b"".join(array for pool in mem.pools for array in _pool_arrays(pool)))
    return _META_LENGTH.pack(len(meta)) + meta + deflated


def _pool_arrays(pool: PoolState) -> Iterator[bytes]:
    for columns, count, widths in (
        ({name: [getattr(area, name) for area in pool.areas] for name in _AREA_WIDTHS}, pool.nareas, _AREA_WIDTHS),
        ({name: getattr(pool, name) for name in _SLOT_WIDTHS}, pool.nslabs, _SLOT_WIDTHS),
    ):
        for name, width in widths.items():
            if len(columns[name]) != count:
                raise ValueError(f"pool {pool.address:#x} has {len(columns[name])} {name} where {count} belong")
            yield planes.from_integers(columns[name], width)


def _check_size(pools: list[dict[str, Any]]) -> None:
    """Check that pools are not too large to be allocated; their other faults are found later (:mod:`.possible`)."""
    if any(not (pool["nslabs"] >= 0 and 0 <= pool["nareas"] <= MAX_STATE_SLOTS) for pool in pools):
        raise ValueError("a pool of no possible size")
    for count in ("nslabs", "nareas"):
        total = sum(pool[count] for pool in pools)
        if total > MAX_STATE_SLOTS:
            raise ValueError(f"{count} {total} is more than the {MAX_STATE_SLOTS} a trace can hold")


def read_state(payload: bytes) -> MemState:
    """Undo :func:`state_payload`. :raises ValueError: what is wrong with it."""
    if len(payload) < _META_LENGTH.size:
        raise ValueError("no room for the state's length")
    (meta_length,) = _META_LENGTH.unpack_from(payload)
    if meta_length > MAX_META_BYTES:
        raise ValueError(f"{meta_length} bytes of JSON, more than the {MAX_META_BYTES} a trace can hold")
    meta_end = _META_LENGTH.size + meta_length
    meta = load_json(payload[_META_LENGTH.size : meta_end])
    scalars = checked(_MEM_OF_OLD | meta if isinstance(meta, dict) else meta, _MEM)
    pools = [checked(pool, _POOL) for pool in checked(meta, {"pools": list})["pools"]]
    _check_size(pools)
    arrays = _Arrays(planes.inflate(payload[meta_end:], sum(map(_pool_bytes, pools))))
    return MemState(pools=tuple(_read_pool(pool, arrays) for pool in pools), **scalars)


def _pool_bytes(pool: dict[str, Any]) -> int:
    area_bytes: int = pool["nareas"] * sum(_AREA_WIDTHS.values())
    slots_bytes: int = pool["nslabs"] * sum(_SLOT_WIDTHS.values())
    return area_bytes + slots_bytes


class _Arrays:
    """The inflated arrays, taken one after the other."""

    def __init__(self, inflated: bytes) -> None:
        self._inflated = inflated
        self._offset = 0

    def take(self, count: int, width: int) -> tuple[int, ...]:
        begin = self._offset
        self._offset += count * width
        return planes.to_integers(self._inflated[begin : self._offset], width)


def _read_pool(fields: dict[str, Any], arrays: _Arrays) -> PoolState:
    areas = [arrays.take(fields["nareas"], width) for width in _AREA_WIDTHS.values()]
    slots: dict[str, Any] = {name: arrays.take(fields["nslabs"], width) for name, width in _SLOT_WIDTHS.items()}
    return PoolState(areas=tuple(starmap(AreaState, zip(*areas, strict=True))), **fields, **slots)
