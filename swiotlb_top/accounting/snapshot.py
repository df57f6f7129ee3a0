"""What a view is given: one immutable picture of swiotlb at one time.

Views (screen, exporter, reports) read nothing else. Totals count since the source began;
rates are for views to derive from two snapshots with :func:`per_second`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from swiotlb_top.accounting.evidence import Evidence
from swiotlb_top.accounting.scene import Scene
from swiotlb_top.accounting.slots import SlotsView
from swiotlb_top.allocator import Cause
from swiotlb_top.constants import IO_TLB_SIZE
from swiotlb_top.kernel_log.watch import KernelLog
from swiotlb_top.state import HookPlace

if TYPE_CHECKING:
    from swiotlb_top.accounting.frame import Recorded

UNKNOWN: Final = -1
"""A count that this source cannot know."""

VerdictWord: TypeAlias = Literal["agree", "disagree", "inconclusive"]
Answer: TypeAlias = Literal["agrees", "disagrees", "not asked"]

LATENCY_BUCKETS_NS: Final = tuple(4**n for n in range(4, 13))
"""Upper bounds of the buckets of a latencies histogram, 256 ns to 17 ms; one more bucket holds what is longer."""
HOLD_BUCKETS_NS: Final = tuple(10**n for n in range(4, 13))
"""Upper bounds of the buckets of a histogram of how long mappings are held: 10 us to 1000 s, and one bucket more."""
FINE_SCHEMA: Final = 3
"""The finer histogram of latencies has 2**3 buckets a doubling; the bound of bucket i is 2**(i/8) seconds."""


@dataclass(frozen=True, slots=True)
class PoolView:
    """One memory pool. ``longest_free_slots`` is -1, and ``slots`` None, where slots are not watched."""

    address: int
    start: int
    nslabs: int
    nareas: int
    used_slots: int
    transient: bool
    default: bool
    longest_free_slots: int = UNKNOWN
    slots: SlotsView | None = None
    since_ns: int = UNKNOWN
    """When it was added, on the snapshots' clock; -1 where that was before anyone looked."""


class Starved(NamedTuple):
    """How it stood when a map failed. All counts are of slots."""

    held_slots: int
    """What the device held itself, of mappings made since the source began."""
    used_slots: int
    """In use by all."""
    all_slots: int
    """Of all pools, transient ones too."""


class Asker(NamedTuple):
    """Who asked for mappings that failed."""

    functions: tuple[str, ...]
    """Of the kernel, the innermost first, from the one on that asked; "?" has no name. None if that is not known."""
    failures: int
    """Maps that failed so."""


class Earlier(NamedTuple):
    """Of the mappings that were there when a source began, those that have shown to be one device's."""

    maps: int = 0
    """Those that are open still."""
    slots: int = 0
    """The slots of these."""
    unmaps: int = 0
    """Those that were released since then."""


