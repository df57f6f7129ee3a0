"""The metrics: name, help, type, labels, and where in a snapshot their samples are.

A sample that is not known (-1) is left out rather than shown as a number. Counters of the
source restart when it does, as Prometheus expects of counters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from swiotlb_top.accounting.snapshot import DeviceView, Snapshot

Samples = Iterable[tuple[tuple[str, ...], float]]
"""Label values, in the order of the labels, and the value."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric family; a counter's ``name`` is without the ``_total`` that is added on the wire."""

    name: str
    help: str
    kind: Literal["gauge", "counter"]
    labels: tuple[str, ...]
    samples: Callable[[Snapshot], Samples]


def _known(value: Callable[[Snapshot], int]) -> Callable[[Snapshot], Samples]:
    def samples(snapshot: Snapshot) -> Iterator[tuple[tuple[str, ...], float]]:
        if value(snapshot) >= 0:
            yield (), value(snapshot)

    return samples


def _per_device(value: Callable[[DeviceView], int]) -> Callable[[Snapshot], Samples]:
    def samples(snapshot: Snapshot) -> Samples:
        # Two struct devices may share a name (unplugged and plugged again): one series, their sum.
        sums: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for device in snapshot.devices:
            sums[_device_labels(device)] += value(device)
        return sums.items()

    return samples


def _device_labels(device: DeviceView) -> tuple[str, str]:
    return device.name or "unknown", device.driver


def _causes(snapshot: Snapshot) -> Samples:
    sums: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for device in snapshot.devices:
        for cause, failures in device.causes:
            sums[(*_device_labels(device), cause)] += failures
    return sums.items()


def _verdicts(snapshot: Snapshot) -> Samples:
    found = snapshot.verdict
    yield ("agree",), found.agree if found else 0
    yield ("disagree",), found.disagree if found else 0
    yield ("inconclusive",), found.inconclusive if found else 0


def _pool_count(snapshot: Snapshot) -> Samples:
    # A source that sees no pool at all (debugfs) cannot count them; where swiotlb is on there is one.
    return [((), len(snapshot.pools))] if snapshot.pools else []


def _source(snapshot: Snapshot) -> Samples:
    yield (snapshot.source, snapshot.kernel_release, snapshot.verdict.revision if snapshot.verdict else ""), 1


_DEVICE: Final = ("device", "driver")
_SOURCE: Final = ("source", "kernel", "revision")

METRICS: Final[tuple[MetricSpec, ...]] = (
    MetricSpec("swiotlb_slots", "Slots of 2 KiB in all pools.", "gauge", (), _known(lambda s: s.nslabs)),
    MetricSpec("swiotlb_used_slots", "Slots in use.", "gauge", (), _known(lambda s: s.used_slots)),
    MetricSpec(
        "swiotlb_used_hiwater_slots",
        "Most slots ever in use at once.",
        "gauge",
        (),
        _known(lambda s: s.used_hiwater_slots),
    ),
    MetricSpec(
        "swiotlb_transient_slots", "Slots in transient pools.", "gauge", (), _known(lambda s: s.transient_slots)
    ),
    MetricSpec("swiotlb_pools", "Memory pools, transient ones among them.", "gauge", (), _pool_count),
    MetricSpec("swiotlb_source_info", "What the numbers come from.", "gauge", _SOURCE, _source),
    MetricSpec("swiotlb_maps", "Mappings made.", "counter", _DEVICE, _per_device(lambda d: d.maps)),
    MetricSpec(
        "swiotlb_map_failures", "Mappings that failed.", "counter", _DEVICE, _per_device(lambda d: d.map_failures)
    ),
    MetricSpec("swiotlb_unmaps", "Mappings released.", "counter", _DEVICE, _per_device(lambda d: d.unmaps)),
    MetricSpec(
        "swiotlb_mapped_bytes", "Bytes of mappings made.", "counter", _DEVICE, _per_device(lambda d: d.mapped_bytes)
    ),
    MetricSpec(
        "swiotlb_map_failures_explained",
        "Mappings that failed, by the cause the reference found; at most swiotlb_map_failures_total.",
        "counter",
        (*_DEVICE, "cause"),
        _causes,
    ),
    MetricSpec("swiotlb_growths", "Runs of swiotlb_dyn_alloc().", "counter", (), _known(lambda s: s.growths)),
    MetricSpec("swiotlb_pools_added", "Pools added by growth.", "counter", (), _known(lambda s: s.pools_added)),
    MetricSpec("swiotlb_events_lost", "Events lost before they were read.", "counter", (), _known(lambda s: s.lost)),
    MetricSpec(
        "swiotlb_verified_operations",
        "Operations compared with the reference allocator, by verdict.",
        "counter",
        ("verdict",),
        _verdicts,
    ),
    MetricSpec(
        "swiotlb_safety_violations",
        "Operations that broke an invariant on any revision (overlap, alignment, bounds).",
        "counter",
        (),
        _known(lambda s: s.verdict.safety_violations if s.verdict else 0),
    ),
)
