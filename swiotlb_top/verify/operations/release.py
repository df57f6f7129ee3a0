"""A release of slots: ``swiotlb_release_slots()``.

It is legal if a mapping begins at the address, and if as many bytes are unmapped as were mapped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from swiotlb_top.allocator import Allocator, Hazard, Ledger, Pool, Violation
from swiotlb_top.allocator.geometry import slot_addr
from swiotlb_top.allocator.mapping import UNKNOWN_DEVICE, Mapping
from swiotlb_top.constants import IO_TLB_SHIFT, IO_TLB_SIZE, PAGE_SIZE, SLOT_SET_SHIFT
from swiotlb_top.events import ENTRY_UNKNOWN, Unmap
from swiotlb_top.verify.operations.base import Undo, no_undo

_LARGEST_PADDING_BYTES: Final = (1 << 16) - 1
"""By how many bytes a caller may round a mapping up, for an IOMMU: an IOMMU page has 64 KiB at most."""


# Not frozen, for the same reason as SlotSearch.
@dataclass(slots=True, eq=False)
class Release:
    """One unmap that was seen: ``swiotlb_release_slots()``, or ``swiotlb_del_transient()`` with the whole pool.

    ``tlb_addr`` is the buffer's address, ``size_bytes`` what the caller unmaps.
    """

    event: Unmap
    entry_ns: int
    exit_ns: int
    dev: int
    pool: Pool
    tlb_addr: int
    min_align_mask: int
    size_bytes: int
    unchecked: bool = False
    reach: int = 0
    """The highest address that the device reaches; only for a release of what is beyond it."""
    mapping: Mapping | None = None
    """The mapping that was released, once the operation was applied."""
    compared: ClassVar[bool] = True

    def apply_if_legal(self, model: Allocator) -> Undo | None:
        mapping = self.mapping = self.target()
        if mapping is None or not self.fits(mapping):
            return None
        return self._release(mapping, model)

    def apply_forced(self, model: Allocator) -> Undo | None:
        mapping = self.mapping = self._mapping_around()
        return no_undo if mapping is None else self._release(mapping, model)

    def _release(self, mapping: Mapping, model: Allocator) -> Undo | None:
        pool = self.pool
        if pool in model.pools:
            undo = pool.release(mapping)
            return lambda: pool.undo(undo)
        if pool not in model.transient.get(self.dev, ()):
            return None
        model.delete_transient(self.dev, pool)
        return lambda: model.add_transient(self.dev, pool)

    def adopt_as_is(self, model: Allocator) -> None:
        self.mapping = self._mapping_around()
        if self.mapping and self.pool in model.pools:
            self.pool.release(self.mapping)
        elif self.pool in model.transient.get(self.dev, ()):
            model.delete_transient(self.dev, self.pool)

    def areas(self, model: Allocator) -> tuple[tuple[Pool, int], ...]:
        place = self.location()
        return ((self.pool, place[1] // self.pool.area_nslabs),) if place else ()

    def record_in(self, ledger: Ledger) -> tuple[Violation, ...]:
        pool, mapping = self.pool, self.mapping
        if self.unchecked and mapping:
            return ledger.released(pool, slot_addr(pool.start, mapping.slot + mapping.pad_slots), 0)
        if mapping and mapping[3] == self.size_bytes and not (self.min_align_mask or mapping[2] or pool.transient):
            return ledger.released(pool, self.tlb_addr, 0)  # nearly all releases are so
        if mapping is not None and self._begins_inside(mapping):
            # The ledger has entered it as beginning in its first slot.
            return ledger.released(pool, slot_addr(pool.start, mapping.slot), 0)
        violations = ledger.released(pool, self.tlb_addr, self.min_align_mask)
        if pool.transient:
            ledger.remove_pool(pool)
        if mapping is not None and not violations:
            return self._size_violations(mapping)
        return violations

    def fits(self, mapping: Mapping) -> bool:
        """Whether as many bytes are released as were mapped, or one of the two is not known."""
        if (mapping[3] == self.size_bytes and not mapping[2]) or self.unchecked or self._begins_inside(mapping):
            return True
        return not self._size_violations(mapping)

    def _begins_inside(self, mapping: Mapping) -> bool:
        """Whether the buffer does not begin where the mapping shows it.

        The snapshot has such a mapping if it was taken between ``swiotlb_find_slots()`` and the end of the map, when
        the slots do not show yet where the buffer begins.
        """
        return mapping.slot + mapping.pad_slots != self.slot

    def _size_violations(self, mapping: Mapping) -> tuple[Violation, ...]:
        """What is wrong if not as many bytes are unmapped as were mapped.

        The request may have been larger than the mapping: by padding before the buffer, and by padding at its end, if
        the caller rounds up to a page of an IOMMU. Since Linux commit 327e2c97c46e (in v6.10) the sum of the size and
        the padding before it is rounded up, before that the size alone.
        """
        offset = self.tlb_addr & self.min_align_mask & (IO_TLB_SIZE - 1)
        pad_bytes = mapping.pad_slots << IO_TLB_SHIFT
        mapped_bytes = mapping.alloc_size_bytes - pad_bytes
        if mapping.dev != UNKNOWN_DEVICE:
            mapped_bytes -= offset
        if mapped_bytes == self.size_bytes:
            return ()
        padded = not (mapped_bytes % PAGE_SIZE and (pad_bytes + offset + mapped_bytes) % PAGE_SIZE)
        if 0 <= mapped_bytes - self.size_bytes <= (_LARGEST_PADDING_BYTES if padded else 0):
            return ()
        what = f"release of {self.size_bytes} bytes at {self.tlb_addr:#x}, mapped were {mapped_bytes}"
        return (Violation(Hazard.NOT_MAPPED, what),)

    def expected(self, model: Allocator) -> str:
        if self.mapping_at_address():
            return "as many bytes as were mapped"
        return f"a mapping at {self.tlb_addr:#x}: the reference has none that begins there"

    def observed(self) -> str:
        return f"release of {self.tlb_addr:#x} in pool {self.pool.start:#x}"

    @property
    def slot(self) -> int:
        """Number of the slot in which the buffer begins. It is not checked: it may lie outside of the pool."""
        return (self.tlb_addr - self.pool.start) >> IO_TLB_SHIFT

    @property
    def slot_set(self) -> tuple[Pool, int]:
        """The pool and the number of the slot set that the mapping lies in: no mapping reaches beyond its slot set."""
        return self.pool, self.slot >> SLOT_SET_SHIFT

    def location(self) -> tuple[Pool, int] | None:
        return (self.pool, self.slot) if 0 <= self.slot < self.pool.nslabs else None

    @property
    def entry_unseen(self) -> bool:
        """Whether its invocation was not seen, so that ``entry_ns`` is only assumed."""
        return self.event.entry_ns == ENTRY_UNKNOWN

    def mapping_at_address(self) -> Mapping | None:
        """The mapping whose buffer begins at its address now."""
        return self.pool.find_mapping(self.tlb_addr, self.min_align_mask)

    def target(self) -> Mapping | None:
        """The mapping that it releases now.

        If the device's limits are not known, neither is the padding: then it is any mapping that has its slot.
        """
        return self._mapping_around() if self.unchecked else self.mapping_at_address()

    def _mapping_around(self) -> Mapping | None:
        """The mapping whose buffer begins at its address now, or else the one that has its slot."""
        place = self.location()
        found = self.pool.find_mapping(self.tlb_addr, self.min_align_mask)
        if found or not place:
            return found
        return self.pool.mapping_over(place[1])