NOTHING_EARLIER: Final = Earlier()


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One device's totals: ``maps`` found slots, ``map_failures`` failed. Bytes are of mapping sizes.

    A map whose slots were given back at once, as the device cannot reach them, is counted as all three: a map, an unmap
    and a failure.

    ``causes`` counts failures the reference explained (cause -> failures), and may sum
    to less than ``map_failures``.
    """

    dev: int
    name: str
    driver: str
    maps: int
    map_failures: int
    unmaps: int
    mapped_bytes: int
    unmapped_bytes: int
    causes: tuple[tuple[Cause, int], ...] = ()
    last_failure: str = ""
    """One sentence about the latest failure, e.g. "needs 128 contiguous slots, longest free run 126"."""
    held_slots: int = UNKNOWN
    """Slots of its live mappings that were made since the source began."""
    map_p50_ns: int = UNKNOWN
    map_p99_ns: int = UNKNOWN
    """Time in the kernel of its latest maps that were recorded."""
    sizes: tuple[int, ...] = ()
    """Maps, failed ones too, by the slots they asked for (:data:`SIZE_BUCKETS_SLOTS`); empty where not seen."""
    asked_slots: int = 0
    """Slots that all those asked for."""
    to_device_bytes: int = UNKNOWN
    from_device_bytes: int = UNKNOWN
    """Bytes unmapped, by direction; what goes both ways is in both."""
    latencies: tuple[int, ...] = ()
    """Recorded maps by their time in the kernel (:data:`LATENCY_BUCKETS_NS`); empty where none is timed."""
    fine_latencies: tuple[tuple[int, int], ...] = ()
    """The same maps in finer buckets (:data:`FINE_SCHEMA`): number of a bucket, and its maps, where there are any."""
    latency_sum_ns: int = 0
    known_as: str = ""
    """What people know it by ("vda"); empty where that is not known."""
    evidence: Evidence = field(default_factory=Evidence)
    """What is known of why its mappings bounce."""
    hold_p50_ns: int = UNKNOWN
    hold_p99_ns: int = UNKNOWN
    """How long its mappings that were released last had been held; -1 where calls are only counted."""
    hold_max_ns: int = UNKNOWN
    """The longest that any mapping was held that was made and released since the source began."""
    holds: tuple[int, ...] = ()
    """Those mappings by how long they were held (:data:`HOLD_BUCKETS_NS`); empty where none is known."""
    oldest_ns: int = UNKNOWN
    """When the oldest was made of its mappings that are open now; -1 where none is known."""
    starved: Starved | None = None
    """How it stood when its latest map failed; None where none did, or that is not known."""
    most_slots: int = UNKNOWN
    """The most slots that its mappings held at once, of those that were made since the source began."""
    earlier: Earlier = NOTHING_EARLIER
    """Its mappings from before that, as far as they have shown to be its."""
    askers: tuple[Asker, ...] = ()
    """Who asked for its maps that failed, most failures first; empty where that is not followed."""

    @property
    def held_maps(self) -> int:
        """Maps since the source began that are not yet unmapped; at least 0, since some unmaps are of older maps, and
        not of all of them is that known."""
        return max(0, self.maps - self.unmaps + self.earlier.unmaps)

    @property
    def all_held_maps(self) -> int:
        """The same, and its older mappings that are known."""
        return self.held_maps + self.earlier.maps

    @property
    def all_held_slots(self) -> int:
        """Slots of all its mappings that are known; -1 if those made since the source began are not."""
        return self.held_slots + self.earlier.slots if self.held_slots >= 0 else UNKNOWN


@dataclass(frozen=True, slots=True)
class FailureView:
    """Recorded maps that failed one after another in the same way; time and CPU are those of the latest."""

    time_ns: int
    dev: int
    device: str
    driver: str
    size_bytes: int
    """As asked of ``swiotlb_find_slots()`` where that is probed, else of the mapping."""
    cpu: int
    cause: Cause | None = None
    """As the reference explains it; None where it does not."""
    sentence: str = ""
    reference: Answer = "not asked"
    times: int = 1
    """How often in a row: a driver tries again, and fails in the same way."""
    scene: Scene | None = None
    """How it stood at one of these, or at the latest before them that failed alike; None where nobody looked."""

    @property
    def needed_slots(self) -> int:
        return -(-self.size_bytes // IO_TLB_SIZE)


@dataclass(frozen=True, slots=True)
class VerdictView:
    """What the reference says so far. ``compared`` = agree + disagree; ``inconclusive`` are not among these."""

    revision: str
    compared: int
    agree: int
    disagree: int
    inconclusive: int
    safety_violations: int
    first_disagreement: str = ""

    @property
    def word(self) -> VerdictWord:
        """The verdict in one word: "agree" only where something was compared and all of it agreed."""
        if self.disagree or self.safety_violations:
            return "disagree"
        return "agree" if self.agree and not self.inconclusive else "inconclusive"


@dataclass(frozen=True, slots=True)
class Playback:
    """Where a recording is being played: ``position_ns`` from its first event on."""

    position_ns: int
    length_ns: int
    """-1 until its end was seen."""
    speed: float
    stopped: bool
    loops: bool = False
    """It begins again after its end."""
    damage: str = ""
    """Why it cannot be read any further than ``length_ns``."""

    @property
    def is_over(self) -> bool:
        """Whether the end is reached."""
        return self.position_ns >= self.length_ns >= 0


@dataclass(frozen=True, slots=True)
class FlightView:
    """How the flight recorder does that runs beside a source."""

    directory: str
    """Where it writes to."""
    recording: bool = False
    """Whether it holds what happens; not before the probes are attached, nor where another source had to do."""
    held_bytes: int = 0
    """How much it holds in memory, packed as in a file."""
    fired: tuple[tuple[str, int], ...] = ()
    """Each trigger by name, and how often a file was to be written for it."""
    files: int = 0
    """How many it has written; those that are not kept any more among them."""
    not_written: int = 0
    """How many it could not write."""
    last_file: str = ""
    """The path of the latest; empty before the first."""
    last_trigger: str = ""
    last_wall_ns: int = 0
    """When its trigger fired, by the wall clock."""


class ProgramCost(NamedTuple):
    """What one of the BPF programs has cost since it was loaded."""

    name: str
    run_ns: int
    """Time on a CPU, of all its runs together."""
    runs: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a view shows. Slots are counts of 2 KiB; -1 (or None) means not known here."""

    time_ns: int
    source: str
    """"live", "debugfs" or "replay"."""
    reason: str
    """Why this source, in words for the header."""
    kernel_release: str
    nslabs: int
    used_slots: int
    used_hiwater_slots: int
    transient_slots: int
    maps: int
    map_failures: int
    unmaps: int
    growths: int
    pools_added: int
    lost: int
    pools: tuple[PoolView, ...] = ()
    devices: tuple[DeviceView, ...] = ()
    verdict: VerdictView | None = None
    notes: tuple[str, ...] = field(default=())
    """What is degraded and why, a line each."""
    failures: tuple[FailureView, ...] = ()
    """The latest that were recorded, newest first."""
    sampled: bool = False
    """Failures, latencies, slots and verdict come from short bursts of recording; counts never do."""
    sampled_ns: int = UNKNOWN
    """When the latest of those bursts began: what comes from them is as it was then; -1 where there was none."""
    unseen: str = ""
    """Why there are no pools, devices, failures and rates here at all; empty where there are."""
    playback: Playback | None = None
    hooks: tuple[HookPlace, ...] = ()
    """Each hook of the probe plan, and where it is."""
    demo: bool = False
    """This is the recording that is installed with the tool. It says nothing of this machine."""
    watched_ns: int = 0
    """How long calls had been watched at ``time_ns``: what the totals count happened in this time."""
    uncounted: int = 0
    """Calls that are known to be missing in the totals."""
    unowned_slots: int = UNKNOWN
    """Slots in use of which nobody knows who holds them: of mappings from before the source began, most often."""
    hiwater_is_own: bool = False
    """Whether ``used_hiwater_slots`` is since the source began, as the kernel keeps none. Else it is since boot."""
    kernel_log: KernelLog | None = None
    """What the kernel's own log says of swiotlb; None for a recording, and where nobody looked."""
    flight: FlightView | None = None
    """The flight recorder that runs beside this source; None where none was wanted."""
    programs: tuple[ProgramCost, ...] = ()
    """What watching costs the kernel; empty where the kernel does not count it, which is the default."""
    recorded: Recorded | None = None
    """What a recording holds of the time before this; None for other sources, whose frames collect it."""

    @property
    def all_slots(self) -> int:
        """Slots of all pools including transient ones, in which used slots may be, too; -1 if not known."""
        return self.nslabs if self.nslabs <= 0 else max(self.nslabs + max(0, self.transient_slots), self.used_slots)


def per_second(now: int, before: int, elapsed_ns: int) -> float:
    """Rate of a total between two snapshots; 0.0 over no time, and never negative."""
    if elapsed_ns <= 0 or now < before:
        return 0.0
    return (now - before) * 1e9 / elapsed_ns
