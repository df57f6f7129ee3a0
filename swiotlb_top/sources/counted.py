"""What the probes counted, who holds what, and how large the pools are: exact, and cheap enough for every frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from swiotlb_top.accounting.in_use import OwnHiwater, of_state
from swiotlb_top.accounting.pool_account import PoolAccount
from swiotlb_top.accounting.slots import SlotsView
from swiotlb_top.accounting.snapshot import UNKNOWN
from swiotlb_top.accounting.totals import DeviceTotals, Totals
from swiotlb_top.allocator.geometry import slot_addr
from swiotlb_top.probes.session import Session, now_ns
from swiotlb_top.sources.askers import Askers
from swiotlb_top.sources.earlier import PATIENCE_NS, EarlierMappings, mappings_of
from swiotlb_top.state import MemState, PoolState

_NOT_COUNTED: Final = DeviceTotals(held_slots=0, most_slots=0)
"""Of a device that has made and released nothing since the probes came."""


class Counted:
    """Reads the totals of attached probes, and remembers what only several readings tell: when each pool came."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen_ns: dict[int, int] = {}
        """When each pool on the list was first seen."""
        self._count_is_credible = True
        self._hiwater = OwnHiwater()
        self._earlier = self._found_earlier()
        self._askers = Askers(session.program)

    def close(self) -> None:
        """Let go of what was opened here; the probes are the session's."""
        self._askers.close()

    def devices(self) -> dict[int, DeviceTotals]:
        """The totals of every device that is counted, or holds mappings from before."""
        return self._with_askers(self._with_earlier(self._session.program.totals()))

    def owned(self, start: int, slots: SlotsView) -> SlotsView:
        """The slots of a pool that begins at ``start``, each mapping with the device that has shown to hold it."""
        holdings = self._session.program.holdings
        if holdings is None or slots.mappings is None:
            return slots
        owners = ((holdings.holder(slot_addr(start, each.slot), each.nslots), each) for each in slots.mappings)
        return replace(slots, mappings=tuple(each._replace(dev=dev) if dev else each for dev, each in owners))

    def totals(self) -> Totals:
        """The totals since the probes were attached. :raises CannotError: the kernel's memory cannot be read."""
        program = self._session.program
        sizes = self._session.sizes()
        counted, calls = program.counted()
        most_slots = program.most_of_all_slots()
        devices = self._with_askers(self._with_earlier(counted))
        faults = program.faults()
        self._note_new_pools(sizes)
        in_use = of_state(sizes, credible=self._count_is_credible)
        self._count_is_credible = in_use.credible
        if most_slots >= 0:
            in_use = self._hiwater.instead(in_use, most_slots, self._earlier.slots if self._earlier else 0)
        return Totals(
            # Not the kernel's own total: a pool that growth adds is on the list before the kernel counts it.
            nslabs=sum(pool.nslabs for pool in sizes.pools),
            used_slots=in_use.used_slots,
            used_hiwater_slots=in_use.used_hiwater_slots,
            transient_slots=sizes.transient_nslabs,
            maps=calls.maps,
            map_failures=calls.map_failures,
            unmaps=calls.unmaps,
            growths=program.growths(),
            pools_added=max(0, len(sizes.pools) - 1),
            lost=faults.lost_events,
            pools=tuple(self._pool(pool, default=pool is sizes.pools[-1]) for pool in sizes.pools),
            devices=devices,
            notes=(*faults.notes(), *([in_use.note] if in_use.note else ())),
            uncounted=faults.uncounted_calls + faults.lost_calls + faults.missed_calls,
            unowned_slots=_unowned(in_use.used_slots, devices) if self._earlier else UNKNOWN,
            hiwater_is_own=in_use.hiwater_is_own,
        )

    def _found_earlier(self) -> EarlierMappings | None:
        """What is there now; syncs are probed from here on, if it is not known whose all of it is."""
        program = self._session.program
        if program.holdings is None:
            return None
        earlier = EarlierMappings(mappings_of(self._session.slots()), program.holdings)
        self._syncs_until_ns = now_ns() + PATIENCE_NS if earlier.unowned_maps else 0
        if self._syncs_until_ns:
            program.let_syncs_tell()
        return earlier

    def _with_earlier(self, counted: dict[int, DeviceTotals]) -> dict[int, DeviceTotals]:
        """The totals of devices, with what is known of their mappings from before."""
        if self._earlier is None:
            return counted
        self._earlier.look()
        if self._syncs_until_ns and (not self._earlier.unowned_maps or now_ns() > self._syncs_until_ns):
            self._syncs_until_ns = 0
            self._session.program.let_syncs_be()
        known = {
            dev: replace(counted.get(dev, _NOT_COUNTED), earlier=earlier)
            for dev, earlier in self._earlier.of_devices().items()
        }
        return counted | known

    def _with_askers(self, counted: dict[int, DeviceTotals]) -> dict[int, DeviceTotals]:
        """The totals of devices, with who asked for what failed."""
        askers = self._askers.of_devices(sum(device.map_failures for device in counted.values()))
        asked = {dev: replace(counted[dev], askers=found) for dev, found in askers.items() if dev in counted}
        return counted | asked

    def _note_new_pools(self, sizes: MemState) -> None:
        """Remember when each pool was first seen; the age of those that were there from the start is not known."""
        known = self._seen_ns
        since_ns = now_ns() if known else UNKNOWN
        self._seen_ns = {pool.address: known.get(pool.address, since_ns) for pool in sizes.pools}

    def _pool(self, pool: PoolState, *, default: bool) -> PoolAccount:
        return PoolAccount.of_areas(pool, 0 if default else self._seen_ns[pool.address], default=default)


def _unowned(used_slots: int, devices: Mapping[int, DeviceTotals]) -> int:
    """Slots in use that no device is known to hold; -1 if that is not known."""
    if used_slots < 0 or any(device.held_slots < 0 for device in devices.values()):
        return UNKNOWN
    return max(used_slots - sum(device.held_slots + device.earlier.slots for device in devices.values()), 0)
