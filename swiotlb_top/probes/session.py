"""Probes first, state second: a stream of records that begins at a state it belongs to."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from swiotlb_top import events
from swiotlb_top.errors import CannotError
from swiotlb_top.events import Find, Map, Unmap
from swiotlb_top.kernel import layout as kernel_layout
from swiotlb_top.kernel.privileges import missing_capabilities
from swiotlb_top.probes.plan import How
from swiotlb_top.probes.program import RING_BYTES, Mode, Program
from swiotlb_top.probes.reader import Reader
from swiotlb_top.state import DeviceName, KernelInfo, MemState, PoolState

_KIND_AT: Final = 14
_SETTLE_ROUNDS: Final = 20
_IN_FLIGHT_S: Final = 0.002
"""How long an operation that overlapped a copy may take to show up in the ring."""


class Session:
    """swiotlb's probes, attached; a context manager that leaves nothing behind.

    :raises CannotError: this kernel or these privileges do not allow it, or swiotlb is off.
    """

    def __init__(self, *, mode: Mode = Mode.RECORD, ring_bytes: int = RING_BYTES, prefer: How = How.FENTRY) -> None:
        if missing_capabilities():
            raise CannotError("the kernel refuses BPF programs: run as root, or with CAP_BPF and CAP_PERFMON")
        self._layout = kernel_layout.load()
        self.program = Program(self._layout, mode=mode, ring_bytes=ring_bytes, prefer=prefer)
        try:
            self._reader = Reader(self.program, self._layout)
            self._mem = self._layout.default_mem()
            if not self.sizes().nslabs:
                raise CannotError(
                    "swiotlb is off (no memory is set aside): boot with swiotlb=force, or on a machine whose devices "
                    "need it"
                )
        except BaseException:
            self.program.close()
            raise
        self.kernel = KernelInfo(
            release=os.uname().release,
            machine=os.uname().machine,
            boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            cpus=os.cpu_count() or 1,
            features=self._layout.features,
            hooks=self.program.plan.describe(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.program.close()

    def sizes(self) -> MemState:
        """The allocator and its pools without their slots: cheap, for screens."""
        return self._reader.mem(self._mem, slots=False)

    def drain(self) -> bytes:
        """The records that came since the last call, packed."""
        return self.program.ring.drain()

    def settle(self) -> tuple[MemState, bytes, bytes]:
        """Read the state so that each pool's copy overlaps no operation on it.

        Returns the state, the records from before it, and those from its beginning on (with all
        that introduce a device).  Pools that an operation touched
        while they were copied are copied again; where traffic leaves no quiet moment after
        twenty tries, the state comes back with ``settled=False``.
        """
        seen = self.drain()
        state = self._reader.mem(self._mem)
        for _ in range(_SETTLE_ROUNDS):
            time.sleep(_IN_FLIGHT_S)
            seen += self.drain()
            dirty = _touched(state.pools, seen)
            if _grew(state, seen):
                state = self._reader.mem(self._mem)
            elif dirty:
                state = self._again(state, dirty)
            else:
                return (state, *_split(seen, min(pool.begin_ns for pool in state.pools)))
        return (replace(state, settled=False), *_split(seen, now_ns()))

    def device_name(self, dev: int) -> DeviceName:
        """Who a device is."""
        return self._reader.device_name(dev)

    def device_names(self, records: bytes) -> Iterator[DeviceName]:
        """Names of the devices that show themselves in these records."""
        kinds = records[_KIND_AT :: events.RECORD.size]
        at = kinds.find(events.Kind.DEVICE)
        while at >= 0:
            one = records[at * events.RECORD.size : (at + 1) * events.RECORD.size]
            yield from (self._reader.device_name(e.dev) for e in events.decode(one) if isinstance(e, events.Device))
            at = kinds.find(events.Kind.DEVICE, at + 1)

    def _again(self, state: MemState, dirty: set[int]) -> MemState:
        pools = tuple(self._reader.pool(p.address) if p.address in dirty else p for p in state.pools)
        return replace(state, pools=pools)


def now_ns() -> int:
    """The clock of ``bpf_ktime_get_ns()``."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def _touched(pools: tuple[PoolState, ...], records: bytes) -> set[int]:
    """Pools that an operation took slots of, or gave slots back to, while they were copied."""
    dirty = set()
    for event in events.decode(records):
        if isinstance(event, Find | Unmap):
            hit = [pool for pool in pools if pool.address == event.pool]
        elif isinstance(event, Map):
            hit = [pool for pool in pools if pool.start <= event.tlb_addr < pool.start + pool.nslabs * 2048]
        else:
            continue
        dirty |= {pool.address for pool in hit if event.exit_ns >= pool.begin_ns and event.entry_ns <= pool.end_ns}
    return dirty


def _grew(state: MemState, records: bytes) -> bool:
    """Whether the allocator's list of pools has changed since it was read."""
    known = {pool.address for pool in state.pools}
    return any(
        isinstance(event, events.PoolAdd | events.Grow) and event.pool and event.pool not in known
        for event in events.decode(records)
    )


def _split(records: bytes, begin_ns: int) -> tuple[bytes, bytes]:
    """What was over before ``begin_ns``, and the rest with all that introduces a device."""
    size = events.RECORD.size
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for at in range(0, len(records), size):
        one = records[at : at + size]
        later = int.from_bytes(one[:8], "little") >= begin_ns or one[_KIND_AT] == events.Kind.DEVICE
        parts[later].append(one)
    return b"".join(parts[0]), b"".join(parts[1])
