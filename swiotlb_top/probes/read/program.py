"""The attached BPF program: its counters, its records, its window into the kernel's memory."""

from __future__ import annotations

import mmap
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

from swiotlb_top.accounting.snapshot import ProgramCost
from swiotlb_top.accounting.totals import DeviceTotals
from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import settings
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.probes.attach import loader
from swiotlb_top.probes.attach.grace import Grace, TaskGrace
from swiotlb_top.probes.compile.flags import (
    BODY_BYTES,
    HEAD_BYTES,
    HOLDER_BYTES,
    HOLDERS,
    RING_BYTES,
    TOTALS_BYTES,
    device_table_bytes,
    mapping_cells,
    possible_cpus,
)
from swiotlb_top.probes.compile.images import COMPILED, Images
from swiotlb_top.probes.read.askers import Asked, addresses_of, failures_by_stack
from swiotlb_top.probes.read.holdings import Holdings
from swiotlb_top.probes.read.in_flight import ELSEWHERE_BYTES, NEST_BYTES, InFlight
from swiotlb_top.probes.read.maps import refuse_others
from swiotlb_top.probes.read.ring import Ring
from swiotlb_top.state import How

_TOTALS_U64: Final = TOTALS_BYTES // 8
_COUNTS: Final = slice(2, 20)
"""``struct totals`` in words: dev and driver, then counters in the order of :class:`DeviceTotals`, then since when."""
_SINCE: Final = 20
_MOST: Final = 22
_MOST_OF_ALL: Final = 23
_DIRECTIONS: Final = 4
_FAULTS: Final = struct.Struct("=QQQQ")
"""``struct faults``"""
_DEPARTED: Final = struct.Struct("=QQQQQ")
"""``struct departed``"""
_WINDOW: Final = struct.Struct("=QQq")
"""``struct window`` up to what was copied"""
_DOUBLED: Final = (
    "this kernel runs the probes of a function in an unknown order, so that each call is recorded twice: do not trust "
    "what was recorded so far"
)


class Mode(IntEnum):
    """``enum mode`` of bpf/swiotlb_top.c."""

    STOP = 0
    """Neither count nor record. The program is loaded so, in order that all its probes begin at the same time."""
    COUNT = 1
    NOTE = 2
    """Count, and keep each call's entry until it returns."""
    RECORD = 3
    """Do that, and write a record a call."""


class Calls(NamedTuple):
    """Calls of all devices together, also of those whose address has become another's since then."""

    maps: int = 0
    map_failures: int = 0
    unmaps: int = 0


@dataclass(frozen=True, slots=True)
class Faults:
    """What the probes could not record or count, as far as they know."""

    lost_records: int = 0
    """Records that found the ring buffer full."""
    uncounted_calls: int = 0
    """Calls of devices beyond the table's room."""
    lost_calls: int = 0
    """kprobe entries that could not be remembered."""
    missed_calls: int = 0
    """Calls that were not recorded because the kernel skipped their program: it does so for a call in an interrupt
    that comes while the same program runs. Those that a spare recorded are not among them; those that a kprobe missed
    are."""
    never_told: int = 0
    """While recording, calls whose entry was seen and whose return was not."""

    @property
    def lost_events(self) -> int:
        return self.lost_records + self.lost_calls + self.missed_calls + self.never_told

    def notes(self) -> tuple[str, ...]:
        """What makes the counters inexact, in words."""
        if not self.uncounted_calls:
            return ()
        return (f"{self.uncounted_calls} calls are not counted: there are more devices than the probes have room for",)


@dataclass(frozen=True, slots=True)
class Window:
    """Kernel memory that one run of ``read_kernel_memory`` copied, and when the copy began and ended."""

    begin_ns: int
    end_ns: int
    head: bytes
    body: bytes


def summed(table: memoryview, holdings: Holdings | None) -> dict[int, DeviceTotals]:
    """Each device's counters, over all banks of the table of devices, and what it holds.

    :param table: ``struct totals`` after ``struct totals``, as 64-bit words.
    :param holdings: None where the probes do not follow who holds what.
    """
    counts_of: dict[int, list[int]] = {}
    since_ns_of: dict[int, int] = {}
    most_of: dict[int, int] = {}
    for place, dev in enumerate(table[::_TOTALS_U64].tolist()):
        if dev:
            at = place * _TOTALS_U64
            counts, since_ns = table[at + _COUNTS.start : at + _COUNTS.stop].tolist(), table[at + _SINCE]
            before = counts_of.get(dev)
            counts_of[dev] = [a + b for a, b in zip(before, counts, strict=True)] if before else counts
            since_ns_of[dev] = min(since_ns, since_ns_of.get(dev, since_ns))
            most_of[dev] = max(table[at + _MOST], most_of.get(dev, 0))
    totals = {dev: _of_words(counts, since_ns_of[dev]) for dev, counts in counts_of.items()}
    if holdings is None:
        return totals
    held = holdings.held_slots()
    return {
        dev: replace(counted, held_slots=held.get(dev, 0), most_slots=most_of[dev]) for dev, counted in totals.items()
    }


