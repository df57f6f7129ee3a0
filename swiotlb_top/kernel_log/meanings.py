"""What each cause means, what helps, what does not, and what the kernel's line leaves open: a row a cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from swiotlb_top.kernel_log.causes import LogCause


@dataclass(frozen=True, slots=True)
class Meaning:
    """Of one cause, in sentences for people."""

    means: str
    helps: str
    does_not: str
    open: str
    """What the line cannot tell, and the command that would."""


_WHY_IT_BOUNCES: Final = "why this device's buffers are bounced at all"
_RECORD: Final = "swiotlb-top record -o FILE"
_EXPLAIN: Final = "swiotlb-top replay FILE --explain"

MEANINGS: Final[Mapping[LogCause, Meaning]] = {
    LogCause.NOT_INITIALISED: Meaning(
        "A buffer had to be bounced, and swiotlb had no memory at all: every map that bounces fails, of any size.",
        "To let it have memory (boot without swiotlb=noforce; swiotlb=N sets N slots aside, with swiotlb=force "
        "where the kernel sets nothing aside by itself), or to let an IOMMU serve the device.",
        "Smaller requests, or fewer of them.",
        "Why there is no memory: none was needed when it booted, it was switched off, or an IOMMU's driver gave it "
        "back. On that machine, swiotlb-top doctor tells; its log's lines of boot (software IO TLB) may.",
    ),
    LogCause.ABSURD_SIZE: Meaning(
        "A driver asked for a size that nobody means, of a GiB and more, or below 0: it has miscalculated. The kernel "
        "calls that full, too.",
        "To report it to the driver's authors, with this line.",
        "No value of swiotlb= changes this, and neither does an emptier pool.",
        f"It is open where the driver went wrong; its other lines in the log may tell. {_RECORD} records each request.",
    ),
    LogCause.TOO_LARGE: Meaning(
        "One map asked for more than 128 slots (256 KiB) in one piece, and no map can have more. The kernel calls that "
        "full, too, however empty the pool is.",
        "Smaller pieces: a driver has to keep to dma_max_mapping_size(), so this is for its authors; of a disk, "
        "max_sectors_kb can be lowered. Or no bouncing: an IOMMU, or memory that the device reaches.",
        "No value of swiotlb= changes this, and neither does an emptier pool.",
        f"It is open {_WHY_IT_BOUNCES}, and whether a vendor changed the kernel's limit (IO_TLB_SEGSIZE). "
        f"{_RECORD} records each request from the first on.",
    ),
    LogCause.EXHAUSTED: Meaning(
        "Fewer slots were free than the map needed, as the kernel counted them right after it had looked.",
        "To find who holds the slots. If it is load, a larger pool (swiotlb=N at boot: N slots of 2 KiB), or less "
        "in flight at once. If they are never given back, a corrected driver.",
        "A larger pool only delays it where slots leak. And to blame the device of this line: it was refused, and "
        "need not be one that holds any.",
        "It is open who holds the slots, and whether the pool is the machine's or the device's own (restricted). "
        "On that machine, swiotlb-top shows what each device holds (HELD); what it took before, as soon as it syncs or "
        "releases it (OLDER).",
    ),
    LogCause.NO_RUN: Meaning(
        "Enough slots were free, as the kernel counted them right after it had looked, and the map needs them in one "
        "run at a suitable address. The kernel calls that full, too; in the reference's words it is fragmented, "
        "misaligned or boundary (or exhausted, if others gave slots back in between).",
        "Smaller requests, which need shorter runs (of a disk, max_sectors_kb). A larger pool often helps, and how "
        "large is not told by how many slots are in use.",
        "To watch io_tlb_used: it stays below io_tlb_nslabs while maps fail.",
        f"It is open which of these it was, and who holds the slots between. {_RECORD}, then {_EXPLAIN}, tells.",
    ),
    LogCause.UNSUITABLE_RUN: Meaning(
        "So few slots were in use, as the kernel counted them right after it had looked, that a run long enough was "
        "free, and it was not taken. In the reference's words it is misaligned or boundary: no such run begins at an "
        "address that the device takes, or each crosses a boundary of its segments.",
        "To correct the limits that a driver sets for the device (min_align_mask, the segment boundary), or those of "
        "another driver on the same controller. Or a newer kernel: the search passed suitable slots over in some of "
        "2023 and of spring 2024.",
        "A larger swiotlb=: the same slots are refused in an empty pool of any size.",
        "It is open which of the two it was, and whether much was given back between search and count (then it was "
        "full; one line proves less than many), or too little is counted, as 6.4 to 6.8 do. "
        f"{_RECORD}, then {_EXPLAIN}, tells.",
    ),
    LogCause.UNTOLD: Meaning(
        "A map was refused, and was not too large. The line does not tell whether the pool was full or had no "
        "suitable run: in the reference's words it is exhausted, fragmented, misaligned or boundary.",
        "To find which of these it is, first: they have different remedies.",
        "To take the kernel's word for it that it was full: it says so of every refusal.",
        f"On that machine, while it fails, swiotlb-top shows the cause; {_RECORD}, then {_EXPLAIN}, tells of each.",
    ),
    LogCause.UNREACHABLE: Meaning(
        "The address that was had lies beyond what the device can address, so the map failed. Where the line says "
        "swiotlb addr, slots were free and were had: the pool itself is beyond the device's reach.",
        "A pool that the device reaches: its DMA mask or dma-ranges corrected, or a restricted-dma-pool of its own "
        "within its reach.",
        "A larger swiotlb=: it is not short of slots.",
        "It is open where the pool lies; the log's line of boot has it: dmesg | grep 'software IO TLB: mapped'. The "
        "kernel prints this once a boot, so it does not tell how often it happened.",
    ),
    LogCause.NOT_BOUNCED: Meaning(
        "The device cannot reach the buffer, and swiotlb was not there to bounce it: off, without memory, or not built "
        "in.",
        "To boot without swiotlb=noforce, or with swiotlb=N or swiotlb=force; an IOMMU; a DMA mask as wide as the "
        "device really has.",
        "Smaller requests, or fewer of them.",
        "It is open why swiotlb is not there: swiotlb-top doctor on that machine tells. Most kernels print this once a "
        "boot, so it does not tell how often it happened.",
    ),
    LogCause.POOL_NOT_ADDED: Meaning(
        "The pools were full, and the kernel had no memory in one piece for another (CONFIG_SWIOTLB_DYNAMIC). That is "
        "no failed map by itself: a pool for one map alone is tried first.",
        "A larger swiotlb= at boot, so that it need not grow; more free memory where the device reaches it.",
        "More memory beyond the device's reach.",
        "It is open whether maps failed: then other lines tell of them. swiotlb-top shows growth and failures.",
    ),
    LogCause.POOL_NOT_MADE: Meaning(
        "At boot the kernel could not make the pool that was asked for: it is smaller, or there is none.",
        "To ask for less (swiotlb=N, N slots of 2 KiB), so that it fits below 4 GiB in one piece; or to leave more "
        "memory free there (crashkernel=, cma=).",
        "A larger value: it fits even less.",
        "It is open how much there is now: /sys/kernel/debug/swiotlb/io_tlb_nslabs, or swiotlb-top doctor.",
    ),
    LogCause.MISUSE: Meaning(
        "A caller of swiotlb did something wrong, most often the driver: it synced or mapped more than it may. That is "
        "no failed map, and no lack of room.",
        "To report it to the driver's authors, with the call trace that follows it in the log.",
        "A larger swiotlb=.",
        "The kernel prints it once a boot, so it does not tell how often it happened.",
    ),
}
