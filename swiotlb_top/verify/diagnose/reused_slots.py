"""Slots that were found while the model had them in use: their mapping was released by a call that is not known yet.

The model gives such slots to the mapping that has them now. When the release of the former one turns up, it must not
release the present one, which may begin in the same slot and be of the same size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from swiotlb_top.allocator import Ledger, Mapping, Pool
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import SlotSearch

_MAX_PLACES: Final = 4096
"""For how many places former mappings are remembered; of more, the latest."""

_Place = tuple[Pool, int]
"""A pool and the number of the slot in which a buffer begins."""


@dataclass(frozen=True, slots=True)
class _Former:
    """A mapping whose slots were found in use."""

    mapping: Mapping
    found_ns: int
    """The response of the search that found them: its own mapping was there to be released no earlier."""


class ReusedSlots:
    """The former mappings whose release has not turned up.

    :param ledger: has them in its books until then.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._former: dict[_Place, list[_Former]] = {}
        """At each place, oldest first."""

    def note(self, operation: Operation) -> None:
        """An operation was adopted as it is: remember the mappings that were in its way."""
        if not isinstance(operation, SlotSearch) or operation.pool is None:
            return
        for mapping in operation.in_the_way:
            place = operation.pool, mapping.slot + mapping.pad_slots
            self._former.setdefault(place, []).append(_Former(mapping, operation.exit_ns))
        while len(self._former) > _MAX_PLACES:
            del self._former[next(iter(self._former))]

    def release_former(self, operation: Operation) -> bool:
        """Release a former mapping, if that is what a late call did.

        It is if the call was invoked, as far as is known, before the mapping that followed was there to be released.

        :returns: whether it was one.
        """
        if not isinstance(operation, Release):
            return False
        pool, slot = place = operation.pool, operation.slot
        here = self._former.get(place, [])
        for former in here:
            may_be = operation.entry_unseen or operation.entry_ns <= former.found_ns
            if may_be and operation.fits(former.mapping):
                here.remove(former)
                self._ledger.former_released(pool, former.mapping.slot, slot)
                return True
        return False
