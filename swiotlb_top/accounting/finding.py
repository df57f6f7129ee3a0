"""A finding: one thing that is wrong, the evidence for it, who holds the slots, and what helps.

The rules that find it are in :mod:`swiotlb_top.findings`. Here is what it consists of, and how it is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from swiotlb_top.accounting import numbers


class Kind(Enum):
    """What is wrong, in a word. The value is what JSON says."""

    HARM = "harm"
    DISAGREE = "disagree"
    FULL = "full"
    FRAGMENTED = "fragmented"
    TOO_LARGE = "too_large"
    UNSUITED = "unsuited"
    CANNOT_GROW = "cannot_grow"
    NO_POOL = "no_pool"
    WRONG_KIND = "wrong_kind"
    UNREACHABLE = "unreachable"
    UNEXPLAINED = "unexplained"
    FAILED_BEFORE = "failed_before"
    LEAK = "leak"
    RUNAWAY = "runaway"
    NEARLY_FULL = "nearly_full"
    GROWTH_FAILS = "growth_fails"
    TRANSIENT = "transient"

    @property
    def is_trouble(self) -> bool:
        """Whether somebody has to do something. Else it only costs time."""
        return self is not Kind.TRANSIENT


_RECORD: Final = "swiotlb-top record -o FILE"
HOW_LARGE: Final = f"{_RECORD} while it happens; then swiotlb-top size FILE says how large swiotlb= must be."
"""How to learn which size helps. Of what is recorded already, it can be said at once."""
FIRST_RECORD: Final = f"{_RECORD}; then "
_REPORT: Final = f"{FIRST_RECORD}swiotlb-top replay FILE has the evidence for the kernel's developers."

MEANINGS: Final[Mapping[Kind, str]] = {
    Kind.HARM: "The kernel gave a slot to two mappings, for one, or one that the device cannot use.",
    Kind.DISAGREE: "The kernel did something else than the reference would have done.",
    Kind.FULL: "Maps fail because fewer slots are free than they need.",
    Kind.FRAGMENTED: "Maps fail although enough slots are free: no run of free slots is long enough.",
    Kind.TOO_LARGE: "Maps fail because each needs more than 128 slots (256 KiB), which no map can have.",
    Kind.UNSUITED: "Maps fail although long runs are free: none begins where the device needs it.",
    Kind.CANNOT_GROW: "Maps fail because the pools are full and the kernel could not add another one.",
    Kind.NO_POOL: "Maps fail because swiotlb has no memory.",
    Kind.WRONG_KIND: "Maps fail because swiotlb's memory is not of the kind that the device needs: shared with the "
    "host, or private to the guest.",
    Kind.UNREACHABLE: "Maps fail although slots are free: the device cannot reach swiotlb's memory.",
    Kind.UNEXPLAINED: "Maps fail, and no failed map has been recorded yet that would tell why.",
    Kind.FAILED_BEFORE: "Maps failed before this began to watch, as the kernel's log has it.",
    Kind.LEAK: "A device holds more and more mappings, and gives fewer back than it makes.",
    Kind.RUNAWAY: "One device took most of the slots within a second.",
    Kind.NEARLY_FULL: "Hardly any slot is free, or was at the peak: the next burst of maps may fail.",
    Kind.GROWTH_FAILS: "The kernel tried to add pools, and added none.",
    Kind.TRANSIENT: "Maps keep needing pools of their own: the pools are full, and are not grown in time.",
}
"""What each kind means."""

ADVICE: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.HARM: (_REPORT,),
    Kind.DISAGREE: (_REPORT,),
    Kind.FULL: (
        f"If it is load, a larger pool helps: {HOW_LARGE}",
        "If a device never gives its slots back, a larger pool only delays this: look at who holds most.",
    ),
    Kind.FRAGMENTED: (
        "Smaller requests need shorter runs: for a disk, lower /sys/block/DISK/queue/max_sectors_kb.",
        f"A larger pool often helps: {HOW_LARGE}",
    ),
    Kind.TOO_LARGE: (
        "No value of swiotlb= helps. Let the driver ask for less: for a disk, lower "
        "/sys/block/DISK/queue/max_sectors_kb to 128.",
        "Report it to the driver's authors: a driver has to keep to dma_max_mapping_size().",
    ),
    Kind.UNSUITED: (
        f"A larger pool helps only if it has suitable places, and there may be none: {HOW_LARGE}",
        "Look at the device's limits (min_align_mask, segment boundary): its driver sets them.",
    ),
    Kind.CANNOT_GROW: (f"Boot with more, so that it need not grow: {HOW_LARGE}",),
    Kind.NO_POOL: ("Boot without swiotlb=noforce, or with swiotlb=N; swiotlb-top doctor says why there is none.",),
    Kind.WRONG_KIND: (
        "No value of swiotlb= helps: the device needs other memory, or not to be accepted as a trusted one.",
        "Report it to the kernel's developers, with the name of the device: it is refused without a word in the log.",
    ),
    Kind.UNREACHABLE: (
        "No value of swiotlb= helps by itself: swiotlb's memory must lie where the device reaches it. Correct its DMA "
        "mask or dma-ranges, or give it a restricted-dma-pool within its reach.",
        "If the kernel adds pools beyond the device's reach, boot with more, so that it need not grow.",
    ),
    Kind.UNEXPLAINED: (f"{_RECORD} while maps fail; then swiotlb-top replay FILE --explain says why.",),
    Kind.FAILED_BEFORE: (
        "swiotlb-top why explains the lines of the log.",
        f"{_RECORD} while maps fail; then swiotlb-top replay FILE --explain says why.",
    ),
    Kind.LEAK: (
        "Watch on (swiotlb-top check --seconds 10m): a load that only grows looks the same for a while.",
        "If it goes on, a larger pool only delays the end: report it to the driver's authors.",
    ),
    Kind.RUNAWAY: (
        "Limit what the device may have in flight: its queue depth, its rings, or the size of its requests.",
        f"Or let it have that much: {HOW_LARGE}",
    ),
    Kind.NEARLY_FULL: (HOW_LARGE,),
    Kind.GROWTH_FAILS: (
        "There may be no memory in one piece that the device reaches. Boot with more, so that it need not grow: "
        f"{HOW_LARGE}",
    ),
    Kind.TRANSIENT: (f"Each such map costs time. Boot with more: {HOW_LARGE}",),
}
"""What helps against each kind."""


@dataclass(frozen=True, slots=True)
class Slope:
    """How fast a device holds more and more, where it does: over all of the time that was watched."""

    maps: int
    """So many mappings more were held at the end than at the beginning."""
    slots: float
    """The slots of so many mean maps of the device."""
    slots_per_minute: float
    full_in_ns: int
    """In what time no slot is free if this goes on; -1 if it is not steady, or the slots in use are not known."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The device that held most slots when most were in use, or when a map of its own failed."""

    device: str
    driver: str
    held_slots: int
    is_exact: bool
    """Whether its slots were counted. Else they are as many as mean maps of the device have."""
    held_maps: int
    """Its open mappings then; -1 if not known."""
    oldest_open_ns: int
    """For how long the oldest of these mappings had been held; -1 if not known."""
    used_slots: int
    """Slots in use then, by all."""
    all_slots: int
    """Slots that there were then."""
    is_now: bool
    """Whether this is how it stands now. Else it is over."""
    known_as: str = ""
    """What people know the device by."""
    older_slots: int = 0
    """Those of its slots that it has held since before the source began."""

    @property
    def slots(self) -> str:
        """How many slots it held, in words."""
        return f"{'' if self.is_exact else 'about '}{numbers.count(self.held_slots)}"

    @property
    def oldest(self) -> str:
        """For how long it held the oldest mapping, as a clause that may follow; empty if not known."""
        return f", the oldest for {numbers.age(self.oldest_open_ns)}" if self.oldest_open_ns >= 0 else ""

    @property
    def older(self) -> str:
        """How many of its slots it held before anybody watched, as a clause that may follow; empty if none."""
        if not self.older_slots:
            return ""
        every = self.older_slots == self.held_slots
        return f", {'all' if every else numbers.count(self.older_slots)} of them from before this began to watch"

    def as_json(self) -> dict[str, object]:
        """The same for machines; null is: not known."""
        return {
            "device": self.device,
            "driver": self.driver or None,
            "known_as": self.known_as or None,
            "held_slots": self.held_slots,
            "older_slots": self.older_slots,
            "is_exact": self.is_exact,
            "held_maps": self.held_maps if self.held_maps >= 0 else None,
            "oldest_open_ns": self.oldest_open_ns if self.oldest_open_ns >= 0 else None,
            "used_slots": self.used_slots,
            "all_slots": self.all_slots,
            "is_now": self.is_now,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    kind: Kind
    claim: str
    """What is wrong, in a few words that can stand alone. Names in it are as the kernel gave them."""
    evidence: tuple[str, ...]
    """Sentences with the numbers that show it, the most important first. Names in them are as the kernel gave them."""
    device: str = ""
    """Whose it is, as ``/sys/bus`` names the device; empty where it is no device's."""
    driver: str = ""
    holder: Holder | None = None
    """Who holds the slots, where that matters and is known."""
    known_as: str = ""
    """What people know the device by."""

    @property
    def meaning(self) -> str:
        return MEANINGS[self.kind]

    @property
    def advice(self) -> tuple[str, ...]:
        return ADVICE[self.kind]

    @property
    def sentence(self) -> str:
        """The victim and the holder in one line: ``0000:00:04.0 fails; 0000:00:05.0 holds 210 of 256 slots``."""
        return f"{self.claim}{self.held}"

    @property
    def held(self) -> str:
        """Who holds the slots, as a clause that may follow; empty if that is not known."""
        if self.holder is None:
            return ""
        holder, holds = self.holder, "holds" if self.holder.is_now else "held"
        of_all = f"{holds} {holder.slots} of {numbers.counted(holder.all_slots, 'slot')}"
        if holder.device == self.device:
            return f"; it {of_all} itself"
        return f"; {holder.device or 'an unknown device'} {of_all}"

    def as_json(self) -> dict[str, object]:
        """The same for machines; null is: not known, or nobody's."""
        return {
            "kind": self.kind.value,
            "is_trouble": self.kind.is_trouble,
            "device": self.device or None,
            "driver": self.driver or None,
            "known_as": self.known_as or None,
            "sentence": self.sentence,
            "meaning": self.meaning,
            "evidence": list(self.evidence),
            "holder": self.holder.as_json() if self.holder else None,
            "advice": list(self.advice),
        }
