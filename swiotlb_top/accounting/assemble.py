"""Makes a snapshot of the totals, what is known of the devices, and the findings of the judge."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from swiotlb_top.accounting.devices import Devices
from swiotlb_top.accounting.onlooker import Scenes
from swiotlb_top.accounting.scene import NO_SCENES, Key, Scene
from swiotlb_top.accounting.slots import SlotsView
from swiotlb_top.accounting.snapshot import Snapshot, VerdictView
from swiotlb_top.accounting.totals import Totals
from swiotlb_top.state import HookPlace
from swiotlb_top.verify import Divergence, Doubt, SideBySide


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a snapshot comes from, in the words of :class:`Snapshot`."""

    source: str
    reason: str
    kernel_release: str
    hooks: tuple[HookPlace, ...] = ()


def assemble(
    time_ns: int,
    origin: Origin,
    totals: Totals,
    devices: Devices,
    slots: Mapping[int, SlotsView],
    judge: SideBySide | None,
    not_in_doubt: Collection[Doubt] = (),
) -> Snapshot:
    """The snapshot at ``time_ns``.

    :param totals: what the probes counted, or what an account counted of every event.
    :param devices: names, latencies and failures of the devices.
    :param slots: the slots of each pool on the allocator's list, by the pool's address.
    :param judge: None if nothing is compared with the reference.
    :param not_in_doubt: reasons for which an operation is not counted as inconclusive: those that a sample always has.
    """
    first = judge.findings.first if judge else None
    return Snapshot(
        time_ns=time_ns,
        source=origin.source,
        reason=origin.reason,
        kernel_release=origin.kernel_release,
        nslabs=totals.nslabs,
        used_slots=totals.used_slots,
        used_hiwater_slots=totals.used_hiwater_slots,
        transient_slots=totals.transient_slots,
        maps=totals.maps,
        map_failures=totals.map_failures,
        unmaps=totals.unmaps,
        growths=totals.growths,
        pools_added=totals.pools_added,
        lost=totals.lost,
        pools=tuple(pool.view(None if pool.transient else slots.get(pool.address)) for pool in totals.pools),
        devices=tuple(devices[dev].view(counted) for dev, counted in totals.devices.items()),
        verdict=_verdict(judge, not_in_doubt) if judge else None,
        notes=(*totals.notes, *([judge.note] if judge and judge.note else ())),
        failures=devices.failures(_scenes(judge), disputed=first.event if first else None),
        hooks=origin.hooks,
        uncounted=totals.uncounted,
        unowned_slots=totals.unowned_slots,
        hiwater_is_own=totals.hiwater_is_own,
    )


def _scenes(judge: SideBySide | None) -> Mapping[Key, Scene]:
    """How it stood at failed maps, where somebody listens for that; of an unknown kernel nothing is claimed."""
    listener = judge.listener if judge and judge.left else None
    return listener.kept if isinstance(listener, Scenes) else NO_SCENES


def _verdict(judge: SideBySide, not_in_doubt: Collection[Doubt]) -> VerdictView:
    findings = judge.findings
    return VerdictView(
        revision=judge.name,
        compared=findings.compared,
        agree=findings.agree,
        disagree=findings.disagree,
        inconclusive=sum(count for why, count in findings.doubts.items() if why not in not_in_doubt),
        safety_violations=findings.safety_violations,
        first_disagreement=in_a_line(findings.first) if findings.first else "",
    )


def in_a_line(divergence: Divergence) -> str:
    """What the kernel did, what the reference does, and the harm."""
    harm = (
        f" ({', '.join(violation.hazard.value for violation in divergence.violations)})"
        if divergence.violations
        else ""
    )
    return f"operation {divergence.operation}: {divergence.observed}; expected {divergence.expected}{harm}"
