"""What the probes counted, and how large the pools are: exact, and cheap enough to be read for every frame."""

from __future__ import annotations

from swiotlb_top.accounting.in_use import of_state
from swiotlb_top.accounting.pool_account import PoolAccount
from swiotlb_top.accounting.snapshot import UNKNOWN
from swiotlb_top.accounting.totals import Totals
from swiotlb_top.probes.session import Session, now_ns
from swiotlb_top.state import MemState, PoolState


class Counted:
    """Reads the totals of attached probes, and remembers what only several readings tell: when each pool came."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen_ns: dict[int, int] = {}
        """When each pool on the list was first seen."""
        self._count_is_credible = True

    def totals(self) -> Totals:
        """The totals since the probes were attached. :raises CannotError: the kernel's memory cannot be read."""
        program = self._session.program
        sizes = self._session.sizes()
        devices, calls = program.counted()
        faults = program.faults()
        self._note_new_pools(sizes)
        in_use = of_state(sizes, credible=self._count_is_credible)
        self._count_is_credible = in_use.credible
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
        )

    def _note_new_pools(self, sizes: MemState) -> None:
        """Remember when each pool was first seen; the age of those that were there from the start is not known."""
        known = self._seen_ns
        since_ns = now_ns() if known else UNKNOWN
        self._seen_ns = {pool.address: known.get(pool.address, since_ns) for pool in sizes.pools}

    def _pool(self, pool: PoolState, *, default: bool) -> PoolAccount:
        return PoolAccount.of_areas(pool, 0 if default else self._seen_ns[pool.address], default=default)
