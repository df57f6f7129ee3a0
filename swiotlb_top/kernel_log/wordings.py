"""Every wording in which the kernel tells of swiotlb in its log: a row a wording.

Releases are mainline's, whose stable kernels backport: of a commit that is known, or else of those whose source was
looked at (4.18, 5.2, 5.4, 5.10, 6.1, 6.12, 7.3). Numbers are captured by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Kind(Enum):
    """What a line is about."""

    REFUSED = "no slots were had"
    NO_POOL = "swiotlb had no memory"
    UNREACHABLE = "the address is beyond the device's reach"
    NOT_BOUNCED = "the buffer is beyond the device's reach, and nothing was there to bounce it"
    ECHO = "said again of a map that a line before told of"
    SUPPRESSED = "lines that were not printed"
    POOL_NOT_ADDED = "no pool could be added"
    POOL_NOT_MADE = "no pool, or a smaller one, was made at boot"
    MISUSE = "a caller's mistake"
    BOOT = "how swiotlb was set up"
    MENTION = "a line of swiotlb's that is not known here"


class Limit(Enum):
    """How often the kernel prints a line of what happens more often."""

    NONE = "each time"
    RATE = "ten times in five seconds"
    ONCE = "once a boot"


@dataclass(frozen=True, slots=True)
class Wording:
    """One wording. What is not known of it is empty."""

    kind: Kind
    pattern: re.Pattern[str]
    releases: str = ""
    """The kernels that print it, in words."""
    limit: Limit = Limit.NONE
    commit: str = ""
    subject: str = ""
    """Of the commit that brought this wording, or that removed it."""


def _row(
    kind: Kind,
    pattern: str,
    releases: str = "",
    *,
    limit: Limit = Limit.NONE,
    commit: str = "",
    subject: str = "",
) -> Wording:
    return Wording(kind, re.compile(pattern), releases, limit, commit, subject)


_SIZE: Final = r"(?P<size>-?\d{1,20})"
_ADDRESS: Final = r"(?P<address>(?:0x)?[0-9a-fA-F]{1,16})\+(?P<size>\d{1,20})"
_REACH: Final = r"\(mask (?P<mask>[0-9a-f]{1,16}), bus limit (?P<bus_limit>[0-9a-f]{1,16})\)"

WORDINGS: Final[tuple[Wording, ...]] = (
    _row(
        Kind.REFUSED,
        rf"swiotlb buffer is full \(sz: {_SIZE} bytes\), "
        r"total (?P<total>\d{1,20}) \(slots\), used (?P<used>\d{1,20}) \(slots\)",
        "since 5.2",
        limit=Limit.RATE,
        subject="swiotlb: dump used and total slots when swiotlb buffer is full",
    ),
    _row(
        Kind.REFUSED,
        rf"swiotlb buffer is full \(sz: {_SIZE} bytes\)",
        "up to 5.1",
        limit=Limit.RATE,
    ),
    _row(
        Kind.REFUSED,
        r"swiotlb buffer is full",
        limit=Limit.RATE,
    ),
    _row(
        Kind.NO_POOL,
        r"Can not allocate SWIOTLB buffer earlier and can't now provide you with the DMA bounce buffer",
        "since 6.1; before, it is a panic",
        limit=Limit.RATE,
        commit="639205ed206f",
        subject="swiotlb: don't panic!",
    ),
    _row(
        Kind.NO_POOL,
        r"DMA bounce buffers are inactive, unable to map unaligned transaction",
        "since 5.19",
        limit=Limit.ONCE,
        commit="f316ba0a8814",
        subject="dma-iommu: Check that swiotlb is active before trying to use it",
    ),
    _row(
        Kind.UNREACHABLE,
        rf"swiotlb addr {_ADDRESS} overflow {_REACH}",
        "since 5.6",
        limit=Limit.ONCE,
        subject="dma-direct: improve swiotlb error reporting",
    ),
    _row(
        Kind.NOT_BOUNCED,
        rf"DMA addr {_ADDRESS} overflow {_REACH}",
        "since 5.6",
        limit=Limit.ONCE,
        commit="75467ee48a5e",
        subject="dma-direct: improve DMA mask overflow reporting",
    ),
    # Of what no slots were had for, too: then a line before it says so.
    _row(
        Kind.ECHO,
        rf"overflow {_ADDRESS} of DMA mask (?P<mask>[0-9a-f]{{1,16}}) bus (?:mask|limit) "
        r"(?P<bus_limit>[0-9a-f]{1,16})",
        "up to 5.5",
        limit=Limit.ONCE,
    ),
    _row(
        Kind.NOT_BOUNCED,
        rf"nommu_map_\w{{1,16}}: overflow {_ADDRESS} of device mask (?P<mask>[0-9a-f]{{1,16}})",
        "up to 4.x",
    ),
    _row(
        Kind.NOT_BOUNCED,
        r"Cannot do DMA to address (?P<address>(?:0x)?[0-9a-f]{1,16})",
        "up to 5.5",
        limit=Limit.RATE,
    ),
    _row(
        Kind.ECHO,
        rf"Out of SW-IOMMU space for {_SIZE} bytes(?: at device (?P<device>[^\s.]\S{{0,126}}))?",
        "up to 4.x",
        limit=Limit.RATE,
        commit="dff8d6c1ed58",
        subject="swiotlb: remove the overflow buffer",
    ),
    _row(
        Kind.ECHO,
        rf"swiotlb: coherent allocation failed(?: for device (?P<device>\S{{1,127}}))?,? size={_SIZE}",
        "up to 4.x",
        limit=Limit.RATE,
    ),
    _row(
        Kind.SUPPRESSED,
        r"(?P<caller>swiotlb_\w{1,64}): (?P<suppressed>\d{1,20}) callbacks suppressed",
    ),
    _row(
        Kind.POOL_NOT_ADDED,
        r"software IO TLB: Failed to allocate new pool",
        "since 6.6",
        limit=Limit.RATE,
        commit="1aaa736815eb",
        subject="swiotlb: allocate a new memory pool when existing pools are full",
    ),
    _row(
        Kind.MISUSE,
        r"Buffer overflow detected\. Allocation size: \d{1,20}\. Mapping size: \d{1,20}(?:\+\d{1,20})?\.",
        "since 6.1 or before",
        limit=Limit.ONCE,
    ),
    _row(
        Kind.MISUSE,
        r"Access before mapping start detected\. orig offset \d{1,20}, requested offset \d{1,20}\.",
        "around 6.1",
        limit=Limit.ONCE,
    ),
    _row(
        Kind.MISUSE,
        r"Invalid sizes \(mapping: -?\d{1,20} bytes, alloc: -?\d{1,20} bytes\)",
        "until 6.9",
        limit=Limit.ONCE,
    ),
    _row(
        Kind.MISUSE,
        r"Alloc alignment may prevent fulfilling requests with max mapping_size",
        "since 6.12 or before",
        limit=Limit.ONCE,
    ),
    _row(
        Kind.MISUSE,
        r"Cannot allocate pages from non page-aligned swiotlb addr",
        "since 6.9",
        limit=Limit.ONCE,
        commit="823353b7cf0e",
    ),
    _row(
        Kind.POOL_NOT_MADE,
        r"SWIOTLB bounce buffer size adjusted (?P<asked>\d{1,20}) -> (?P<got>\d{1,20}) slabs",
        "since 6.2",
        commit="8d58aa484920",
        subject="swiotlb: reduce the swiotlb buffer size on allocation failure",
    ),
    _row(
        Kind.POOL_NOT_MADE,
        r"software IO TLB: only able to allocate (?P<megabytes>\d{1,20}) MB",
        "since 5.4 or before",
    ),
    _row(
        Kind.POOL_NOT_MADE,
        r"only able to allocate (?P<megabytes>\d{1,20}) MB for software IO TLB",
        "up to 4.x",
    ),
    _row(
        Kind.POOL_NOT_MADE,
        r"Cannot allocate SWIOTLB buffer|software IO TLB: Cannot allocate buffer",
        "up to 5.10 or later",
    ),
    _row(
        Kind.POOL_NOT_MADE,
        r"software IO TLB: (?:\w{1,64}: )?Failed to (?:allocate|remap|map the unencrypted memory|decrypt)",
        "since 6.1 or before",
    ),
    _row(
        Kind.POOL_NOT_MADE,
        r"Failed to decrypt restricted DMA pool",
        "since 7.3 or before",
    ),
    _row(
        Kind.POOL_NOT_MADE,
        r"Restricted DMA pool must be accessible within the linear mapping",
        "since 6.1 or before",
    ),
    _row(
        Kind.BOOT,
        r"software IO TLB: mapped \[mem [^\]]{1,60}\] \(\d{1,12}MB\)",
    ),
    _row(
        Kind.BOOT,
        r"Placing \d{1,12}MB software IO TLB between \S{1,24} - \S{1,24}",
    ),
    _row(
        Kind.BOOT,
        r"software IO TLB: area num \d{1,12}",
        commit="20347fca71a3",
    ),
    _row(
        Kind.BOOT,
        r"SWIOTLB bounce buffer size (?:adjusted|roundup) to \d{1,12}MB",
    ),
    # It has no memory: none could be had, which other lines tell, or none was wanted, as with swiotlb=noforce.
    _row(
        Kind.BOOT,
        r"software IO TLB: No low mem",
    ),
    _row(
        Kind.BOOT,
        r"software IO TLB: tearing down default memory pool",
    ),
    _row(
        Kind.BOOT,
        r"(?:Memory encryption|SME|SEV) is active and system is using DMA bounce buffers",
        limit=Limit.ONCE,
    ),
    _row(
        Kind.BOOT,
        r"Using software bounce buffering for IO \(SWIOTLB\)",
    ),
    _row(
        Kind.BOOT,
        r"created restricted DMA pool at \S{1,24}, size -?\d{1,12} MiB",
    ),
    _row(
        Kind.BOOT,
        r"[Cc]ommand line: .{0,2048}?\b(?P<words>swiotlb=[\w,]{1,60})",
    ),
    _row(
        Kind.MENTION,
        r"(?i)swiotlb|software IO TLB|SW-IOMMU",
    ),
)
"""In the order in which they are tried: the first that matches is it."""

WORTH_A_LOOK: Final = re.compile(
    rb"(?i)swiotlb|software io tlb|sw-iommu|overflow|bounce buffer|cannot do dma|restricted dma pool"
)
"""What a line must have in it to be one of these; most lines of a log have not."""
NOT_OF_ITSELF: Final = re.compile(r"swiotlb\w{0,64}(?:\.\w{1,32}){0,4}\+0x|swiotlb\.c:\d|swiotlb-top")
"""A stack or a place in the source: it belongs to a line before it."""
