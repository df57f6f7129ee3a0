"""Writes a recording again without the addresses and names of its machine. The copy gets the same verdict.

Everything that decides which slots a search finds is kept: the low bits of addresses that a device or a caller asks to
keep, the order of pools in memory, which pools touch, slots, sizes, masks and times. Addresses of kernel objects are
replaced by numbers, pools are moved, and buffers get addresses outside all pools. Devices get numbers for names, and
keep their drivers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from swiotlb_top.allocator.geometry import slot_addr
from swiotlb_top.constants import DMA_MAPPING_ERROR, INVALID_PHYS_ADDR, IO_TLB_SIZE
from swiotlb_top.events import Gap
from swiotlb_top.recording.resettled import Resettled
from swiotlb_top.records import RECORD, Kind, RawRecord
from swiotlb_top.state import DeviceName, MemState, PoolState
from swiotlb_top.stream import Consumer, End, Records, tell
from swiotlb_top.trace import Header, TraceReader, TraceWriter

_NEW_POOL: Final = frozenset({Kind.POOL_ALLOC, Kind.POOL_ADD, Kind.GROW})
_OF_POOLS: Final = _NEW_POOL | {Kind.POOL_FREE}
_FIRST_OBJECT: Final = 0xFFFF_8880_0000_0000
_OBJECT_BYTES: Final = 1 << 12
_BUFFERS: Final = 1 << 40
"""Buffers get addresses from here on. No pool is moved there."""


def anonymise(path: Path, output: Path) -> None:
    """Copy a recording without what identifies its machine.

    :param output: a new file.
    :raises UnreadableError: the recording cannot be read to its end. Then nothing is written.
    :raises CannotError: the file cannot be written, or the address bits that must be kept would reveal addresses.
    """
    trace = TraceReader(path)
    places = _Places()
    for item in trace.stream():
        if isinstance(item, Records):
            places.records(item)
        elif isinstance(item, MemState):
            places.state(item)
    settled = Resettled(places.pools, places.align_masks, places.boundary_masks)
    with TraceWriter(output, _anonymous(trace.header)) as written:
        try:
            consumer = _Rewriter(written, settled)
            for item in trace.stream():
                if isinstance(item, Records):
                    written.records(consumer.records(item))
                else:
                    tell(item, consumer)
        except BaseException:
            written.discard()
            raise


def _anonymous(header: Header) -> Header:
    return replace(header, host="", anonymised=True, kernel=replace(header.kernel, boot_id=""))


class _Places:
    """The pools and masks of a recording."""

    def __init__(self) -> None:
        self.pools: set[tuple[int, int]] = set()
        """First address of each pool, and the address behind its end."""
        self.align_masks: set[int] = {0}
        self.boundary_masks: set[int] = set()

    def state(self, mem: MemState) -> None:
        self.pools.update((pool.start, slot_addr(pool.start, pool.nslabs)) for pool in mem.pools)

    def records(self, block: Records) -> None:
        for fields in RECORD.iter_unpack(block.data):
            record = RawRecord._make(fields)
            if record.kind in _NEW_POOL and record.pool:
                self.pools.add((record.address, slot_addr(record.address, record.size)))
            elif record.kind == Kind.DEVICE:
                self.align_masks.add(record.align_mask)
                self.boundary_masks.add(record.result)
            elif record.kind in (Kind.FIND, Kind.MAP):
                self.align_masks.add(record.align_mask)


class _Rewriter(Consumer):
    """Writes each item of a stream with other addresses and names."""

    def __init__(self, written: TraceWriter, settled: Resettled) -> None:
        self._written = written
        self._settled = settled
        self._objects: dict[int, int] = {0: 0}
        self._names: dict[str, str] = {"": ""}

    # ---- items -----------------------------------------------------------

    def state(self, mem: MemState) -> None:
        pools = tuple(map(self._pool, mem.pools))
        self._written.state(replace(mem, address=self._object(mem.address), pools=pools))

    def name(self, name: DeviceName) -> None:
        number = self._names.setdefault(name.name, f"device-{len(self._names)}")
        self._written.device_name(replace(name, dev=self._object(name.dev), name=number, known_as=""))

    def gap(self, gap: Gap) -> None:
        self._written.gap(gap)

    def known_before(self, time_ns: int) -> None:
        self._written.known(time_ns)

    def end(self, end: End) -> None:
        self._written.end(end.counters, end.duration_ns, end.lost)

    def records(self, block: Records) -> bytes:
        """A block of records with other addresses."""
        return b"".join(
            RECORD.pack(*self._record(RawRecord._make(fields))) for fields in RECORD.iter_unpack(block.data)
        )

    # ---- what is in them -------------------------------------------------------

    def _record(self, record: RawRecord) -> RawRecord:
        kind, place = record.kind, self._settled.place
        told = record._replace(object=self._object(record.object))
        if kind != Kind.MAP:  # whose field is a size
            told = told._replace(pool=self._object(record.pool))
        if kind in (Kind.FIND, Kind.MAP):
            told = told._replace(address=self._buffer(record.address))
            if kind == Kind.MAP and record.result != DMA_MAPPING_ERROR:
                told = told._replace(result=place(record.result))
        elif kind in _OF_POOLS or kind in (Kind.UNMAP, Kind.FREE):
            told = told._replace(address=place(record.address))
        return told

    def _pool(self, pool: PoolState) -> PoolState:
        orig_addr = tuple(self._buffers(pool.orig_addr))
        address, start = self._object(pool.address), self._settled.place(pool.start)
        return replace(pool, address=address, start=start, orig_addr=orig_addr)

    def _buffers(self, addresses: Iterable[int]) -> Iterable[int]:
        """Other addresses for the buffers of a pool's slots. Buffers that follow each other in memory still do."""
        before = told = -IO_TLB_SIZE
        for address in addresses:
            runs_on = address == before + IO_TLB_SIZE and address != 0
            told = told + IO_TLB_SIZE if runs_on else self._buffer(address)
            before = address
            yield told

    def _buffer(self, address: int) -> int:
        if address in (0, INVALID_PHYS_ADDR):
            return address
        return _BUFFERS + self._settled.kept(address)

    def _object(self, address: int) -> int:
        """Another address for a kernel object: the next that is free, the same one each time."""
        known = self._objects.get(address)
        if known is None:
            known = self._objects[address] = _FIRST_OBJECT + len(self._objects) * _OBJECT_BYTES
        return known
