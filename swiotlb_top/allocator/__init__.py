"""The reference allocator: swiotlb as the kernel means it, pure and deterministic.

Read :mod:`~swiotlb_top.allocator.pool` first: one pool, what a search finds, what taking and
releasing do. :mod:`~swiotlb_top.allocator.allocator` has the pools of a machine,
:mod:`~swiotlb_top.allocator.revision` what differs between kernels. Two judges of a real kernel
stand on it: :meth:`Pool.search <swiotlb_top.allocator.pool.Pool.search>` says which slot it
should take, :class:`~swiotlb_top.allocator.safety.Ledger` what it must never do.
"""

from swiotlb_top.allocator.adopt import Adopted, Flaw, Problem, adopt
from swiotlb_top.allocator.allocator import DMA_MAPPING_ERROR, Allocator, Found, Pages
from swiotlb_top.allocator.explain import Cause, Explanation, explain
from swiotlb_top.allocator.growth import grow_sizes, limit_nareas
from swiotlb_top.allocator.picture import picture
from swiotlb_top.allocator.pool import Mapping, Pool, Undo
from swiotlb_top.allocator.request import (
    NO_BOUNDARY,
    Limits,
    Request,
    align_offset,
    alloc_size_bytes,
    pad_slots,
    request_for,
    tlb_addr,
)
from swiotlb_top.allocator.revision import REVISIONS, Revision
from swiotlb_top.allocator.safety import Hazard, Ledger, Violation

__all__ = [
    "DMA_MAPPING_ERROR",
    "NO_BOUNDARY",
    "REVISIONS",
    "Adopted",
    "Allocator",
    "Cause",
    "Explanation",
    "Flaw",
    "Found",
    "Hazard",
    "Ledger",
    "Limits",
    "Mapping",
    "Pages",
    "Pool",
    "Problem",
    "Request",
    "Revision",
    "Undo",
    "Violation",
    "adopt",
    "align_offset",
    "alloc_size_bytes",
    "explain",
    "grow_sizes",
    "limit_nareas",
    "pad_slots",
    "picture",
    "request_for",
    "tlb_addr",
]
