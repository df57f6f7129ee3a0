"""The metrics: name, type, labels, help, and where in a snapshot their samples are.

What is also on the screen has its help from the screen's table of fields, so that a number means the same in both. A
sample that is not known (-1) is left out rather than shown as a number. Counters begin at 0 with the exporter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

from swiotlb_exporter import flight, held, kernel_log
from swiotlb_exporter.devices import OTHER, Totals
from swiotlb_exporter.histogram import Histogram, Native, beyond
from swiotlb_exporter.spec import MetricSpec, Sample, Seen
from swiotlb_exporter.wanted import Part
from swiotlb_top.accounting.fields import DEVICES, POOLS, TOTALS, Field, pool_kind
from swiotlb_top.accounting.finding import ADVICE, MEANINGS
from swiotlb_top.accounting.snapshot import FINE_SCHEMA, LATENCY_BUCKETS_NS, UNKNOWN, PoolView, Snapshot
from swiotlb_top.allocator.explain import Cause
from swiotlb_top.constants import IO_TLB_SIZE, SIZE_BUCKETS_SLOTS


def _help(table: tuple[Field[Any], ...], name: str) -> str:
    return next(field.help for field in table if field.name == name)


def _known(value: Callable[[Snapshot], int], factor: int = 1) -> Callable[[Seen], Iterator[Sample]]:
    def samples(seen: Seen) -> Iterator[Sample]:
        if value(seen.snapshot) != UNKNOWN:
            yield (), value(seen.snapshot) * factor

    return samples


def _per_device(value: Callable[[Totals], int]) -> Callable[[Seen], Iterator[Sample]]:
    def samples(seen: Seen) -> Iterator[Sample]:
        for whose, totals in seen.devices.items():
            if value(totals) != UNKNOWN:
                yield whose, value(totals)

    return samples


def _per_pool(value: Callable[[PoolView], float]) -> Callable[[Seen], Iterator[Sample]]:
    def samples(seen: Seen) -> Iterator[Sample]:
        for name, pool in seen.pools:
            if value(pool) != UNKNOWN:
                yield (name,), value(pool)

    return samples


def _histogram(
    counts: Callable[[Totals], tuple[int, ...]],
    bounds: Sequence[float],
    total: Callable[[Totals], float],
    native: Callable[[Totals], Native],
) -> Callable[[Seen], Iterator[Sample]]:
    names = (*(f"{bound:.10g}" for bound in bounds), "+Inf")

    def samples(seen: Seen) -> Iterator[Sample]:
        for whose, totals in seen.devices.items():
            if counts(totals):
                classic = list(zip(names, accumulate(counts(totals)), strict=True))
                yield whose, Histogram(classic, total(totals), native(totals))

    return samples


def _native_sizes(totals: Totals) -> Native:
    """Bounds that are powers of two are those of schema 0; how much larger the last bucket's are, nobody knows."""
    *counts, larger = totals.sizes
    return Native(0, {**dict(enumerate(counts)), beyond(0): larger})


def _causes(seen: Seen) -> Iterator[Sample]:
    for whose, totals in seen.devices.items():
        of_all = dict.fromkeys(Cause, 0) | totals.causes
        yield from (((*whose, cause.value), failures) for cause, failures in of_all.items())


def _bounced(seen: Seen) -> Iterator[Sample]:
    for whose, totals in seen.devices.items():
        for direction, size_bytes in (("to_device", totals.to_device_bytes), ("from_device", totals.from_device_bytes)):
            if size_bytes != UNKNOWN:
                yield (*whose, direction), size_bytes


def _burst_age(seen: Seen) -> Iterator[Sample]:
    now = seen.snapshot
    if now.sampled_ns != UNKNOWN:
        yield (), max(0, now.time_ns - now.sampled_ns) / 1e9


def _verdicts(seen: Seen) -> Iterator[Sample]:
    found = seen.snapshot.verdict
    for word in ("agree", "disagree", "inconclusive"):
        yield (word,), getattr(found, word) if found else 0


