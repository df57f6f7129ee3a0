"""One step of the model: what the judge puts in order.

An operation has a closed interval, from its invocation to its response, and an effect on the model. There are three
ways to apply it: :meth:`Operation.apply_if_legal` only if the model would have done the same as the kernel,
:meth:`Operation.apply_forced` whatever the model would have done, and :meth:`Operation.adopt_as_is` without a way back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, Protocol

from swiotlb_top.allocator import Allocator, Ledger, Pool, Violation
from swiotlb_top.events import Event

Undo = Callable[[], None]


def no_undo() -> None:
    """Undo of what changed nothing."""


class Operation(Protocol):
    """One operation on the allocator, between two times."""

    compared: ClassVar[bool]
    """Whether it counts as an operation put to the reference: a mapping or a release."""

    @property
    def unchecked(self) -> bool:
        """Whether it need not be as the reference's, as it is not known in full what was asked."""

    @property
    def entry_ns(self) -> int: ...
    @property
    def exit_ns(self) -> int: ...
    @property
    def event(self) -> Event | None: ...

    def apply_if_legal(self, model: Allocator) -> Undo | None:
        """Do it as the kernel did if the reference agrees; None, and nothing changed, if not."""

    def apply_forced(self, model: Allocator) -> Undo | None:
        """Do as the kernel did, as far as that can be taken back; None, and nothing changed, if it cannot be."""

    def adopt_as_is(self, model: Allocator) -> None:
        """Do as the kernel did."""

    def areas(self, model: Allocator) -> Iterable[tuple[Pool, int]]:
        """The areas it may have read or changed."""

    def record_in(self, ledger: Ledger) -> tuple[Violation, ...]:
        """Keep the books that know nothing of policy; what is wrong by them."""

    def expected(self, model: Allocator) -> str:
        """What the reference would have done now, in words."""

    def observed(self) -> str:
        """What the kernel did, in words."""

    def location(self) -> tuple[Pool, int] | None:
        """A pool and slot to draw a picture around."""
