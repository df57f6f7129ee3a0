"""The release of a mapping's slots, which has to be one that is there and of as many bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from swiotlb_top.allocator import Allocator, Hazard, Ledger, Pool, Violation
from swiotlb_top.allocator.geometry import IO_TLB_SHIFT, IO_TLB_SIZE, PAGE_SIZE, SLOT_SET_SHIFT, slot_addr
from swiotlb_top.allocator.pool import UNKNOWN_DEVICE, Mapping
from swiotlb_top.events import ENTRY_UNKNOWN, Unmap
from swiotlb_top.verify.operations.base import Undo, no_undo

_LARGEST_PADDING_BYTES: Final = (1 << 16) - 1
"""Of a mapping's end, for an IOMMU: its pages are of 64 KiB at most."""


# Not frozen, as a search is not.
@dataclass(slots=True, eq=False)
class Release:
    """A mapping's end (``swiotlb_release_slots()``, or a transient pool's with it)."""

    event: Unmap
    entry_ns: int
    exit_ns: int
    dev: int
    pool: Pool
    tlb_addr: int
    min_align_mask: int
    size_bytes: int
    unchecked: bool = False
    mapping: Mapping | None = None
    """What was released, once it is."""
    compared: ClassVar[bool] = True

    def apply_if_legal(self, model: Allocator) -> Undo | None:
        mapping = self.mapping = self.meant()
        if mapping is None or not self._fits(mapping):
            return None
        return self._let_go(mapping, model)

    def apply_forced(self, model: Allocator) -> Undo | None:
        mapping = self.mapping = self._around()
        return no_undo if mapping is None else self._let_go(mapping, model)

    def _let_go(self, mapping: Mapping, model: Allocator) -> Undo | None:
        pool = self.pool
        if pool in model.pools:
            undo = pool.release(mapping)
            return lambda: pool.undo(undo)
        if pool not in model.transient.get(self.dev, ()):
            return None
        model.delete_transient(self.dev, pool)
        return lambda: model.add_transient(self.dev, pool)

    def adopt_as_is(self, model: Allocator) -> None:
        self.mapping = self._around()
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
            return ledger.released(pool, self.tlb_addr, 0)  # as it nearly always is
        if mapping is not None and self._begins_anywhere_in(mapping):
            # The ledger knows it by its first slot.
            return ledger.released(pool, slot_addr(pool.start, mapping.slot), 0)
        violations = ledger.released(pool, self.tlb_addr, self.min_align_mask)
        if pool.transient:
            ledger.remove_pool(pool)
        if mapping is not None and not violations:
            return self._of_another_size(mapping)
        return violations

    def _fits(self, mapping: Mapping) -> bool:
        """Whether as many bytes are released as were mapped, as far as that is known."""
        if (mapping[3] == self.size_bytes and not mapping[2]) or self.unchecked or self._begins_anywhere_in(mapping):
            return True
        return not self._of_another_size(mapping)

    def _begins_anywhere_in(self, mapping: Mapping) -> bool:
        """Whether a snapshot caught the mapping before it was to be seen where its buffer begins."""
        return mapping.slot + mapping.pad_slots != self.slot

    def _of_another_size(self, mapping: Mapping) -> tuple[Violation, ...]:
        """As many bytes must be unmapped as were mapped. What was asked for may have been more: padding before
        the buffer, and at the end, where who maps rounds up to a page size of an IOMMU: since 6.10 the size
        with the padding before it, until then the size without."""
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
        if self.found():
            return "as many bytes as were mapped"
        return f"a mapping at {self.tlb_addr:#x}: the reference has none that begins there"

    def observed(self) -> str:
        return f"release of {self.tlb_addr:#x} in pool {self.pool.start:#x}"

    @property
    def slot(self) -> int:
        """Where the buffer begins, which may be anywhere."""
        return (self.tlb_addr - self.pool.start) >> IO_TLB_SHIFT

    @property
    def slot_set(self) -> tuple[Pool, int]:
        """The pool and the slot set that the mapping lies in: no mapping reaches beyond its slot set."""
        return self.pool, self.slot >> SLOT_SET_SHIFT

    def location(self) -> tuple[Pool, int] | None:
        return (self.pool, self.slot) if 0 <= self.slot < self.pool.nslabs else None

    @property
    def unseen(self) -> bool:
        """Whether it was not seen to begin, and ``entry_ns`` is only a guess that is early enough."""
        return self.event.entry_ns == ENTRY_UNKNOWN

    def found(self) -> Mapping | None:
        """The mapping that begins there now."""
        return self.pool.find_mapping(self.tlb_addr, self.min_align_mask)

    def meant(self) -> Mapping | None:
        """The mapping there now that it may be of: where padding is not known, the buffer may begin anywhere in it."""
        return self._around() if self.unchecked else self.found()

    def _around(self) -> Mapping | None:
        place = self.location()
        found = self.pool.find_mapping(self.tlb_addr, self.min_align_mask)
        if found or not place:
            return found
        slot = place[1]
        return next((m for m in self.pool.mappings_near(slot) if m.slot <= slot < m.slot + m.nslots), None)
