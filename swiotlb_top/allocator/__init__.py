"""The reference allocator: swiotlb as the kernel means it, pure and deterministic.

What the kernel gets from outside - the CPU, page addresses, whether memory is free, a device's
limits - is an argument of each call. A dynamic kernel with a pool of 1 MiB, which a disk fills:

>>> from swiotlb_top.allocator import REVISIONS, Allocator, Limits, Pages, Pool, Request, explain
>>> pool = Pool(address=1, start=0x10000000, nslabs=512, nareas=1)
>>> swiotlb = Allocator(REVISIONS["6.10"], [pool], 512, 1, can_grow=True, dynamic=True)
>>> disk, limits = 7, Limits(seg_boundary_mask=0xFFFFFFFF)
>>> [hex(swiotlb.map(0, disk, 0x200000, 256 << 10, 0, limits)) for _ in range(4)]
['0x10000000', '0x10040000', '0x10080000', '0x100c0000']

The next mapping finds no room. Growth is scheduled, and the mapping gets a transient pool, if there is memory:

>>> hex(swiotlb.map(0, disk, 0x200000, 8192, 0, limits, Pages(address=2, start=0x20000000)))
'0x20000000'
>>> swiotlb.growth_pending, swiotlb.transient_nslabs, swiotlb.total_used
(True, 4, 516)
>>> explain(swiotlb, 0, Request(0x200000, 8192, 0, limits)).sentence
'needs 4 slots, 0 of 512 are free, and no transient pool of 4 slots could be allocated'

The worker asks for memory, and the new pool is searched first from then on:

>>> swiotlb.run_worker(lambda nslabs: Pages(address=3, start=0x30000000)).nslabs, swiotlb.nslabs
(512, 1024)
>>> hex(swiotlb.map(0, disk, 0x200000, 8192, 0, limits))
'0x30000000'

Read :mod:`~swiotlb_top.allocator.pool` first: one pool, what a search finds, what taking and
releasing do. :mod:`~swiotlb_top.allocator.allocator` has the pools of a machine,
:mod:`~swiotlb_top.allocator.differences` what differs between kernels, and docs/allocator.md pictures
of it all. Two judges of a real kernel stand on it: :meth:`Pool.search
<swiotlb_top.allocator.pool.Pool.search>` says which slot it should take,
:class:`~swiotlb_top.allocator.safety.Ledger` what it must never do.
"""

from swiotlb_top.allocator.adopt import Adopted, Flaw, Problem, adopt
from swiotlb_top.allocator.allocator import Allocator, Found, Pages, PageSource, TooManyAreasError
from swiotlb_top.allocator.choice import KNOWN_BY, Candidate, Choice, Reason, choose, named
from swiotlb_top.allocator.differences import DIFFERENCES, Difference
from swiotlb_top.allocator.explain import ABSURD_BYTES, Cause, Explanation, explain, unreachable, wrong_kind
from swiotlb_top.allocator.growth import grow_sizes, limit_nareas
from swiotlb_top.allocator.mapping import Mapping
from swiotlb_top.allocator.picture import picture
from swiotlb_top.allocator.pool import Pool, Undo
from swiotlb_top.allocator.request import NO_BOUNDARY, Limits, Request, align_offset
from swiotlb_top.allocator.revision import REVISIONS, Revision, as_of
from swiotlb_top.allocator.safety import Hazard, Ledger, Violation
from swiotlb_top.allocator.slot_sets import check_slot_sets, slot_set_slots
from swiotlb_top.allocator.tried import Tried, tried
from swiotlb_top.allocator.walk import NEVER_ENDS
from swiotlb_top.constants import DMA_MAPPING_ERROR

__all__ = [
    "ABSURD_BYTES",
    "DIFFERENCES",
    "DMA_MAPPING_ERROR",
    "KNOWN_BY",
    "NEVER_ENDS",
    "NO_BOUNDARY",
    "REVISIONS",
    "Adopted",
    "Allocator",
    "Candidate",
    "Cause",
    "Choice",
    "Difference",
    "Explanation",
    "Flaw",
    "Found",
    "Hazard",
    "Ledger",
    "Limits",
    "Mapping",
    "PageSource",
    "Pages",
    "Pool",
    "Problem",
    "Reason",
    "Request",
    "Revision",
    "TooManyAreasError",
    "Tried",
    "Undo",
    "Violation",
    "adopt",
    "align_offset",
    "as_of",
    "check_slot_sets",
    "choose",
    "explain",
    "grow_sizes",
    "limit_nareas",
    "named",
    "picture",
    "slot_set_slots",
    "tried",
    "unreachable",
    "wrong_kind",
]
