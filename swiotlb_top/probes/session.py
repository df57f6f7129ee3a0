"""Attach the probes first, read the state second: no call between the state and the first record is then missed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import Final, Self

from swiotlb_top.errors import CannotError
from swiotlb_top.events import Device
from swiotlb_top.kernel import around, preemption, refusals, settings
from swiotlb_top.kernel import layout as kernel_layout
from swiotlb_top.kernel.around import Around
from swiotlb_top.kernel.known_as import known_as
from swiotlb_top.kernel.no_pool import NoPoolError
from swiotlb_top.kernel.preemption import Preemption
from swiotlb_top.kernel.queues import queue_requests
from swiotlb_top.probes.compile.flags import RING_BYTES, possible_cpus
from swiotlb_top.probes.compile.images import COMPILED, Images
from swiotlb_top.probes.read.disturbed import grew, touched
from swiotlb_top.probes.read.program import Mode, Program
from swiotlb_top.probes.read.reader import Reader
from swiotlb_top.probes.read.shared import Shared
from swiotlb_top.records import Kind, decode, of_kind, select, split_at
from swiotlb_top.state import DeviceName, How, KernelInfo, MemState

_SETTLE_ROUNDS: Final = 5
_IN_FLIGHT_S: Final = 0.002
"""After this time, nearly every operation that overlapped a copy of the state has its record in the ring."""


class Session:
    """swiotlb's probes, attached; a context manager that leaves nothing behind.

    :raises NoPoolError: swiotlb has no memory.
    :raises CannotError: this kernel or these privileges do not allow it.
    :raises UnreadableError: as :meth:`.Images.image`.
    """

    def __init__(
        self,
        *,
        mode: Mode = Mode.RECORD,
        ring_bytes: int = RING_BYTES,
        prefer: How = How.FENTRY,
        images: Images = COMPILED,
    ) -> None:
        refusals.refuse(refusals.here())
        if sys.byteorder != "little":
            raise CannotError(f"probes are read on little-endian machines only, not on {os.uname().machine}")
        self._layout = kernel_layout.load()
        self._known_ns = 0
        self.program = Program(self._layout, mode=mode, ring_bytes=ring_bytes, prefer=prefer, images=images)
        self._shared = Shared(self.program)
        self._records = self._shared.share(mode)
        try:
            # A call that began before its probes came is never seen: it must be over before the state is read.
            self.program.wait()
            self._reader = Reader(self.program, self._layout)
            self._mem = self._layout.default_mem()
            if not self.sizes().nslabs:
                raise NoPoolError.here()
            self.kernel = KernelInfo(
                release=os.uname().release,
                machine=os.uname().machine,
                boot_id=settings.text("proc/sys/kernel/random/boot_id"),
                cpus=possible_cpus(),
                features=self._layout.features,
                hooks=self.program.plan.places(),
                page_size_bytes=os.sysconf("SC_PAGE_SIZE"),
                byte_order=sys.byteorder,
                version=os.uname().version,
            )
        except BaseException:
            self.program.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.program.close()

    def another(self) -> Self:
        """Another reader of the same probes, which may be in another thread: it gets the same records, once it wants
        some. It only counts at first. Whoever closes one closes both."""
        other = copy(self)
        other._records = self._shared.share(Mode.COUNT)
        return other

    def set_mode(self, mode: Mode) -> None:
        """Set what the probes are to do for this reader."""
        self._records.set_mode(mode)

    def sizes(self) -> MemState:
        """The allocator and its pools without their slots: cheap, for screens."""
        return self._reader.mem(self._mem, slots=False)

    def slots(self) -> MemState:
        """The allocator and its pools with their slots, which calls may change while they are read."""
        return self._reader.mem(self._mem)

    def drain(self) -> bytes:
        """The records that came since the last call, packed."""
        return self._records.drain()

    def wait_for_older_calls(self, meanwhile: Callable[[], object]) -> None:
        """While entries are noted: wait, seconds at most, until calls that began before are over.

        :param meanwhile: is called again and again.
        """
        self.program.wait()
        if preemption.here() is Preemption.PREEMPTED:
            self.program.wait_for_tasks(meanwhile)

    def has_every_entry(self) -> bool:
        """Whether the entry of every call that is under way was noted, and :meth:`wait_for_older_calls` has waited."""
        return preemption.here() is Preemption.NONE or self.program.has_every_entry

    def known_now_ns(self) -> int:
        """Up to when every call whose entry was noted has returned, as far as that shows without waiting."""
        return self.program.none_under_way_before(now_ns())

    def drain_to_what_is_known(self) -> tuple[bytes, int]:
        """The records that came since the last call, and up to when none is missing: every call whose entry was noted
        before has returned, and has been drained. Of others see :meth:`has_every_entry`.

        It waits for a grace period, which lasts as long as a CPU stays in the kernel, or does not run.
        """
        program = self.program
        asked_ns = now_ns()
        program.wait()  # which spares nearly all of them
        known_ns = program.none_under_way_before(asked_ns)
        program.wait()  # a probe that had told nobody yet has written its record by then
        whole, records = self._records.drain_what_is_there()
        # Behind a record that is being written nothing is taken.
        self._known_ns = known_ns if whole else self._known_ns
        return records, self._known_ns

    def settle(self) -> tuple[MemState, bytes, bytes]:
        """Read the state, if possible in such a way that no operation on a pool overlaps the copy of it.

        Returns the state, the records from before it, and those from its beginning on (with all
        that introduce a device). A pool that an operation changed while it was copied is copied
        again. If there is no quiet moment in a few tries, the state has ``settled=False``; the
        operations that overlapped a copy are then among the records, or will be.
        """
        seen = self.drain()
        state = self._reader.mem(self._mem)
        for _ in range(_SETTLE_ROUNDS):
            time.sleep(_IN_FLIGHT_S)
            came = self.drain()
            seen += came
            if grew(state, came):
                state = self._reader.mem(self._mem)
            elif dirty := touched(state.pools, came):
                state = self._again(state, dirty)
            else:
                came, known_ns = self.drain_to_what_is_known()
                seen += came
                still = known_ns > max(pool.end_ns for pool in state.pools) and not grew(state, came)
                if still and not touched(state.pools, came):
                    settled = replace(state, settled=self.has_every_entry())
                    return (settled, *split_at(seen, state.begin_ns))
        return (replace(state, settled=False), *split_at(seen, state.begin_ns))

    def device_name(self, dev: int) -> DeviceName:
        """Name and driver of the ``struct device`` at an address, what people know it by, and what its queues hold;
        empty if it is gone."""
        found = self._reader.device_name(dev)
        who = found.name, found.driver
        return replace(found, known_as=known_as(*who), queue_requests=queue_requests(*who))

    def around(self, who: DeviceName) -> Around:
        """What sysfs tells of the machine around a device."""
        return around.of_device(self._machine, who.name, who.driver)

    @cached_property
    def _machine(self) -> Around:
        return around.of_machine(self.kernel.release, self.kernel.machine, self.kernel.features)

    def device_names(self, records: bytes) -> Iterator[DeviceName]:
        """The names of the devices that these records introduce (:attr:`Kind.DEVICE`)."""
        for event in decode(select(records, of_kind(records, Kind.DEVICE))):
            if isinstance(event, Device):
                yield self.device_name(event.dev)

    def _again(self, state: MemState, dirty: set[int]) -> MemState:
        pools = tuple(self._reader.pool(p.address) if p.address in dirty else p for p in state.pools)
        return replace(state, pools=pools)


def now_ns() -> int:
    """The clock of ``bpf_ktime_get_ns()``."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