def _pool_count(seen: Seen) -> Iterator[Sample]:
    # A source that sees no pool at all (debugfs) cannot count them; where swiotlb is on there is one.
    kinds = [pool_kind(pool) for pool in seen.snapshot.pools]
    yield from (((kind,), kinds.count(kind)) for kind in ("default", "grown", "transient") if kinds)


def _findings(seen: Seen) -> Iterator[Sample]:
    yield from (((kind.value,), int(is_there)) for kind, is_there in seen.findings.kinds.items())


def _found(seen: Seen) -> Iterator[Sample]:
    for kind in (kind for kind, is_there in seen.findings.kinds.items() if is_there):
        yield (kind.value, MEANINGS[kind], " ".join(ADVICE[kind])), 1


def _found_of(seen: Seen) -> Iterator[Sample]:
    for kind in (kind for kind in seen.findings.devices if seen.findings.kinds.get(kind)):
        devices = {label if label in seen.devices else OTHER for label in seen.findings.devices[kind]}
        yield from (((kind.value, *label), 1) for label in sorted(devices))


def _source(seen: Seen) -> Iterator[Sample]:
    now = seen.snapshot
    yield (now.source, now.kernel_release, now.verdict.revision if now.verdict else ""), 1


def _hooks(seen: Seen) -> Iterator[Sample]:
    yield from (((hook.name, str(hook)), hook.seen) for hook in seen.snapshot.hooks)


def _fragmentation(pool: PoolView) -> float:
    return pool.slots.fragmentation_percent / 100 if pool.slots else UNKNOWN


def _free_runs(pool: PoolView) -> int:
    return pool.slots.free_runs if pool.slots else UNKNOWN


_DEVICE: Final = ("device", "driver")
_POOL: Final = ("pool",)
_SECONDS: Final = tuple(bound / 1e9 for bound in LATENCY_BUCKETS_NS)

_TOTAL_SLOTS: Final[tuple[tuple[str, str, Callable[[Snapshot], int]], ...]] = (
    ("", "nslabs", lambda s: s.nslabs),
    ("used_", "used_slots", lambda s: s.used_slots),
    ("used_hiwater_", "used_hiwater_slots", lambda s: s.used_hiwater_slots),
    ("transient_", "transient_slots", lambda s: s.transient_slots),
)


def _of_all() -> Iterator[MetricSpec]:
    for name, field, value in _TOTAL_SLOTS:
        yield MetricSpec(f"swiotlb_{name}slots", "gauge", (), _help(TOTALS, field), _known(value))
    for name, field, value in _TOTAL_SLOTS:
        yield MetricSpec(
            f"swiotlb_{name or 'memory_'}bytes",
            "gauge",
            (),
            f"In bytes: {_help(TOTALS, field)}",
            _known(value, IO_TLB_SIZE),
            Part.BYTES,
        )


