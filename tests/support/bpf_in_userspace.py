"""The BPF programs of a kernel, compiled for this process: what they count and record can be asked here."""

from __future__ import annotations

import ctypes
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from swiotlb_top.accounting.totals import DeviceTotals
from swiotlb_top.events import Event
from swiotlb_top.kernel.hooks import SYNCS
from swiotlb_top.probes.compile import plan
from swiotlb_top.probes.compile.flags import HOLDER_BYTES, HOLDERS, compiler_flags, device_table_bytes
from swiotlb_top.probes.read.askers import COUNT, KEY, failures_by_stack
from swiotlb_top.probes.read.holdings import Holdings
from swiotlb_top.probes.read.in_flight import ELSEWHERE_BYTES, NEST_BYTES, InFlight
from swiotlb_top.probes.read.program import Mode, summed
from swiotlb_top.records import RECORD_BYTES, decode
from tests.kernels import layout_of, with_syncs

BPF: Final = Path(__file__).parents[2] / "bpf"
"""The C of the checkout."""
_SHIM: Final = Path(__file__).with_name("bpf_in_userspace.h")
_SYNCS: Final = [hook.symbols[0] for hook in SYNCS]
_DEVICE_BYTES: Final = 4096
POOL_START: Final = 0x7BF0_0000
"""Address of the pool's first slot."""


