"""swiotlb's state, read out of the running kernel by the offsets its BTF gives."""

from __future__ import annotations

import struct
from typing import Final, Literal

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.probes.program import BODY_BYTES, HEAD_BYTES, Program, Window
from swiotlb_top.state import AreaState, DeviceName, MemState, PoolState

_LONGEST_NAME_BYTES: Final = 64
_MAX_POOLS: Final = 65536


class Reader:
    """Reads one kernel's swiotlb through a loaded :class:`Program`."""

    def __init__(self, program: Program, layout: Layout) -> None:
        self._program = program
        self._layout = layout

    def mem(self, address: int, *, slots: bool = True) -> MemState:
        """Read an allocator and its pools; ``slots=False`` leaves the slots' lists empty.

        :raises CannotError: memory there cannot be read, or it is no allocator.
        """
        layout = self._layout
        raw = self._need(address, layout.btf.structs["io_tlb_mem"].size_bytes, "struct io_tlb_mem").head
        pools = self._listed_pools(address, raw) if layout.dynamic else [address + layout.at("io_tlb_mem", "defpool")]
        dynamic = layout.dynamic
        return MemState(
            address=address,
            nslabs=self._u64(raw, "io_tlb_mem", "nslabs", 0),
            can_grow=bool(dynamic and raw[layout.at("io_tlb_mem", "can_grow")]),
            dynamic=dynamic,
            default_nslabs=self._variable("default_nslabs"),
            default_nareas=self._variable("default_nareas"),
            phys_limit=self._u64(raw, "io_tlb_mem", "phys_limit", 0),
            pools=tuple(self.pool(pool, slots=slots) for pool in pools),
            total_used=self._u64(raw, "io_tlb_mem", "total_used", -1),
            used_hiwater=self._u64(raw, "io_tlb_mem", "used_hiwater", -1),
            transient_nslabs=self._u64(raw, "io_tlb_mem", "transient_nslabs", -1),
        )

    def pool(self, address: int, *, slots: bool = True) -> PoolState:
        """Read one pool, its areas and (``slots``) its slots, copied together where they fit."""
        layout = self._layout
        raw = self._need(address, layout.btf.structs["io_tlb_pool"].size_bytes, "struct io_tlb_pool").head
        nslabs = self._u64(raw, "io_tlb_pool", "nslabs", 0)
        nareas, area_nslabs = self._u32(raw, "nareas"), self._u32(raw, "area_nslabs")
        areas_at = self._u64(raw, "io_tlb_pool", "areas", 0)
        slots_at = self._u64(raw, "io_tlb_pool", "slots", 0)
        windows = self._areas_and_slots(areas_at, nareas, slots_at, nslabs if slots else 0)
        areas = b"".join(window.head for window in windows)
        return PoolState(
            address=address,
            start=self._u64(raw, "io_tlb_pool", "start", 0),
            nslabs=nslabs,
            nareas=nareas,
            area_nslabs=area_nslabs,
            transient=bool(layout.dynamic and raw[layout.at("io_tlb_pool", "transient")]),
            begin_ns=windows[0].begin_ns,
            end_ns=windows[-1].end_ns,
            areas=self._areas(areas, nareas),
            **self._slots(b"".join(window.body for window in windows)),
        )

    def device_name(self, dev: int) -> DeviceName:
        """Name and driver of a ``struct device``; empty strings where it is gone."""
        at = self._layout.at
        name = self._string(self._pointer(dev + at("device", "kobj") + at("kobject", "name")))
        driver = self._pointer(dev + at("device", "driver"))
        driver_name = self._string(self._pointer(driver + at("device_driver", "name"))) if driver else ""
        return DeviceName(dev, name, driver_name)

    def _listed_pools(self, mem: int, raw: bytes) -> list[int]:
        """``mem->pools``: newest first, as ``list_add_rcu()`` leaves them."""
        head = mem + self._layout.at("io_tlb_mem", "pools")
        node_at = self._layout.at("io_tlb_pool", "node")
        node = self._u64(raw, "io_tlb_mem", "pools", 0)
        pools: list[int] = []
        while node not in (head, 0) and len(pools) < _MAX_POOLS:
            pools.append(node - node_at)
            node = self._pointer(node)
        return pools

    def _areas_and_slots(self, areas: int, nareas: int, slots: int, nslabs: int) -> list[Window]:
        area_bytes = self._layout.btf.structs["io_tlb_area"].size_bytes * nareas
        slot_bytes = self._layout.btf.structs["io_tlb_slot"].size_bytes * nslabs
        windows: list[Window] = []
        done = 0
        while True:
            head = max(0, min(HEAD_BYTES, area_bytes - done * HEAD_BYTES))
            body = max(0, min(BODY_BYTES, slot_bytes - done * BODY_BYTES))
            if not head and not body:
                return windows
            window = self._program.read(areas + done * HEAD_BYTES, head, slots + done * BODY_BYTES, body)
            if window is None:
                raise CannotError("a pool went away while it was read")
            windows.append(window)
            done += 1

    def _areas(self, raw: bytes, nareas: int) -> tuple[AreaState, ...]:
        size = self._layout.btf.structs["io_tlb_area"].size_bytes
        used, index = self._layout.at("io_tlb_area", "used"), self._layout.at("io_tlb_area", "index")
        return tuple(
            AreaState(
                struct.unpack_from("<Q", raw, i * size + used)[0], struct.unpack_from("<I", raw, i * size + index)[0]
            )
            for i in range(nareas)
        )

    def _slots(self, raw: bytes) -> dict[str, tuple[int, ...]]:
        """The slots' members as columns, sliced out of the array with one stride each."""
        size = self._layout.btf.structs["io_tlb_slot"].size_bytes
        whole = raw[: len(raw) - len(raw) % size]

        def column(member: str, code: Literal["H", "I", "Q"]) -> tuple[int, ...]:
            at = self._layout.btf.offset("io_tlb_slot", member)
            width = struct.calcsize(code)
            if at is None:
                return (0,) * (len(whole) // size)
            return tuple(memoryview(whole).cast(code)[at // width :: size // width].tolist()) if whole else ()

        return {
            "list_": column("list", "H") if self._list_is_short() else column("list", "I"),
            "orig_addr": column("orig_addr", "Q"),
            "alloc_size": column("alloc_size", "Q"),
            "pad_slots": column("pad_slots", "H"),
        }

    def _list_is_short(self) -> bool:
        """``list`` shrank from unsigned int to unsigned short to make room for ``pad_slots``
        (26e9bd1b5ad5, 6.10); where there is no pad_slots it is an int."""
        return self._layout.btf.offset("io_tlb_slot", "pad_slots") is not None

    def _need(self, address: int, size_bytes: int, what: str) -> Window:
        window = self._program.read(address, size_bytes)
        if window is None:
            raise CannotError(f"{what} at {address:#x} cannot be read")
        return window

    def _pointer(self, address: int) -> int:
        window = self._program.read(address, 8)
        return int.from_bytes(window.head, "little") if window else 0

    def _string(self, address: int) -> str:
        for size in (_LONGEST_NAME_BYTES, 16, 8):  # a string may end just before an unmapped page
            window = self._program.read(address, size) if address else None
            if window:
                return window.head.split(b"\0")[0].decode(errors="replace")
        return ""

    def _variable(self, name: str) -> int:
        address = self._layout.symbols.address(name)
        return self._pointer(address) if address else 0

    def _u64(self, raw: bytes, struct_name: str, member: str, missing: int) -> int:
        at = self._layout.btf.offset(struct_name, member)
        return missing if at is None else int(struct.unpack_from("<Q", raw, at)[0])

    def _u32(self, raw: bytes, member: str) -> int:
        return int(struct.unpack_from("<I", raw, self._layout.at("io_tlb_pool", member))[0])