METRICS: Final[tuple[MetricSpec, ...]] = (
    *_of_all(),
    MetricSpec("swiotlb_pools", "gauge", ("kind",), f"Pools by kind. {_help(POOLS, 'kind')}", _pool_count),
    MetricSpec("swiotlb_pool_slots", "gauge", _POOL, _help(POOLS, "nslabs"), _per_pool(lambda p: p.nslabs)),
    MetricSpec(
        "swiotlb_pool_used_slots", "gauge", _POOL, _help(POOLS, "used_slots"), _per_pool(lambda p: p.used_slots)
    ),
    MetricSpec("swiotlb_pool_areas", "gauge", _POOL, _help(POOLS, "nareas"), _per_pool(lambda p: p.nareas)),
    MetricSpec(
        "swiotlb_pool_longest_free_slots",
        "gauge",
        _POOL,
        _help(POOLS, "longest_free_slots"),
        _per_pool(lambda p: p.longest_free_slots),
    ),
    MetricSpec(
        "swiotlb_pool_fragmentation_ratio",
        "gauge",
        _POOL,
        f"{_help(POOLS, 'fragmentation_percent')} At 1 no two slots are free in one piece.",
        _per_pool(_fragmentation),
    ),
    MetricSpec("swiotlb_pool_free_runs", "gauge", _POOL, _help(POOLS, "free_runs"), _per_pool(_free_runs)),
    MetricSpec("swiotlb_growths", "counter", (), _help(TOTALS, "growths"), _known(lambda s: s.growths)),
    MetricSpec(
        "swiotlb_pools_added",
        "counter",
        (),
        "Pools that growth added, those from before the exporter began among them.",
        _known(lambda s: s.pools_added),
    ),
    MetricSpec("swiotlb_maps", "counter", _DEVICE, _help(DEVICES, "maps_per_second"), _per_device(lambda t: t.maps)),
    MetricSpec(
        "swiotlb_map_failures",
        "counter",
        _DEVICE,
        _help(TOTALS, "map_failures_per_second"),
        _per_device(lambda t: t.map_failures),
    ),
    MetricSpec(
        "swiotlb_map_failures_explained",
        "counter",
        (*_DEVICE, "cause"),
        "Mappings refused, by the cause the reference found; live only those of bursts are asked about.",
        _causes,
        Part.ZERO_CAUSES,
    ),
    MetricSpec(
        "swiotlb_unmaps", "counter", _DEVICE, _help(DEVICES, "unmaps_per_second"), _per_device(lambda t: t.unmaps)
    ),
    *held.METRICS,
    MetricSpec(
        "swiotlb_mapped_bytes",
        "counter",
        _DEVICE,
        _help(DEVICES, "mapped_bytes_per_second"),
        _per_device(lambda t: t.mapped_bytes),
    ),
    MetricSpec(
        "swiotlb_bounced_bytes",
        "counter",
        (*_DEVICE, "direction"),
        "Bytes of mappings released, by the direction they were for; what goes both ways is in both.",
        _bounced,
    ),
    MetricSpec(
        "swiotlb_request_slots",
        "histogram",
        _DEVICE,
        "Mappings asked for, refused ones too, by the slots they need in one run.",
        _histogram(lambda t: t.sizes, SIZE_BUCKETS_SLOTS, lambda t: t.asked_slots, _native_sizes),
        Part.HISTOGRAMS,
    ),
    MetricSpec(
        "swiotlb_map_duration_seconds",
        "histogram",
        _DEVICE,
        "Time that maps took in the kernel; live only those of bursts are timed.",
        _histogram(
            lambda t: t.latencies,
            _SECONDS,
            lambda t: t.latency_sum_ns / 1e9,
            lambda t: Native(FINE_SCHEMA, t.fine_latencies),
        ),
        Part.HISTOGRAMS,
    ),
    MetricSpec(
        "swiotlb_verified_operations",
        "counter",
        ("verdict",),
        "Operations compared with the reference allocator, by verdict.",
        _verdicts,
    ),
    MetricSpec(
        "swiotlb_safety_violations",
        "counter",
        (),
        "Operations that broke an invariant on any revision (overlap, alignment, bounds).",
        _known(lambda s: s.verdict.safety_violations if s.verdict else 0),
    ),
    MetricSpec(
        "swiotlb_finding",
        "gauge",
        ("finding",),
        "Whether something was found to be wrong in the last 10 to 20 minutes, as swiotlb-top check finds it; absent "
        "where that is not known, as in the first half minute.",
        _findings,
    ),
    MetricSpec(
        "swiotlb_finding_info",
        "gauge",
        ("finding", "meaning", "advice"),
        "What swiotlb_finding has as 1, in a sentence, and what helps: for alerts to quote.",
        _found,
    ),
    MetricSpec(
        "swiotlb_finding_device_info",
        "gauge",
        ("finding", *_DEVICE),
        "Whose it is what swiotlb_finding has as 1, where it is a device's.",
        _found_of,
    ),
    MetricSpec(
        "swiotlb_burst_age_seconds",
        "gauge",
        (),
        "How old the latest burst is, of which free runs, causes, latencies and verdicts are; absent where none was.",
        _burst_age,
    ),
    MetricSpec(
        "swiotlb_bpf_run_seconds",
        "counter",
        ("program",),
        "Time that the exporter's BPF programs ran, on all CPUs together. Absent unless the kernel counts it: sysctl "
        "kernel.bpf_stats_enabled=1, which itself costs each run of every BPF program of the machine two readings of a "
        "clock.",
        lambda seen: (((cost.name,), cost.run_ns / 1e9) for cost in seen.snapshot.programs),
    ),
    MetricSpec(
        "swiotlb_bpf_runs",
        "counter",
        ("program",),
        "How often they ran; absent likewise.",
        lambda seen: (((cost.name,), cost.runs) for cost in seen.snapshot.programs),
    ),
    MetricSpec("swiotlb_events_lost", "counter", (), "Events lost before they were read.", _known(lambda s: s.lost)),
    MetricSpec(
        "swiotlb_kernel_log_failures",
        "counter",
        (*_DEVICE, "cause"),
        "Failed maps that the kernel's own log tells of since the exporter began, by cause as far as a line tells "
        "(docs/why.md). It prints at most ten in five seconds, and of some drivers' maps nothing.",
        lambda seen: kernel_log.failures(seen.snapshot),
    ),
    MetricSpec(
        "swiotlb_kernel_log_earlier_failures",
        "gauge",
        (*_DEVICE, "cause"),
        "Those that the log had when the exporter began: what failed at boot, for one.",
        lambda seen: kernel_log.earlier_failures(seen.snapshot),
    ),
    MetricSpec(
        "swiotlb_kernel_log_not_printed",
        "counter",
        (),
        "Lines of swiotlb's that the kernel says it did not print (callbacks suppressed), since the exporter began.",
        lambda seen: kernel_log.not_printed(seen.snapshot),
    ),
    MetricSpec(
        "swiotlb_kernel_log_readable",
        "gauge",
        (),
        "Whether the kernel's log (/dev/kmsg) can be read; where not, the three above are absent.",
        lambda seen: kernel_log.readable(seen.snapshot),
    ),
    MetricSpec(
        "swiotlb_flight_recording",
        "gauge",
        (),
        "Whether the flight recorder holds what happens; 0 while probes are not attached. Where none is wanted "
        "(--flight), this and the rest of swiotlb_flight are absent.",
        lambda seen: flight.number(seen.snapshot, "recording"),
    ),
    MetricSpec(
        "swiotlb_flight_held_bytes",
        "gauge",
        (),
        "How much the flight recorder holds in memory, packed as in a file.",
        lambda seen: flight.number(seen.snapshot, "held_bytes"),
    ),
    MetricSpec(
        "swiotlb_flight_triggers",
        "counter",
        ("trigger",),
        "How often a file was to be written, by the trigger of --on; asked: by swiotlb-top snapshot or SIGUSR1.",
        lambda seen: flight.fired(seen.snapshot),
    ),
    MetricSpec(
        "swiotlb_flight_files",
        "counter",
        (),
        "Files that the flight recorder has written, those that are not kept any more among them.",
        lambda seen: flight.number(seen.snapshot, "files"),
    ),
    MetricSpec(
        "swiotlb_flight_files_failed",
        "counter",
        (),
        "Files that it could not write; standard error says why.",
        lambda seen: flight.number(seen.snapshot, "not_written"),
    ),
    MetricSpec(
        "swiotlb_flight_last_file_timestamp_seconds",
        "gauge",
        ("file", "trigger"),
        "The latest of these files on the node, and when its trigger fired, since 1970; absent before the first.",
        lambda seen: flight.last_file(seen.snapshot),
    ),
    MetricSpec(
        "swiotlb_hook_attached", "gauge", ("hook", "how"), "Whether a hook of the probe plan is there, and how.", _hooks
    ),
    MetricSpec(
        "swiotlb_source_info",
        "gauge",
        ("source", "kernel", "revision"),
        "What the numbers come from: live, debugfs or replay; the kernel; the reference's revision.",
        _source,
    ),
)
