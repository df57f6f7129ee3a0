"""The sweep is worth something: with any of these faults in the judge or the account, a sound kernel is blamed.

Each has been there, or was written by hand as a mistake that is easily made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from swiotlb_top.accounting.account import Account
from swiotlb_top.accounting.pool_account import PoolAccount
from swiotlb_top.allocator import REVISIONS, Hazard, Mapping, Revision, Violation, safety
from swiotlb_top.allocator.mapping import UNKNOWN_DEVICE
from swiotlb_top.constants import IO_TLB_SHIFT, IO_TLB_SIZE, PAGE_SIZE
from swiotlb_top.verify import comparison
from swiotlb_top.verify.operations.pools_by_address import PoolsByAddress
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.resolve import Resolver
from tests.support.sweep import SETTINGS, judged

Patch = pytest.MonkeyPatch


def sizes_are_rounded_only_without_padding(patch: Patch) -> None:
    """An NVMe disk behind an IOMMU: half of its buffers were "released, not mapped"."""

    def of_another_size(self: Release, mapping: Mapping) -> tuple[Violation, ...]:
        offset = self.tlb_addr & self.min_align_mask & (IO_TLB_SIZE - 1)
        mapped_bytes = mapping.alloc_size_bytes - (offset if mapping.dev != UNKNOWN_DEVICE else 0)
        if mapped_bytes == self.size_bytes:
            return ()
        mapped_bytes -= mapping.pad_slots << IO_TLB_SHIFT
        padded = not (mapped_bytes % PAGE_SIZE and (mapped_bytes + offset) % PAGE_SIZE)
        if 0 <= mapped_bytes - self.size_bytes <= (0xFFFF if padded else 0):
            return ()
        return (Violation(Hazard.NOT_MAPPED, "another size"),)

    patch.setattr(Release, "_size_violations", of_another_size)


def a_reused_address_keeps_its_place(patch: Patch) -> None:
    """A plain dictionary: the pool at an address is the youngest at most by chance. Freed pools stay."""

    class Lives(dict[int, Any]):
        def pop(self, *_: object) -> None:
            """Nothing ever goes."""

    def begin(self: PoolsByAddress[Any], pools: tuple[Any, ...] = ()) -> None:
        init(self)
        self._there = Lives()
        for pool in pools:
            self.add(pool, 0)

    init = PoolsByAddress.__init__
    patch.setattr(PoolsByAddress, "__init__", begin)


def an_unmap_is_of_the_pool_that_is_there_when_it_returns(patch: Patch) -> None:
    def released_in(self: PoolsByAddress[Any], address: int, tlb_addr: int, *_: int) -> tuple[Any, ...]:
        pool = self.now(address) if address else self.now_around(tlb_addr)
        return (pool,) if pool else ()

    patch.setattr(PoolsByAddress, "released_in", released_in)


def alignment_is_asked_of_kernels_that_cannot_keep_it(patch: Patch) -> None:
    misplaced = safety.misplaced
    patch.setattr(safety, "misplaced", lambda *args, pads_slots: misplaced(*args, pads_slots=True))


def the_account_has_the_newest_kernels_arithmetic(patch: Patch) -> None:
    begin = Account.__init__
    patch.setattr(Account, "__init__", lambda self, revision, devices: begin(self, REVISIONS["7.3"], devices))


def mappings_are_as_large_as_what_is_mapped(patch: Patch) -> None:
    request = Revision.request
    patch.setattr(Revision, "request_of", lambda self, call, limits: request(
        self, call.mapping_size_bytes, call.orig_addr, 0, limits))  # fmt: skip


def padding_before_the_buffer_is_not_counted(patch: Patch) -> None:
    patch.setattr(PoolAccount, "_begin_of", lambda self, slot: slot)
    patch.setattr(Revision, "pad_slots", lambda self, request: 0)


def only_cpus_up_to_their_number_are_thought_possible(patch: Patch) -> None:
    """Four CPUs are not those from 0 to 3."""
    begin = Resolver.__init__

    def counted(self: Resolver, *args: Any, cpus: Any, **kwargs: Any) -> None:
        begin(self, *args, cpus=range(len(cpus)), **kwargs)

    patch.setattr(Resolver, "__init__", counted)


def a_moved_search_began_where_it_ended(patch: Patch) -> None:
    patch.setattr(Resolver, "_other_cpus", lambda self, cpu: ())


def devices_keep_the_limits_they_had_first(patch: Patch) -> None:
    introduced = Resolver._introduced

    def once(self: Resolver, event: Any) -> None:
        if event.dev not in self._devices:
            introduced(self, event)

    patch.setattr(Resolver, "_introduced", once)


def a_devices_own_pool_is_not_told_apart(patch: Patch) -> None:
    introduced = Resolver._introduced
    patch.setattr(
        Resolver, "_introduced", lambda self, event: introduced(self, event._replace(mem=self._mem or event.mem))
    )


def a_map_that_gave_back_what_it_found_found_nothing(patch: Patch) -> None:
    """An unmap of what was never mapped, on 6.1."""
    patch.setattr(comparison, "with_rolled_back_maps", lambda group, revision: [])


def a_map_that_was_turned_down_for_its_sizes_searched_in_vain(patch: Patch) -> None:
    """Up to 6.9."""
    of_map = Resolver._map

    def without_sizes(self: Resolver, event: Any) -> Any:
        alloc_size_bytes = event.mapping_size_bytes if event.failed and event.alloc_size_bytes else 0
        return of_map(self, event._replace(alloc_size_bytes=alloc_size_bytes or event.alloc_size_bytes))

    patch.setattr(Resolver, "_map", without_sizes)


FAULTS: Final = (
    sizes_are_rounded_only_without_padding,
    a_reused_address_keeps_its_place,
    an_unmap_is_of_the_pool_that_is_there_when_it_returns,
    alignment_is_asked_of_kernels_that_cannot_keep_it,
    the_account_has_the_newest_kernels_arithmetic,
    mappings_are_as_large_as_what_is_mapped,
    padding_before_the_buffer_is_not_counted,
    only_cpus_up_to_their_number_are_thought_possible,
    a_moved_search_began_where_it_ended,
    devices_keep_the_limits_they_had_first,
    a_devices_own_pool_is_not_told_apart,
    a_map_that_gave_back_what_it_found_found_nothing,
    a_map_that_was_turned_down_for_its_sizes_searched_in_vain,
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_sweep_notices(fault: Callable[[Patch], None], monkeypatch: Patch) -> None:
    fault(monkeypatch)
    # Not in the order of revisions, so that each fault meets one that it matters for soon.
    order = sorted(range(len(SETTINGS)), key=lambda seed: (seed * 37) % len(SETTINGS))
    assert any(judged(SETTINGS[seed], seed).wrong for seed in order)
