"""swiotlb's state, read out of the running kernel by the offsets its BTF gives."""

from __future__ import annotations

import struct
from typing import Final, Literal

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.probes.compile.flags import BODY_BYTES, HEAD_BYTES
from swiotlb_top.probes.read.program import Program, Window
from swiotlb_top.state import AreaState, DeviceName, MemState, PoolState

_LONGEST_NAME_BYTES: Final = 64
_MAX_POOLS: Final = 65536
_GONE: Final = "a pool went away while it was read"


class Reader:
    """Reads one kernel's swiotlb through a loaded :class:`Program`."""

    def __init__(self, program: Program, layout: Layout) -> None:
        self._program = program
        self._layout = layout

    def mem(self, address: int, *, slots: bool = True) -> MemState:
        """Read the ``struct io_tlb_mem`` at ``address``, and its pools; ``slots=False`` leaves the slots' lists empty.

        An allocator that has no memory has no pools.

        :raises CannotError: the memory cannot be read, or does not hold an allocator.
        """
        layout = self._layout
        raw = self._need(address, "mem")
        nslabs = self._u64(raw, "mem", "nslabs", 0)
        pools = self._pools(address, raw) if nslabs else []
        dynamic, kept = layout.dynamic, self._keeps_total_used()
        return MemState(
            address=address,
            nslabs=nslabs,
            can_grow=bool(dynamic and raw[layout.at("mem", "can_grow")]),
            dynamic=dynamic,
            default_nslabs=self._variable("default_nslabs"),
            default_nareas=self._variable("default_nareas"),
            phys_limit=self._u64(raw, "mem", "phys_limit", 0),
            pools=tuple(self.pool(pool, slots=slots) for pool in pools),
            total_used=self._u64(raw, "mem", "total_used", -1) if kept else -1,
            used_hiwater=self._u64(raw, "mem", "used_hiwater", -1) if kept else -1,
            transient_nslabs=self._u64(raw, "mem", "transient_nslabs", -1),
            force_bounce=self._flag(raw, "force_bounce"),
            cc_shared=self._flag(raw, "cc_shared"),
        )

    def pool(self, address: int, *, slots: bool = True) -> PoolState:
        """Read the pool at ``address`` with its areas and, if ``slots``, its slots: in one copy, if they fit.

        :raises CannotError: the memory cannot be read, or does not hold a pool (any more).
        """
        layout = self._layout
        raw = self._need(address, "pool")
        nslabs = self._u64(raw, "pool", "nslabs", 0)
        nareas, area_nslabs = self._u32(raw, "nareas"), self._u32(raw, "area_nslabs")
        areas_at = self._u64(raw, "pool", "areas", 0)
        slots_at = self._u64(raw, "pool", "slots", 0)
        if not nareas or not nslabs:
            raise CannotError(_GONE)
        windows = self._areas_and_slots(areas_at, nareas, slots_at, nslabs if slots else 0)
        areas = b"".join(window.head for window in windows)
        return PoolState(
            address=address,
            start=self._u64(raw, "pool", "start", 0),
            nslabs=nslabs,
            nareas=nareas,
            area_nslabs=area_nslabs,
            transient=bool(layout.dynamic and raw[layout.at("pool", "transient")]),
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

    def _pools(self, mem: int, raw: bytes) -> list[int]:
        layout = self._layout
        return self._listed_pools(mem, raw) if layout.dynamic else [mem + layout.default_pool()]

    def _listed_pools(self, mem: int, raw: bytes) -> list[int]:
        """``mem->pools``: newest first, as ``list_add_rcu()`` leaves them."""
        head = mem + self._layout.at("mem", "pools")
        node_at = self._layout.at("pool", "node")
        node = self._u64(raw, "mem", "pools", 0)
        pools: list[int] = []
        while node not in (head, 0) and len(pools) < _MAX_POOLS:
            pools.append(node - node_at)
            node = self._pointer(node)
        return pools

    def _areas_and_slots(self, areas: int, nareas: int, slots: int, nslabs: int) -> list[Window]:
        area_bytes = self._layout.size_bytes("area") * nareas
        slot_bytes = self._layout.size_bytes("slot") * nslabs
        windows: list[Window] = []
        done = 0
        while True:
            head = max(0, min(HEAD_BYTES, area_bytes - done * HEAD_BYTES))
            body = max(0, min(BODY_BYTES, slot_bytes - done * BODY_BYTES))
            if not head and not body:
                return windows
            window = self._program.read(areas + done * HEAD_BYTES, head, slots + done * BODY_BYTES, body)
            if window is None:
                raise CannotError(_GONE)
            windows.append(window)
            done += 1

    def _areas(self, raw: bytes, nareas: int) -> tuple[AreaState, ...]:
        size = self._layout.size_bytes("area")
        used, index = self._layout.at("area", "used"), self._layout.at("area", "index")
        return tuple(
            AreaState(
                struct.unpack_from("<Q", raw, i * size + used)[0], struct.unpack_from("<I", raw, i * size + index)[0]
            )
            for i in range(nareas)
        )

    def _slots(self, raw: bytes) -> dict[str, tuple[int, ...]]:
        """The slots' members as columns, sliced out of the array with one stride each."""
        size = self._layout.size_bytes("slot")
        whole = raw[: len(raw) - len(raw) % size]

        def column(member: str, code: Literal["H", "I", "Q"]) -> tuple[int, ...]:
            at = self._layout.offset("slot", member)
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
        (af133562d5af, 6.9); where there is no pad_slots it is an int."""
        return self._layout.offset("slot", "pad_slots") is not None

    def _keeps_total_used(self) -> bool:
        """Whether ``total_used`` is kept: always, but in 7.3 only if booted with ``swiotlb=...,track_hiwater``."""
        address = self._layout.symbols.address("track_hiwater_enabled")
        return not address or bool(self._pointer(address) & 0xFF)

    def _need(self, address: int, owner: str) -> bytes:
        window = self._program.read(address, self._layout.size_bytes(owner))
        if window is None:
            raise CannotError(f"the struct of a swiotlb {owner} at {address:#x} cannot be read")
        return window.head

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

    def _u64(self, raw: bytes, owner: str, member: str, missing: int) -> int:
        at = self._layout.offset(owner, member)
        return missing if at is None else int(struct.unpack_from("<Q", raw, at)[0])

    def _flag(self, raw: bytes, member: str) -> int:
        """A bool of the allocator: 0 or 1; -1 if this kernel has none."""
        at = self._layout.offset("mem", member)
        return -1 if at is None else int(raw[at] != 0)

    def _u32(self, raw: bytes, member: str) -> int:
        return int(struct.unpack_from("<I", raw, self._layout.at("pool", member))[0])