def calls_of(devices: Iterable[DeviceTotals], departed: Calls) -> Calls:
    """The calls of devices, and of others that are gone."""
    each = [departed, *((device.maps, device.map_failures, device.unmaps) for device in devices)]
    return Calls(*map(sum, zip(*each, strict=True)))


def _in_pages(size_bytes: int) -> int:
    return -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE


def _of_words(counts: Sequence[int], since_ns: int) -> DeviceTotals:
    """A device's counters from the words of ``struct totals``, which are in its order."""
    maps, map_failures, unmaps, mapped_bytes, *rest, slots = counts
    by_direction, requests = tuple(rest[:_DIRECTIONS]), tuple(rest[_DIRECTIONS:])
    return DeviceTotals(maps, map_failures, unmaps, mapped_bytes, by_direction, requests, slots, since_ns)


class Program:
    """The loaded and attached BPF program. After :meth:`close` nothing of it is left in the kernel.

    :param mode: what the probes do from the start.
    :param ring_bytes: size of the ring buffer, a power of two times the page size.
    :param prefer: which kind of probe to try first.
    :param images: what has the program compiled.
    :raises CannotError: an image or a privilege is missing, or the kernel refuses every plan.
    :raises UnreadableError: as :meth:`.Images.image`.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        mode: Mode = Mode.RECORD,
        ring_bytes: int = RING_BYTES,
        prefer: How = How.FENTRY,
        images: Images = COMPILED,
    ) -> None:
        # Spares need the entries of calls, which are kept only while recording.
        spares = mode is Mode.RECORD
        self.plan, self._objects = loader.load(
            layout, spares=spares, ring_bytes=ring_bytes, prefer=prefer, images=images
        )
        self._telling = [name for a in self.plan.probed() for name in loader.telling_programs(a)]
        by_kprobe = [a for a in self.plan.probed() if a.how is How.KPROBE]
        self._kprobes = [list(loader.telling_programs(attachment)) for attachment in by_kprobe]
        self._cpus = possible_cpus().end
        self._refuse_other_maps(ring_bytes, follows=not spares)
        self.ring = Ring(self._objects.maps["records"], ring_bytes)
        self._layout = layout
        self._tables: list[mmap.mmap] = []
        self._devices = self._table("devices", device_table_bytes(self._cpus), "Q")
        self.holdings = self._held() if not spares else None
        self._stacks: dict[int, tuple[int, ...]] = {}
        self._never_told = 0
        self._in_flight = InFlight()
        self._grace = Grace()
        self._task_grace = TaskGrace(layout.idle_function_id())
        self._lock = threading.Lock()
        self._closed = False
        self._mode = Mode.STOP
        self.set_mode(mode)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Detach everything and free every map. Safe to call twice."""
        if not self._closed:
            self._closed = True
            self.ring.close()
            self._devices.release()
            if self.holdings:
                self.holdings.release()
            for table in self._tables:
                table.close()
            self._grace.close()
            self._task_grace.close()
            self._objects.close()

    def _refuse_other_maps(self, ring_bytes: int, *, follows: bool) -> None:
        """Detach everything if a map is not what is read. :raises CannotError: as :func:`.maps.refuse_others`."""
        try:
            refuse_others(self._objects.image, ring_bytes, self._cpus, follows=follows)
        except BaseException:
            self._objects.close()
            raise

    def _table(self, name: str, size_bytes: int, code: Literal["Q", "q"]) -> memoryview:
        """A map's memory, as words."""
        self._tables.append(mmap.mmap(self._objects.maps[name], size_bytes, mmap.MAP_SHARED, mmap.PROT_READ))
        return memoryview(self._tables[-1]).cast(code)

    def _held(self) -> Holdings:
        cells = self._table("mappings", 8 * mapping_cells(), "Q")
        return Holdings(cells, self._table("holders", _in_pages(HOLDER_BYTES * HOLDERS), "q"))

    def askers(self) -> dict[int, list[Asked]]:
        """In which stacks the maps failed of each device that is there, by ``struct device *``.

        Empty where the probes do not follow that, see :attr:`holdings`.
        """
        if self.holdings is None:
            return {}
        by_stack = failures_by_stack(self._objects.entries("askers"), self.holdings.generations())
        return {
            dev: [Asked(self._stack(number), failures) for number, failures in stacks.items()]
            for dev, stacks in by_stack.items()
        }

    def _stack(self, number: int) -> tuple[int, ...]:
        if number < 0:
            return ()
        if number not in self._stacks:  # once there, it stays
            self._stacks[number] = addresses_of(self._objects.value("stacks", number.to_bytes(4, "little")))
        return self._stacks[number]

    def let_syncs_tell(self) -> None:
        """Let syncs name the devices of mappings that were made before, as far as the kernel lets them be probed."""
        loader.attach_syncs(self._objects, self.plan, self._layout)

    def let_syncs_be(self) -> None:
        """Undo :meth:`let_syncs_tell`."""
        loader.detach_syncs(self._objects, self.plan)

    def set_mode(self, mode: Mode) -> None:
        """Set what the probes do from now on.

        Every entry runs a probe, which keeps it only from :attr:`Mode.NOTE` on.
        """
        with self._lock:
            if mode >= Mode.NOTE > self._mode:
                # Entries of calls that returned after the last time, unseen.
                self._objects.clear("nests", NEST_BYTES * self._cpus)
                self._objects.clear("elsewhere", ELSEWHERE_BYTES)
                self._in_flight = InFlight()
            self._objects.update("control", mode)
            self._mode = mode

    def wait(self) -> None:
        """Wait for a grace period: until every probe that runs now has ended (see :class:`.Grace`)."""
        self._grace.wait()

    def wait_for_tasks(self, meanwhile: Callable[[], object]) -> None:
        """While noting: wait until calls are over that began before, also of tasks that were preempted in them.

        :param meanwhile: is called again and again. It takes seconds at most, and :attr:`has_every_entry` tells whether
            it is known then.
        """
        in_flight = self._in_flight
        if self._task_grace.wait(meanwhile):
            in_flight.older_are_over()

    @property
    def has_every_entry(self) -> bool:
        """While noting: whether no call is under way any more that began before."""
        return self._in_flight.has_every_entry

    def none_under_way_before(self, now_ns: int) -> int:
        """While noting: up to when every call whose entry was noted has returned, which is at most ``now_ns``.

        The record of a call that has just returned may not be written yet.
        """
        with self._lock:
            nests = self._objects.look_up("nests", NEST_BYTES * self._cpus)
            known_ns = self._in_flight.none_before(now_ns, nests, self._objects.look_up("elsewhere", ELSEWHERE_BYTES))
            self._never_told += self._in_flight.take_lost()
        return known_ns

    def totals(self) -> dict[int, DeviceTotals]:
        """Every device's counters, by ``struct device *``."""
        return summed(self._devices, self.holdings)

    def most_of_all_slots(self) -> int:
        """The most slots that mappings held at once, of those made since the probes came.

        -1 where the probes do not keep it, as every boot of this kernel does (:attr:`.Layout.keeps_hiwater`).
        """
        if self.holdings is None or self._layout.keeps_hiwater:
            return -1
        return max(self._devices[_MOST_OF_ALL::_TOTALS_U64].tolist())

    def counted(self) -> tuple[dict[int, DeviceTotals], Calls]:
        """The counters of every device that there is, and the calls of all that there were."""
        while True:
            before = ended, *departed, begun = self._departed()
            devices = self.totals()
            if ended == begun and before == self._departed():
                return devices, calls_of(devices.values(), Calls(*departed))

    def _departed(self) -> tuple[int, ...]:
        return _DEPARTED.unpack(self._objects.look_up("departed", _DEPARTED.size))

    def growths(self) -> int:
        """How often ``swiotlb_dyn_alloc()`` ran."""
        return sum(memoryview(self._objects.look_up("growths", 8 * self._cpus)).cast("Q"))

    def costs(self) -> tuple[ProgramCost, ...]:
        """What each BPF program has cost; empty while the kernel does not count that (kernel.bpf_stats_enabled)."""
        counts = settings.text("proc/sys/kernel/bpf_stats_enabled") == "1"
        return self._objects.costs() if counts else ()

    def faults(self) -> Faults:
        """What was lost so far.

        :raises CannotError: the kernel does not tell, or it runs a spare before the exit program that it stands in for.
        """
        # First count what was skipped, then what spares recorded of it: a call between the two does not count as lost.
        missed = self._missed()
        per_cpu = _FAULTS.iter_unpack(self._objects.look_up("faults", _FAULTS.size * self._cpus))
        lost, uncounted, calls, spared = map(sum, zip(*per_cpu, strict=True))
        # A spare records only calls that were skipped before, so spares cannot have recorded more than were skipped.
        if spared > missed and spared > self._missed():
            raise CannotError(_DOUBLED)
        return Faults(lost, uncounted, calls, max(0, missed - spared), self._never_told)

    def _missed(self) -> int:
        hits = sum(self._objects.missed_hits(names) for names in self._kprobes)
        return self._objects.missed_runs(self._telling) + hits

    def read(self, head: int, head_bytes: int, body: int = 0, body_bytes: int = 0) -> Window | None:
        """Copy kernel memory: up to 4 KiB at ``head`` and up to 60 KiB at ``body``, in one run.

        Returns None where an address cannot be read.
        """
        with self._lock:
            self._objects.run("read_kernel_memory", head, head_bytes, body, body_bytes)
            window = self._objects.look_up("window", _WINDOW.size + HEAD_BYTES + BODY_BYTES)
        begin_ns, end_ns, error = _WINDOW.unpack_from(window)
        if error:
            return None
        head_at, body_at = _WINDOW.size, _WINDOW.size + HEAD_BYTES
        return Window(
            begin_ns,
            end_ns,
            window[head_at : head_at + head_bytes],
            window[body_at : body_at + body_bytes],
        )