class BpfInUserspace:
    """Programs for the ``dynamic`` kernel's plan, loaded into this process.

    :param spares: as :func:`.loader.load` has it.
    :param cpus: how many CPUs there are.
    :param cells: how many cells there are for mappings.
    :param keeps_hiwater: whether the kernel itself keeps how many slots were in use at most.
    """

    def __init__(
        self, directory: Path, *, spares: bool, cpus: int = 4, cells: int = 1 << 13, keeps_hiwater: bool = False
    ) -> None:
        self.layout = with_syncs(layout_of("dynamic"))
        made = plan.make(self.layout, kprobes=False)
        flags = compiler_flags(self.layout, made, spares=spares, jit=False, cpus=cpus)
        own = ("-DMAPPING_CELLS=", "-DOWN_HIWATER=")
        kept = [flag for flag in flags if flag.startswith("-D") and not flag.startswith(own)]
        library = directory / f"programs-{cpus}-{spares}-{cells}-{keeps_hiwater}.so"
        chosen = [f"-DCPUS={cpus}", f"-DMAPPING_CELLS={cells}"] + ([] if keeps_hiwater else ["-DOWN_HIWATER=1"])
        source = BPF / "swiotlb_top.c"
        subprocess.run(
            [
                "gcc",
                "-std=gnu11",
                "-O1",
                "-w",
                "-shared",
                "-fPIC",
                "-include",
                _SHIM,
                "-o",
                library,
                source,
                *kept,
                *chosen,
            ],
            check=True,
        )
        self._library = ctypes.CDLL(str(library))
        self._cpus = cpus
        self._cells = 0 if spares else cells
        self._device_memory: list[Any] = []
        self._frames: list[Any] = []
        self._interrupts: list[Any] = []
        if self._cells:
            self._word("mapping_mask_data").value = cells - 1
        self.set_mode(Mode.RECORD)

    def set_mode(self, mode: Mode) -> None:
        self._word("control_data").value = mode

    def on_cpu(self, cpu: int) -> None:
        ctypes.c_uint32.in_dll(self._library, "cpu").value = cpu

    def interrupt_at_the_next_clock(self, handler: Callable[[], None]) -> None:
        """Let ``handler`` run, once, in the middle of the program that reads the clock next."""
        called = ctypes.c_void_p.in_dll(self._library, "clock_read")

        def once() -> None:
            called.value = None
            handler()

        callback = ctypes.CFUNCTYPE(None)(once)
        self._interrupts.append(callback)
        called.value = ctypes.cast(callback, ctypes.c_void_p).value

    def make_unreadable(self, address: int) -> None:
        self._word("unreadable").value = address

    def device(self, **members: int) -> int:
        """Address of a new ``struct device`` with these members."""
        memory = ctypes.create_string_buffer(_DEVICE_BYTES)
        self._device_memory.append(memory)
        address = ctypes.addressof(memory)
        for member, value in members.items():
            at = self.layout.at("device", member)
            struct.pack_into("<Q", memory, at, value)
        return address

    def parameters(self, min_align_mask: int) -> int:
        """Address of new ``struct device_dma_parameters``."""
        memory = ctypes.create_string_buffer(_DEVICE_BYTES)
        self._device_memory.append(memory)
        at = self.layout.at("device_dma_parameters", "min_align_mask")
        struct.pack_into("<I", memory, at, min_align_mask)
        return ctypes.addressof(memory)

    def word(self, value: int) -> int:
        """Address of a word of the kernel's memory."""
        memory = ctypes.c_uint64(value)
        self._device_memory.append(memory)
        return ctypes.addressof(memory)

    def frame(self, *words: int) -> Any:
        """What a trampoline gives the programs of one call: arguments, then the result."""
        frame = (ctypes.c_uint64 * 8)(*words)
        self._frames.append(frame)
        return frame

    def run(self, program: str, frame: Any) -> None:
        """Run one program, with a call's frame."""
        getattr(self._library, program)(frame)

    def search(
        self, dev: int, size_bytes: int = 2048, slot: int = 0, orig_addr: int = 0x10_0000, *, transient: bool = False
    ) -> Any:
        """The frame of a ``swiotlb_find_slots()`` in a pool at :data:`POOL_START`."""
        memory = ctypes.create_string_buffer(_DEVICE_BYTES)
        struct.pack_into("<Q", memory, self.layout.at("pool", "start"), POOL_START)
        struct.pack_into("<?", memory, self.layout.at("pool", "transient"), transient)
        pool = (ctypes.c_uint64 * 1)(ctypes.addressof(memory))
        self._frames += [memory, pool]
        return self.frame(dev, orig_addr, size_bytes, 0, ctypes.addressof(pool), slot & 0xFFFF_FFFF)

    def found(
        self, dev: int, size_bytes: int = 2048, slot: int = 0, *, order: tuple[str, ...] = ("kretfunc", "spare")
    ) -> None:
        """A whole search, its programs run in this order at its end."""
        frame = self.search(dev, size_bytes, slot)
        self.run("kfunc__swiotlb_find_slots", frame)
        for kind in order:
            self.run(f"{kind}__swiotlb_find_slots", frame)

    def unmapped(self, dev: int, slot: int) -> None:
        """A whole unmap of a mapping whose buffer begins in a slot."""
        frame = self.frame(dev, POOL_START + slot * 2048, 2048, 0, 0, 0)
        for kind in ("kfunc", "kretfunc"):
            self.run(f"{kind}____swiotlb_tbl_unmap_single", frame)

    def synced(self, dev: int, slot: int) -> None:
        """A sync of a mapping, from a slot on, by both programs that see one."""
        address = POOL_START + slot * 2048
        for symbol in _SYNCS:
            self.run(f"kfunc__{symbol}", self.frame(dev, address))

    def holdings(self) -> Holdings:
        """What the programs keep of who holds what.."""
        cells = (ctypes.c_uint64 * self._cells).in_dll(self._library, "mappings_data")
        holders = (ctypes.c_int64 * (HOLDER_BYTES // 8 * HOLDERS)).in_dll(self._library, "holders_data")
        return Holdings(memoryview(cells).cast("B").cast("Q"), memoryview(holders).cast("B").cast("q"))

    def fails(self, dev: int, stack: int = 0) -> None:
        """A search that finds nothing, while the kernel is in a stack of this number."""
        ctypes.c_int64.in_dll(self._library, "stack_id").value = stack
        self.found(dev, slot=-1, order=("kretfunc",))

    def failures_by_stack(self) -> dict[int, dict[int, int]]:
        """How often maps failed, by device and by the number of the stack."""
        used = ctypes.c_uint32.in_dll(self._library, "askers_used").value
        keys = bytes((ctypes.c_char * (KEY.size * used)).in_dll(self._library, "askers_keys"))
        counts = bytes((ctypes.c_char * (COUNT.size * used)).in_dll(self._library, "askers_data"))
        parts = ((keys[at * KEY.size :][: KEY.size], counts[at * COUNT.size :][: COUNT.size]) for at in range(used))
        return failures_by_stack(parts, self.holdings().generations())

    def initialised(self, dev: int) -> None:
        """The kernel makes a new device at this address."""
        self.run("kfunc__swiotlb_dev_init", self.frame(dev))

    def first_word(self) -> int:
        """Address of the table of devices."""
        return ctypes.addressof(self._word("devices_data"))

    def table(self) -> memoryview:
        """The words of the table of devices."""
        words = device_table_bytes(self._cpus) // 8
        return memoryview((ctypes.c_uint64 * words).from_address(self.first_word())).cast("B").cast("Q")

    def totals(self) -> dict[int, DeviceTotals]:
        return summed(self.table(), self.holdings() if self._cells else None)

    def departed(self) -> dict[str, int]:
        """What was counted of devices that are gone."""
        names = ("ended", "maps", "map_failures", "unmaps", "begun")
        words = (ctypes.c_uint64 * len(names)).in_dll(self._library, "departed_data")
        return dict(zip(names, words, strict=True))

    def spared_calls(self) -> int:
        """On CPU 0."""
        first = ctypes.addressof(self._word("faults_data"))
        return int(ctypes.c_uint64.from_address(first + 24).value)

    def added_at_once(self) -> set[int]:
        """Addresses of the words that were added to so that nothing can come between."""
        count = ctypes.c_uint32.in_dll(self._library, "at_once_count").value
        words = (ctypes.c_uint64 * 64).in_dll(self._library, "at_once")
        return set(words[: min(count, 64)])

    def events(self) -> list[Event]:
        used = ctypes.c_uint32.in_dll(self._library, "ring_used").value
        ring = (ctypes.c_ubyte * (256 * RECORD_BYTES)).in_dll(self._library, "ring")
        return list(decode(bytes(ring)[: used * RECORD_BYTES]))

    def now_ns(self) -> int:
        """The latest time that a program read."""
        return self._word("now_ns").value

    def none_under_way_before(self) -> int:
        """What the probes' maps tell whoever has not looked before, at the latest time there was."""
        return InFlight().none_before(
            self.now_ns(),
            self._bytes("nests_data", NEST_BYTES * self._cpus),
            self._bytes("elsewhere_data", ELSEWHERE_BYTES),
        )

    def _bytes(self, name: str, size_bytes: int) -> bytes:
        return bytes((ctypes.c_ubyte * size_bytes).in_dll(self._library, name))

    def _word(self, name: str) -> ctypes.c_uint64:
        return ctypes.c_uint64.in_dll(self._library, name)
