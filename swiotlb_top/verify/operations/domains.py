"""The units of independence: what can be linearized by itself.

Each area of a pool has a lock and an ``index`` of its own since Linux commit 20347fca71a3 ("swiotlb: split up the
global swiotlb lock", in v6.0), and no operation holds two of these locks at once. So the areas are separate objects in
the sense of Herlihy and Wing ("Linearizability: A Correctness Condition for Concurrent Objects", 1990), and their
theorem of locality holds: a history is linearizable if its part on each object is.
"""

from __future__ import annotations

from collections.abc import Iterator, KeysView
from typing import Final, TypeAlias

from swiotlb_top.allocator import Allocator, Pool
from swiotlb_top.constants import IO_TLB_SEGSIZE
from swiotlb_top.verify.operations.base import Operation

Area: TypeAlias = tuple[Pool, int]
"""A pool and the number of one of its areas."""

_WHOLE_POOL: Final = -1

Domain: TypeAlias = tuple[Pool, int]
"""One object of the history: a pool and the number of an area.

The number is -1, and the whole pool is one domain, where an area's size is no multiple of a slot set (128 slots): a
mapping can reach from one area into the next there.
"""


def is_one_domain(pool: Pool) -> bool:
    """Whether all areas of a pool are one domain; otherwise each is one."""
    return pool.area_nslabs % IO_TLB_SEGSIZE != 0


def domain_of(pool: Pool, area: int) -> Domain:
    """The domain an area belongs to.

    :param area: number of the area, from 0.
    """
    return pool, _WHOLE_POOL if pool.area_nslabs % IO_TLB_SEGSIZE else area


def areas_of(domain: Domain) -> range:
    """The numbers of a domain's areas."""
    pool, area = domain
    return range(pool.nareas) if area == _WHOLE_POOL else range(area, area + 1)


def domains_of(pool: Pool) -> Iterator[Domain]:
    """The domains a pool consists of, each once."""
    return iter(dict.fromkeys(domain_of(pool, area) for area in range(pool.nareas)))


def touched(operation: Operation, model: Allocator) -> KeysView[Domain]:
    """The domains an operation may have read or changed.

    :returns: a set whose order is the one in which the operation visits them. A plain set's order follows memory
        addresses, which differ from one run to the next; a search that followed it could not be repeated.
    """
    return dict.fromkeys(domain_of(*area) for area in operation.areas(model)).keys()
