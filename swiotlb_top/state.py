"""The allocator's state as it was read out of a running kernel.

What :mod:`swiotlb_top.probes` reads at attach and what stands at the head of a trace: plain
data, raw as the kernel had it, so that everything derived from it can be derived again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from swiotlb_top.cpus import Cpus


@dataclass(frozen=True, slots=True)
class AreaState:
    """``struct io_tlb_area``: used slots and the slot (from the area's first) to search next."""

    used: int
    index: int


@dataclass(frozen=True, slots=True)
class PoolState:
    """``struct io_tlb_pool`` with its slots, one list per member of ``struct io_tlb_slot``.

    Before 6.6 an allocator was its only pool: ``address`` is then that of its ``struct io_tlb_mem``.
    ``begin_ns``..``end_ns`` is when it was copied. ``list_``, ``orig_addr``, ``alloc_size`` and
    ``pad_slots`` have ``nslabs`` entries (``pad_slots`` is all zero on kernels that have none).
    """

    address: int
    start: int
    nslabs: int
    nareas: int
    area_nslabs: int
    transient: bool
    begin_ns: int
    end_ns: int
    areas: tuple[AreaState, ...]
    list_: tuple[int, ...]
    orig_addr: tuple[int, ...]
    alloc_size: tuple[int, ...]
    pad_slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MemState:
    """``struct io_tlb_mem``: one allocator and its pools in search order (newest first).

    ``total_used``, ``used_hiwater`` and ``transient_nslabs`` are -1 where this kernel does not keep them: no
    CONFIG_DEBUG_FS, not dynamic, from before 6.6, or 7.3 booted without ``track_hiwater``.
    """

    address: int
    nslabs: int
    can_grow: bool
    dynamic: bool
    default_nslabs: int
    default_nareas: int
    phys_limit: int
    pools: tuple[PoolState, ...]
    total_used: int
    used_hiwater: int
    transient_nslabs: int
    settled: bool = True
    """No operation touched a pool while it was copied; else the state proves nothing."""
    force_bounce: int = -1
    """1 if every mapping of dma-direct bounces, 0 if not; -1 in recordings of before this was recorded."""
    cc_shared: int = -1
    """1 if the pools' memory is shared with the host of a confidential guest, 0 if not; -1 before 7.3, and in old
    recordings."""

    @property
    def begin_ns(self) -> int:
        """When the first pool's copy began."""
        return min((pool.begin_ns for pool in self.pools), default=0)

    @property
    def end_ns(self) -> int:
        """When the last pool's copy ended."""
        return max((pool.end_ns for pool in self.pools), default=0)


@dataclass(frozen=True, slots=True)
class DeviceName:
    """Name ("0000:00:04.0") and driver of the ``struct device`` at address ``dev``; each is empty if unknown."""

    dev: int
    name: str
    driver: str
    known_as: str = ""
    """What people know it by ("vda", "eth0"), as it was then; empty if unknown."""
    queue_requests: int = 0
    """The most requests that the queues of its disks held, as it was then; 0 if it has none, or that is unknown."""


class How(Enum):
    """How the probes see a hook, which is an event of the allocator's."""

    FENTRY = "fentry"
    KPROBE = "kprobe"
    DERIVED = "derived"
    """Not probed: another hook tells the same."""
    ABSENT = "absent"
    """Not at all."""


@dataclass(frozen=True, slots=True)
class HookPlace:
    """Where a hook is on one kernel. A field that does not apply is empty; ``str()`` gives what people are shown."""

    name: str
    """The hook's, e.g. "find_slots"."""
    how: How
    probes: str = ""
    """What is attached, e.g. "fentry+fexit"."""
    symbol: str = ""
    """The kernel's function that it is attached to."""
    derived_from: str = ""
    """The hook it is derived from."""
    lost: str = ""
    """What is not seen, as it is absent."""
    refusal: str = ""
    """Why the kernel refused a better way."""

    @property
    def seen(self) -> bool:
        """Whether its events are seen, by a probe or derived from another hook."""
        return self.how is not How.ABSENT

    def __str__(self) -> str:
        return f"{self._where()} (refused: {self.refusal})" if self.refusal else self._where()

    def _where(self) -> str:
        if self.how is How.ABSENT:
            return f"absent: {self.lost or 'needed'}"
        if self.how is How.DERIVED:
            return f"derived from {self.derived_from}" if self.derived_from else "derived"
        return f"{self.probes} {self.symbol}"


@dataclass(frozen=True, slots=True)
class KernelInfo:
    """The kernel a stream comes from."""

    release: str
    machine: str
    boot_id: str
    cpus: Cpus
    """The possible ones, on any of which a call may run. Old recordings know only how many were online."""
    features: tuple[str, ...]
    """Feature words the revision is chosen from, e.g. "dynamic", "pad_slots", "search_area"."""
    hooks: tuple[HookPlace, ...]
    """Where each hook of the probes was."""
    page_size_bytes: int = 0
    """0 where an old recording does not tell."""
    byte_order: str = ""
    """"little" or "big"; empty where an old recording does not tell."""
    version: str = ""
    """As ``uname -v`` says, which may tell more of the release; empty where an old recording does not tell."""

    def sees(self, hook: str) -> bool:
        """Whether a hook's events are seen; True if the stream does not mention the hook."""
        return all(place.seen for place in self.hooks if place.name == hook)
