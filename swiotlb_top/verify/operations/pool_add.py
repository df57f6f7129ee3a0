"""Growth: ``add_mem_pool()`` puts a new pool on the allocator's list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from swiotlb_top.allocator import Allocator, Ledger, Pool, Violation
from swiotlb_top.events import Grow, PoolAdd
from swiotlb_top.verify.operations.base import Undo


@dataclass(slots=True, eq=False)
class AddPool:
    """A new pool becomes the head of the list (``add_mem_pool()``, called by ``swiotlb_dyn_alloc()``).

    It is not compared by itself, and still has to be legal: growth tries certain sizes only.
    """

    event: PoolAdd | Grow
    entry_ns: int
    exit_ns: int
    pool: Pool
    unchecked: ClassVar[bool] = False
    compared: ClassVar[bool] = False

    def apply_if_legal(self, model: Allocator) -> Undo | None:
        pool, event = self.pool, self.event
        if (event.start, event.nslabs, event.nareas) != (pool.start, pool.nslabs, pool.nareas):
            return None
        if not model.can_grow or (pool.nslabs, pool.nareas) not in self._sizes(model):
            return None
        return self.apply_forced(model)

    def apply_forced(self, model: Allocator) -> Undo:
        before = model.pools
        self.adopt_as_is(model)

        def back() -> None:
            model.pools = before

        return back

    def adopt_as_is(self, model: Allocator) -> None:
        model.pools = (self.pool, *model.pools)

    def areas(self, model: Allocator) -> tuple[tuple[Pool, int], ...]:
        return tuple((self.pool, area) for area in range(self.pool.nareas))

    def record_in(self, ledger: Ledger) -> tuple[Violation, ...]:
        ledger.add_pool(self.pool, self.pool.start, self.pool.nslabs)
        return ()

    def expected(self, model: Allocator) -> str:
        if not model.can_grow:
            return "no growth"
        sizes = ", ".join(f"{nslabs}/{nareas}" for nslabs, nareas in self._sizes(model))
        was = f"{self.pool.nslabs}/{self.pool.nareas} at {self.pool.start:#x}"
        return f"a pool of one of these slots/areas: {sizes}; the one allocated is {was}"

    def observed(self) -> str:
        event = self.event
        return f"pool {event.start:#x} of {event.nslabs} slots in {event.nareas} areas was added"

    def location(self) -> tuple[Pool, int] | None:
        return None

    @staticmethod
    def _sizes(model: Allocator) -> list[tuple[int, int]]:
        """The ``(nslabs, nareas)`` that growth tries, largest first."""
        return list(model.revision.grow_sizes(model.default_nslabs, model.default_nareas))
