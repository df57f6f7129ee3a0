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
"""Takes an applied operation back. What was applied last must be taken back first."""


def no_undo() -> None:
    """The :data:`Undo` of an operation that changed nothing."""


class Operation(Protocol):
    """One operation on the allocator, somewhere between two times.

    Operations are compared by identity, so that two equal calls are two operations.
    """

    compared: ClassVar[bool]
    """True if it counts as one that was put to the model: a search for slots or a release."""

    @property
    def unchecked(self) -> bool:
        """True if the request is only partly known, because the device's limits were never seen.

        The kernel's choice is then applied without comparing it.
        """

    @property
    def entry_ns(self) -> int:
        """The invocation, in nanoseconds of the recording's clock: it took effect no earlier."""

    @property
    def exit_ns(self) -> int:
        """The response: it took effect no later."""

    @property
    def event(self) -> Event | None:
        """The record it was made from; None if it is part of a snapshot of the kernel's state."""

    def apply_if_legal(self, model: Allocator) -> Undo | None:
        """Apply it if the model, in the state it is in, would do the same as the kernel did.

        :returns: how to take it back; None, with the model unchanged, if the model would do something else.
        :raises TooManyAreasError: the model's patience is over.
        """

    def apply_forced(self, model: Allocator) -> Undo | None:
        """Apply it whatever the model would do, as far as that can be taken back.

        :returns: how to take it back; None, with the model unchanged, if that would not be possible.
        """

    def adopt_as_is(self, model: Allocator) -> None:
        """Overwrite the model with what the kernel did. This cannot be taken back."""

    def areas(self, model: Allocator) -> Iterable[tuple[Pool, int]]:
        """The areas it may have read or changed, in the order in which it visits them."""

    def record_in(self, ledger: Ledger) -> tuple[Violation, ...]:
        """Enter it in the books that check safety and know nothing of the search order.

        :returns: the safety rules it breaks by these books.
        """

    def expected(self, model: Allocator) -> str:
        """What the model would do now, in words."""

    def observed(self) -> str:
        """What the kernel did, in words."""

    def location(self) -> tuple[Pool, int] | None:
        """The pool and slot to draw a picture around; None if there is none."""
