"""What the words on the screen mean, one table a section: for the help page, the manual page and docs/screen.md.

Fields (:mod:`swiotlb_top.accounting.fields`) say what numbers mean. Here is what stands beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from swiotlb_top.accounting.bounces import Reason
from swiotlb_top.accounting.finding import MEANINGS as FOUND
from swiotlb_top.accounting.headline import MEANINGS
from swiotlb_top.allocator import Cause

CAUSES: Final = {
    Cause.NOT_INITIALISED: "swiotlb has no memory.",
    Cause.WRONG_KIND: "The pool's memory is shared with the host, and the device needs private memory, or vice versa.",
    Cause.UNREACHABLE: "The map found slots, but the device cannot reach them: they were given back at once.",
    Cause.ABSURD_SIZE: "The driver asks for a size that nobody means: it has miscalculated.",
    Cause.TOO_LARGE: "The map needs more than 128 slots (256 KiB), which no map can have.",
    Cause.PADDED: "The map has no more than 256 KiB, but needs more than 128 slots with the padding before its buffer.",
    Cause.EXHAUSTED: "Fewer slots are free than the map needs.",
    Cause.FRAGMENTED: "Enough slots are free, but no run of them is long enough.",
    Cause.MISALIGNED: "There are runs that are long enough, but none begins at an address that the device takes.",
    Cause.BOUNDARY: "There are runs that are long enough, but each would cross a boundary of the device's segments.",
    Cause.OVERTAKEN: "Each area had no room when the search looked at it; what others gave back came behind it.",
    Cause.CANNOT_GROW: "The pools are full, and swiotlb may not add one.",
    Cause.GROW_FAILED: "The pools are full, and the kernel had no memory for a transient pool.",
}
"""Why a map failed, as the reference explains it."""

LINES: Final = {
    "why": "What the reference says of the latest failed map of the device in the first line.",
    "stale": "The source cannot be read now: everything shown is from before.",
    "found": "The worst of what is found in all frames so far: whose it is, and who holds the slots. also: the others. "
    "f shows all of them, with the numbers.",
    "advice": "What helps against it.",
    "causes": "How often each cause was found for that device's failed maps, where calls are recorded.",
    "unknown": "What is not known, and could be worse than what the first line says.",
    "dmesg": "What the kernel's own log tells of swiotlb's trouble since boot: whose maps, why as far as it tells, and "
    "how many lines. swiotlb-top why explains them.",
    "slots": "A gauge of the slots in use. Where there is room, each pool has its own, side by side.",
    "peak": "A gauge of the most slots that were in use at once since boot, as a share of the slots there are now.",
    "pools": "How many pools of each kind there are, and how long the longest run of free slots is in any of them.",
    "rates": "How often it happened in a second: between this frame and the one before, or, in a recording, in the "
    "second before.",
    "trend": "The latest readings, the newest on the right. The highest one fills its cell. A cell is the time between "
    "two frames, or a tenth of a second of a recording.",
    "time": "Charts of the same readings, where the panels leave room for them: used slots against all slots, the "
    "others against their highest reading.",
    "verdict": "Whether the kernel did what the reference would have done, in one of the words below.",
    "first": "The first operation on which they disagree.",
    "source": "Where all this comes from.",
    "note": "What is less exact than it could be, or missing, and why.",
    "memory": "The size of all pools.",
    "fragmentation": "The largest FRAG% of all pools.",
    "p50": "Half of the latest maps of the slowest device took no longer than this in the kernel.",
    "p99": "The same for 99 of 100 maps.",
}
"""The lines above the tables, and what else stands in them."""

VERDICTS: Final = {
    "agree": "Every operation that was compared did what the reference would have done.",
    "disagree": "At least one operation did something else, or did harm.",
    "inconclusive": "Of at least one operation it is not known, or nothing was compared.",
    "unchecked": "This source compares nothing.",
    "compared": "Operations that were compared with the reference.",
    "unsafe": "Operations that did harm: two maps in one slot, a place that the device cannot use, "
    "a release of what was not mapped.",
    "events lost": "Calls that were not recorded. What follows them is judged only from the next state on.",
    "in bursts": "Calls are recorded for a moment now and then, and only those are compared: a sample.",
    "agrees": "The reference fails this map, too.",
    "disagrees": "The reference finds slots for this map.",
    "not asked": "The reference was not asked, or not yet.",
}
"""What the reference says."""

SLOTS: Final = {
    "cell": "One slot where there is room, else several of one area. A dot is free, a bar is partly used, in the "
    "colour of who has most of it. Lines begin with the number of their first slot, bold where an area begins.",
    "letters": "Whose the slots are, as a line below says, those first that have most. Where a cell is a slot, each "
    "mapping begins with a capital. ? is not known whose: it was mapped before the recording. + is one of more than 26 "
    "devices, and # is in use by no mapping that is known.",
    "in each area": "How many slots each area has, and how many are in use in each, in order.",
    "free runs": "Runs of free slots in the pool. A run never reaches from one slot set (128 slots) into the next.",
    "read": "How long ago the slots were read.",
}
"""The panel SLOTS."""

FAILURE: Final = {
    "moment": "The pool that came nearest to having a place for the latest map that failed, as it was then.",
    "when": "When and where it failed. Of failures that are alike, the slots are looked at once a second.",
    "asked": "The size of the mapping, and the slots that it needs in one run.",
    "free": "What the search would have found: free slots in all pools, and the longest run of them.",
    "held": "Who had the slots, those first that had most.",
    "short by": "How much longer the longest run would have to be for what was asked.",
    "smaller": "The largest mapping that would have fitted at that moment, as the reference has it.",
    "larger": "How to learn which size of swiotlb is enough.",
}
"""How it stood at a failed map, on the screen and on its page."""

LOG: Final = {
    "growth": "swiotlb_dyn_alloc() ran, which tries to add a pool.",
    "pool added": "A pool was added: its first address, its slots and areas.",
    "pool freed": "A pool was freed.",
    "failing": "A device began to fail: its first failed map in the last minutes.",
    "gap": "Events were lost, or are left out.",
    "disagreement": "The kernel did something else than the reference would have done.",
}
"""The panel LOG."""

BOUNCES: Final = {
    Reason.NEVER: "Nothing bounces: its driver gives the device physical addresses.",
    Reason.OWN_POOL: "Everything bounces, in a pool that the device tree set aside for this device alone.",
    Reason.ASKED_FOR: "Everything bounces, as the kernel was booted with swiotlb=force.",
    Reason.ENCRYPTED: "Everything bounces, as a guest's memory is encrypted and the device cannot read it.",
    Reason.FORCED: "Everything bounces, and it is not known for which of the two reasons before.",
    Reason.OUT_OF_REACH: "A buffer bounces that ends above the highest address which the device reaches.",
    Reason.UNTRUSTED: "A buffer bounces that does not fill whole pages: the device is behind an external port, as "
    "Thunderbolt is, and its IOMMU could not hide the rest of the page from it.",
    Reason.UNALIGNED: "A small buffer bounces that the device writes, as it may share a cache line with other data.",
    Reason.XEN: "A buffer bounces that is in several pieces of the machine's memory, as Xen gave it to this domain.",
}
"""Why mappings of a device bounce, on its page."""

LIMITS: Final = {
    "reaches": "The highest address that it can use, by its DMA mask or the limit of its bus.",
    "keeps": "Low bits of a buffer's address that its bounce buffer must have, too.",
    "largest": "The largest mapping that its limits allow. Where bits of addresses are kept, the kernel tells the "
    "driver to stay below that, so that every buffer fits.",
    "not known": "What would have to be known to tell why it bounces, and the command that tells it.",
}
"""A device's limits, on its page."""

SECTIONS: Final[tuple[tuple[str, Mapping[str, str]], ...]] = (
    ("How it stands", {level.value: meaning for level, meaning in MEANINGS.items()}),
    ("Lines", LINES),
    ("Findings", {kind.value: meaning for kind, meaning in FOUND.items()}),
    ("Causes", {cause.value: meaning for cause, meaning in CAUSES.items()}),
    ("The reference", VERDICTS),
    ("Slots", SLOTS),
    ("A failed map", FAILURE),
    ("Log", LOG),
    ("Why a device bounces", {reason.value: meaning for reason, meaning in BOUNCES.items()}),
    ("Its limits", LIMITS),
)
"""Every word, by where it stands."""
