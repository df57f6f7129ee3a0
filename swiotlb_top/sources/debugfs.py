"""The source that needs no probes: swiotlb's own counters in debugfs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from swiotlb_top.accounting.assemble import Origin, assemble
from swiotlb_top.accounting.devices import Devices
from swiotlb_top.accounting.in_use import InUse, of_counters
from swiotlb_top.accounting.snapshot import UNKNOWN, Snapshot
from swiotlb_top.accounting.totals import Totals
from swiotlb_top.kernel import debugfs

TOTALS_ONLY: Final = "debugfs has no devices, pools, rates or failures: those need the live source, and root"


class DebugfsSource:
    """Snapshots with slot counts only; everything counted per map is -1.

    :param root: where debugfs is mounted.
    :param clock: monotonic nanoseconds.
    :raises CannotError: at construction, where the counters cannot be read (says what to do).
    """

    def __init__(
        self,
        root: Path = debugfs.DEBUGFS_ROOT,
        clock: Callable[[], int] = time.monotonic_ns,
        kernel_release: str | None = None,
    ) -> None:
        self._root = root
        self._credible = True
        self._clock = clock
        release = os.uname().release if kernel_release is None else kernel_release
        self._origin = Origin("debugfs", "swiotlb's own counters", release)
        debugfs.read_default(root)

    def snapshot(self) -> Snapshot:
        counters = debugfs.read_default(self._root)
        in_use = of_counters(counters, credible=self._credible)
        self._credible = in_use.credible
        totals = Totals(
            nslabs=counters.nslabs,
            used_slots=in_use.used_slots,
            used_hiwater_slots=in_use.used_hiwater_slots,
            transient_slots=counters.transient_slots,
            maps=UNKNOWN,
            map_failures=UNKNOWN,
            unmaps=UNKNOWN,
            growths=UNKNOWN,
            pools_added=UNKNOWN,
            lost=0,
            pools=(),
            devices={},
            notes=self._notes(counters, in_use),
        )
        return replace(assemble(self._clock(), self._origin, totals, Devices(), {}, None), unseen=TOTALS_ONLY)

    def close(self) -> None:
        """Nothing is held open between snapshots."""

    def _notes(self, counters: debugfs.Counters, in_use: InUse) -> tuple[str, ...]:
        notes = [note for note in (in_use.note, counters.hiwater_unknown) if note]
        notes += [f"restricted pool {name}: {_used(pool)}" for name, pool in debugfs.read_restricted(self._root)]
        return tuple(notes)


def _used(pool: debugfs.Counters) -> str:
    used = of_counters(pool).used_slots
    return f"{pool.nslabs} slots, used: not known" if used == UNKNOWN else f"{used} of {pool.nslabs} slots used"
