"""The account of one pool, kept from its events: which device holds how many slots, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from swiotlb_top.accounting.slots import SlotsView
from swiotlb_top.accounting.snapshot import UNKNOWN, PoolView
from swiotlb_top.allocator import adopt
from swiotlb_top.allocator.mapping import UNKNOWN_DEVICE, Mapping
from swiotlb_top.constants import IO_TLB_SEGSIZE, IO_TLB_SHIFT
from swiotlb_top.events import Find, Map, PoolAdd, PoolAlloc
from swiotlb_top.events import Grow as Growth
from swiotlb_top.state import PoolState


class Held(NamedTuple):
    """Slots that somebody has."""

    nslots: int
    dev: int
    call: Find | Map | None = None
    """What took them; None where that was before the recording, or could not be placed."""


NOTHING: Final = Held(0, UNKNOWN_DEVICE)


@dataclass(slots=True, eq=False)
class PoolAccount:
    """Its geometry, and its live mappings by the slot in which each buffer begins.

    If the padding is not known, the key is the first slot of the mapping.
    """

    address: int
    start: int
    nslabs: int
    nareas: int
    transient: bool
    default: bool = False
    since_ns: int = UNKNOWN
    used_slots: int = 0
    live: dict[int, Held] = field(default_factory=dict)
    next: dict[int, list[Held]] = field(default_factory=dict)
    """Mappings that got a slot before the release of its last mapping returned, as another CPU can be faster."""
    read_ns: int = -1
    """When the copy was complete of the state that the account began from; -1 if it did not begin from a state."""

    @classmethod
    def of_state(cls, state: PoolState, since_ns: int, *, default: bool) -> PoolAccount:
        """The pool with the mappings that a copy of its slots shows."""
        account = cls(state.address, state.start, state.nslabs, state.nareas, False, default, since_ns)
        account.read_ns = state.end_ns
        # One for each size: mappings of unknown devices that are alike share it.
        nobodys = [Held(nslots, UNKNOWN_DEVICE) for nslots in range(IO_TLB_SEGSIZE + 1)]
        for mapping in adopt(state, check=False).pool.mappings():
            account.live[mapping.slot + mapping.pad_slots] = nobodys[mapping.nslots]
            account.used_slots += mapping.nslots
        return account

    @classmethod
    def of_areas(cls, state: PoolState, since_ns: int, *, default: bool) -> PoolAccount:
        """The pool with as many slots in use as its areas count; which device has them is not known."""
        used_slots = sum(area.used for area in state.areas)
        return cls(
            state.address, state.start, state.nslabs, state.nareas, state.transient, default, since_ns, used_slots
        )

    @classmethod
    def of_event(cls, event: PoolAlloc | PoolAdd | Growth) -> PoolAccount:
        """A new pool, all free. One that was only allocated counts as transient until it is added to the list."""
        transient = isinstance(event, PoolAlloc)
        return cls(event.pool, event.start, event.nslabs, event.nareas, transient, since_ns=event.exit_ns)

    @property
    def end(self) -> int:
        """Address of the first byte after its slots."""
        return self.start + (self.nslabs << IO_TLB_SHIFT)

    def slot(self, tlb_addr: int) -> int:
        """The slot an address lies in."""
        return (tlb_addr - self.start) >> IO_TLB_SHIFT

    def take(self, slot: int, nslots: int, call: Find | Map) -> int:
        """A mapping got ``nslots`` slots from ``slot`` on. Returns by how many slots the number in use rose."""
        held = tuple.__new__(Held, (nslots, call.dev, call))  # as Held(), in a third of the time
        if call.entry_ns <= self.read_ns and self.live.get(slot) == Held(nslots, UNKNOWN_DEVICE):
            # The call was under way when the state was read, and the state already has its mapping.
            self.live[slot] = held
            return 0
        if slot in self.live:
            self.next.setdefault(slot, []).append(held)
        else:
            self.live[slot] = held
        self.used_slots += nslots
        return nslots

    def release(self, slot: int) -> Held:
        """Release the oldest mapping whose buffer may begin in ``slot``. Returns what it held."""
        slot = self._begin_of(slot)
        held = self.live.pop(slot, NOTHING)
        if slot in self.next:
            self.live[slot] = self.next[slot].pop(0)
            if not self.next[slot]:
                del self.next[slot]
        self.used_slots -= held.nslots
        return held

    def forget_held(self) -> None:
        """What is held in it is not known any more."""
        self.live.clear()
        self.next.clear()
        self.used_slots = 0

    def _begin_of(self, slot: int) -> int:
        """The key in ``live`` of the mapping that has ``slot``; ``slot`` itself if no mapping has it."""
        if slot in self.live:
            return slot
        for first in range(slot - 1, max(slot - IO_TLB_SEGSIZE, -1), -1):
            if first in self.live:
                return first if first + self.live[first].nslots > slot else slot
        return slot

    def _made(self, mappings: Iterable[Mapping]) -> Iterator[tuple[int, int]]:
        """Of those of some mappings that are in the account, the first slot and when they were made."""
        for mapping in mappings:
            held = self.live.get(mapping.slot + mapping.pad_slots) or self.live.get(mapping.slot)
            if held and held.nslots == mapping.nslots:
                yield mapping.slot, held.call.exit_ns if held.call else 0

    def view(self, slots: SlotsView | None = None) -> PoolView:
        """An immutable copy.

        :param slots: where its slots are free; None if that is not known.
        """
        if slots is not None and slots.made_ns is None and slots.mappings is not None:
            slots = replace(slots, made_ns=dict(self._made(slots.mappings)))
        return PoolView(
            address=self.address,
            start=self.start,
            nslabs=self.nslabs,
            nareas=self.nareas,
            used_slots=self.used_slots,
            transient=self.transient,
            default=self.default,
            longest_free_slots=slots.longest_free_slots if slots else UNKNOWN,
            slots=slots,
            since_ns=self.since_ns,
        )
