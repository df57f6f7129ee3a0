"""A map that the kernel refused before any search: for the kind of its pool's memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from swiotlb_top.allocator import Allocator, Ledger, Pool, Request, Violation
from swiotlb_top.events import Map
from swiotlb_top.verify.operations.base import Undo, no_undo


@dataclass(slots=True, eq=False)
class Refusal:
    """One ``swiotlb_tbl_map_single()`` that shows, by its attributes, that the pool's kind is not the device's.

    ``shared`` is whether the pool's memory is shared with the host. A kernel that checks the kind is always right to
    refuse then: the model, which has pools of one kind only, has nothing to say against it.
    """

    event: Map
    entry_ns: int
    exit_ns: int
    cpu: int
    dev: int
    request: Request
    shared: bool
    unchecked: ClassVar[bool] = False
    compared: ClassVar[bool] = True

    def apply_if_legal(self, model: Allocator) -> Undo | None:
        return no_undo

    apply_forced = apply_if_legal

    def adopt_as_is(self, model: Allocator) -> None:
        """It changed nothing."""

    def areas(self, model: Allocator) -> tuple[tuple[Pool, int], ...]:
        return ()

    def record_in(self, ledger: Ledger) -> tuple[Violation, ...]:
        return ()

    def expected(self, model: Allocator) -> str:
        return "refusal"

    def observed(self) -> str:
        return f"{self.event.mapping_size_bytes} bytes on CPU {self.cpu}: refused before any search"

    def location(self) -> tuple[Pool, int] | None:
        return None
