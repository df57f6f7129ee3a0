"""What the judge puts in order: an operation on the reference.

It has a closed interval and an effect. ``attempt`` does it if the reference, in the state it is in, would have
done the same as the kernel, and returns how to take it back; ``impose`` and ``adopt`` do what the kernel did,
whatever the reference thinks of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, Protocol

from swiotlb_top.allocator import Allocator, Ledger, Pool, Violation
from swiotlb_top.events import Event

Undo = Callable[[], None]


def nothing() -> None:
    """Undo of what changed nothing."""


class Operation(Protocol):
    """One operation on the allocator, between two times."""

    compared: ClassVar[bool]
    """Whether it counts as an operation put to the reference: a mapping or a release."""

    @property
    def given(self) -> bool:
        """Whether it need not be as the reference's, as it is not known in full what was asked."""

    @property
    def entry_ns(self) -> int: ...
    @property
    def exit_ns(self) -> int: ...
    @property
    def event(self) -> Event | None: ...

    def attempt(self, world: Allocator) -> Undo | None:
        """Do it as the kernel did if the reference agrees; None, and nothing changed, if not."""

    def impose(self, world: Allocator) -> Undo | None:
        """Do as the kernel did, as far as that can be taken back; None, and nothing changed, if it cannot be."""

    def adopt(self, world: Allocator) -> None:
        """Do as the kernel did."""

    def areas(self, world: Allocator) -> Iterable[tuple[Pool, int]]:
        """The areas it may have read or changed."""

    def enter(self, ledger: Ledger) -> tuple[Violation, ...]:
        """Keep the books that know nothing of policy; what is wrong by them."""

    def expected(self, world: Allocator) -> str:
        """What the reference would have done now, in words."""

    def observed(self) -> str:
        """What the kernel did, in words."""

    def where(self) -> tuple[Pool, int] | None:
        """A pool and slot to draw a picture around."""
