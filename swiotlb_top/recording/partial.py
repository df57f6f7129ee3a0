"""Writes of a recording only the calls of some devices, or those in some pools.

Where a mapping is placed depends on the slots that all devices hold, so that nobody can judge what is left. The header
says that the recording is partial, and each state is followed by a gap: what keeps a judge silent after lost events,
and an account from telling how many slots are in use, does so here. The states stay whole, as they say where the pools
lie; so do growth and what becomes of pools, which are of no device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from swiotlb_top.accounting.pool_account import Held, PoolAccount
from swiotlb_top.accounting.watcher import Watcher
from swiotlb_top.errors import UsageError
from swiotlb_top.events import Device, Find, Free, Gap, Map, Unmap
from swiotlb_top.pipeline import account_of
from swiotlb_top.records import select
from swiotlb_top.state import DeviceName, KernelInfo, MemState
from swiotlb_top.stream import Records
from swiotlb_top.trace.sink import Sink

_CAUSE: Final = "calls are left out"
_NAMED: Final = 20
"""How many devices or pools an error names."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a partial recording has: calls that are of one of the devices, and in one of the pools.

    A map that was refused is in no pool.
    """

    devices: frozenset[str] = frozenset()
    """As the tables call them; empty: of all."""
    pools: frozenset[int] = frozenset()
    """By the physical addresses of their first slots; empty: in all."""

    def __bool__(self) -> bool:
        return bool(self.devices or self.pools)


class Partial(Watcher):
    """Takes the items of a recording, and passes on those that belong to it, in the order of the items.

    :param written: what takes them.
    :raises CannotError: no revision is known for this kernel, or none would be true of this machine.
    """

    def __init__(self, written: Sink, kernel: KernelInfo, chosen: Chosen) -> None:
        self._written = written
        self._chosen = chosen
        self._account = account_of(kernel, None, self)
        self._belongs = True
        """Whether the present event is to be written."""
        self._dynamic = False
        self._calls = 0
        self._kept = 0
        self._pools: dict[int, None] = {}
        """Pools with calls, in the order of these."""

    def in_words(self) -> str:
        """How much of it was written."""
        return f"{self._kept:,} of {self._calls:,} calls: nobody can judge them without the others"

    def check(self) -> None:
        """:raises UsageError: no call was written; the message says which there are."""
        if self._kept:
            return
        devices = self._account.devices.values()
        names = [device.shown_name for device in devices if device.maps or device.map_failures or device.unmaps]
        pools = [f"{start:#x}" for start in self._pools]
        there = f"of {_some(names, 'no device')}, in {_some(pools, 'no pool')}"
        raise UsageError(f"no call is of what was asked for; there are calls {there}")

    # ---- the sink --------------------------------------------------------

    def state(self, mem: MemState) -> None:
        """Only a state from which an account begins: another one would have it forget what it knows.

        No allocator becomes dynamic. Where a recording says so, what follows can be read after that state alone.
        """
        if not self._account.blind and mem.dynamic == self._dynamic:
            return
        self._account.state(mem)
        self._dynamic = mem.dynamic
        self._written.state(mem)
        self._written.gap(Gap(mem.begin_ns, mem.end_ns, 0, _CAUSE))

    def records(self, packed: bytes) -> None:
        places = []
        for place, event in enumerate(Records(packed).events()):
            self._belongs = not isinstance(event, Device) or self._is_chosen(event.dev)
            self._account.feed((event,))
            if isinstance(event, Find | Map | Unmap | Free):
                self._calls += 1
                self._kept += self._belongs
            if self._belongs:
                places.append(place)
        self._written.records(select(packed, places))

    def device_name(self, device_name: DeviceName) -> None:
        self._account.name(device_name)
        if self._is_chosen(device_name.dev):
            self._written.device_name(device_name)

    def gap(self, gap: Gap) -> None:
        self._account.gap(gap)
        self._written.gap(gap)

    def known(self, before_ns: int) -> None:
        self._written.known(before_ns)

    def end(self, counters: Mapping[str, int], duration_ns: int, lost: int) -> None:
        """Without the counters, which are of all calls."""
        self._written.end({}, duration_ns, lost)

    # ---- calls, as the account enters them -----------------------------------

    def mapped(self, call: Find | Map, size_bytes: int, nslots: int, pool: PoolAccount | None, slot: int) -> None:
        self._belongs = self._is_in(call.dev, pool)

    def refused(self, call: Find | Map, size_bytes: int, nslots: int) -> None:
        self._belongs = self._is_in(call.dev, None)

    def released(self, call: Unmap | Free, pool: PoolAccount | None, slot: int, held: Held) -> None:
        self._belongs = self._is_in(call.dev, pool)

    def _is_in(self, dev: int, pool: PoolAccount | None) -> bool:
        if pool is not None and len(self._pools) <= _NAMED:
            self._pools[pool.start] = None
        in_pool = not self._chosen.pools or (pool is not None and pool.start in self._chosen.pools)
        return in_pool and self._is_chosen(dev)

    def _is_chosen(self, dev: int) -> bool:
        return not self._chosen.devices or self._account.devices[dev].shown_name in self._chosen.devices


def _some(names: list[str], none: str) -> str:
    return ", ".join([*names[:_NAMED], *(["others"] if len(names) > _NAMED else [])]) or none
