"""Records as columns: the tight packing.

Unpacked from its raw LZMA2 stream (:data:`_FILTERS`), a block is ``pools`` u32 and that many
``pool`` u64, ``start`` u64 (for :mod:`.releases`), then these columns:

- ``kind`` of all records, ``cpu`` of all, ``exit_ns`` of all,
- the releases' references (:mod:`.releases`), u64, one an UNMAP,
- for each kind there is, ascending, and each field of :data:`_BY_KIND`: that field of the kind's
  records.  Fields of one kind are alike; next to another kind's they are noise.

A column is ``transform`` u8 and then, all integers as byte planes of the field's width:

========== ===================================================================================
PLAIN 0    the values
DELTA 1    differences (mod 2**width) to the value before, the first to 0
DICT 2     ``distinct`` u32, the distinct values in order of appearance, an index a value of 0, 1
           or 2 bytes: the least that counts ``distinct``
========== ===================================================================================
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, compress
from operator import sub
from typing import Final

from swiotlb_top.records import RECORD, Kind
from swiotlb_top.trace import planes, releases

_U32: Final = struct.Struct("<I")
_POOL: Final = struct.Struct("<QQ")
_MAX_UNPACKED_BYTES: Final = 16 << 20
"""Every column PLAIN, and a reference a record, is 4.5 MiB."""
# lc, lp, pb: bytes of a plane depend little on the one before and not at all on their position.
_FILTERS: Final = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 8 << 20, "lc": 0, "lp": 0, "pb": 0}]

_WIDTHS: Final = {
    "exit_ns": 8,
    "duration_ns": 4,
    "cpu": 2,
    "kind": 1,
    "flags": 1,
    "object": 8,
    "pool": 8,
    "address": 8,
    "size": 8,
    "result": 8,
    "align_mask": 4,
    "extra": 4,
}
"""The fields of ``struct record`` in its order, with their bytes."""
_WHOLE: Final = ("cpu", "exit_ns")
_BY_KIND: Final = tuple(name for name in _WIDTHS if name not in (*_WHOLE, "kind"))
_RELEASE_FIELDS: Final = ("kind", "object", "pool", "address", "size", "result")
_REFERENCE_BYTES: Final = 8


class _Body:
    """An unpacked block, taken piece by piece."""

    def __init__(self, unpacked: bytes) -> None:
        self._unpacked = unpacked
        self._offset = 0

    def take(self, size: int) -> bytes:
        begin = self._offset
        self._offset += size
        if self._offset > len(self._unpacked):
            raise ValueError("a column is cut short")
        return self._unpacked[begin : self._offset]

    def u32(self) -> int:
        value: int = _U32.unpack(self.take(_U32.size))[0]
        return value

    def finish(self) -> None:
        if self._offset != len(self._unpacked):
            raise ValueError("more columns than there should be")


def _index_bytes(distinct: int) -> int:
    return 0 if distinct <= 1 else 1 if distinct <= 1 << 8 else 2


def _plain(values: Sequence[int], width: int) -> bytes:
    return planes.from_integers(values, width)


def _read_plain(body: _Body, count: int, width: int) -> Sequence[int]:
    return planes.to_integers(body.take(count * width), width)


def _delta(values: Sequence[int], width: int) -> bytes:
    mask = (1 << 8 * width) - 1
    return planes.from_integers([d & mask for d in map(sub, values, [0, *values])], width)


def _read_delta(body: _Body, count: int, width: int) -> Sequence[int]:
    mask = (1 << 8 * width) - 1
    return [value & mask for value in accumulate(_read_plain(body, count, width))]


def _dict(values: Sequence[int], width: int) -> bytes:
    number = {value: i for i, value in enumerate(dict.fromkeys(values))}
    head = _U32.pack(len(number)) + planes.from_integers(list(number), width)
    index_bytes = _index_bytes(len(number))
    return head if index_bytes == 0 else head + planes.from_integers([number[value] for value in values], index_bytes)


def _read_dict(body: _Body, count: int, width: int) -> Sequence[int]:
    distinct = body.u32()
    if distinct > count or (distinct == 0) != (count == 0):
        raise ValueError(f"a column of {count} values with {distinct} distinct ones")
    known = planes.to_integers(body.take(distinct * width), width)
    index_bytes = _index_bytes(distinct)
    if index_bytes == 0:
        return known * count
    try:
        return [known[i] for i in _read_plain(body, count, index_bytes)]
    except IndexError:
        raise ValueError("a value that is not among a column's distinct ones") from None


_WRITERS: Final[Sequence[Callable[[Sequence[int], int], bytes]]] = (_plain, _delta, _dict)
_READERS: Final[Sequence[Callable[[_Body, int, int], Sequence[int]]]] = (_read_plain, _read_delta, _read_dict)
_DICT: Final = _WRITERS.index(_dict)


def _column(values: Sequence[int], width: int) -> bytes:
    """The column by the transform that zlib packs best: a good guess of what LZMA will do, and fast."""
    if len(set(values)) <= 1:
        return bytes((_DICT,)) + _dict(values, width)
    candidates = [bytes((transform,)) + write(values, width) for transform, write in enumerate(_WRITERS)]
    return min(candidates, key=lambda column: len(zlib.compress(column, 1)))


def _read_column(body: _Body, count: int, width: int) -> Sequence[int]:
    transform = body.take(1)[0]
    if transform >= len(_READERS):
        raise ValueError(f"a column of unknown transform {transform}")
    return _READERS[transform](body, count, width)


def pack(records: bytes, pool_starts: Mapping[int, int]) -> bytes:
    """Pack at most MAX_BLOCK_RECORDS whole records (see :func:`.codecs.records_payload`)."""
    field = (
        dict(zip(_WIDTHS, map(list, zip(*RECORD.iter_unpack(records), strict=True)), strict=True)) if records else {}
    )
    named = set(field.get("pool", []))
    starts = {pool: start for pool, start in pool_starts.items() if pool in named}
    kinds = field.get("kind", [])
    references = releases.take_away([field.get(name, []) for name in _RELEASE_FIELDS], starts)
    body = [_U32.pack(len(starts)), *(_POOL.pack(*item) for item in starts.items())]
    body.append(_column(kinds, _WIDTHS["kind"]))
    body += [_column(field.get(name, []), _WIDTHS[name]) for name in _WHOLE]
    body.append(_column(references, _REFERENCE_BYTES))
    for kind in sorted(set(kinds)):
        mine = [other == kind for other in kinds]
        body += [_column(list(compress(field[name], mine)), _WIDTHS[name]) for name in _BY_KIND]
    return lzma.compress(b"".join(body), lzma.FORMAT_RAW, filters=_FILTERS)


def unpack(packed: bytes, count: int) -> bytes:
    """Undo :func:`pack`. :raises ValueError: what is wrong with it."""
    body = _Body(_unlzma(packed))
    pools = body.u32()
    starts = dict(_POOL.iter_unpack(body.take(pools * _POOL.size)))
    kinds = list(_read_column(body, count, _WIDTHS["kind"]))
    field: dict[str, list[int]] = {"kind": kinds}
    for name in _WHOLE:
        field[name] = list(_read_column(body, count, _WIDTHS[name]))
    references = list(_read_column(body, kinds.count(Kind.UNMAP), _REFERENCE_BYTES))
    field |= _read_by_kind(body, kinds)
    body.finish()
    releases.put_back([field[name] for name in _RELEASE_FIELDS], references, starts)
    return b"".join(map(RECORD.pack, *(field[name] for name in _WIDTHS)))


def _read_by_kind(body: _Body, kinds: list[int]) -> dict[str, list[int]]:
    """Deal the columns of each kind out again to the records of that kind."""
    columns = {
        kind: {name: iter(_read_column(body, kinds.count(kind), _WIDTHS[name])) for name in _BY_KIND}
        for kind in sorted(set(kinds))
    }
    merged = {}
    for name in _BY_KIND:
        of_kind = {kind: mine[name] for kind, mine in columns.items()}
        merged[name] = list(map(next, map(of_kind.__getitem__, kinds)))
    return merged


def _unlzma(packed: bytes) -> bytes:
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        unpacked = unpacker.decompress(packed, _MAX_UNPACKED_BYTES)
    except lzma.LZMAError as wrong:
        raise ValueError(f"compressed data: {wrong}") from None
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError(f"compressed data does not end, or not within {_MAX_UNPACKED_BYTES} bytes")
    return unpacked
