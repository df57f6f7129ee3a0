"""The one table of what is shown: each field's name, title, unit, where it comes from, and how to read it.

Columns, sort orders, the help page, JSON and the manual page are made from it, so that a number
means the same wherever it stands.
"""

from __future__ import annotations

from typing import Final

from swiotlb_top.accounting.field import Field, Origin, Row, Unit, Value
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.past import mapped_bytes
from swiotlb_top.accounting.pool_account import PoolAccount
from swiotlb_top.accounting.snapshot import UNKNOWN, DeviceView, FailureView, PoolView, Snapshot

__all__ = ["DEVICES", "FAILURES", "POOLS", "TOTALS", "Field", "Origin", "Row", "Unit", "Value", "pool_kind"]


def _known(value: float) -> float | None:
    return None if value == UNKNOWN else value


def pool_kind(pool: PoolView | PoolAccount) -> str:
    """One of "default", "grown" (by ``swiotlb_dyn_alloc()``) and "transient"."""
    if pool.transient:
        return "transient"
    return "default" if pool.default else "grown"


def _age_ns(frame: Frame, since_ns: int) -> int | None:
    return None if since_ns == UNKNOWN else max(0, frame.now.time_ns - since_ns)


_C, _E, _R, _S, _L = Origin.COUNTERS, Origin.CALLS, Origin.RECORDING, Origin.STATE, Origin.SLOTS

TOTALS: Final[tuple[Field[Snapshot], ...]] = (
    Field("nslabs", "slots", Unit.SLOTS, _S, 0, "Slots in all pools.", lambda f, s: _known(s.nslabs)),
    Field("used_slots", "used", Unit.SLOTS, _S, 0, "Slots in use now.", lambda f, s: _known(s.used_slots)),
    Field(
        "used_hiwater_slots",
        "high water",
        Unit.SLOTS,
        _S,
        1,
        "Most slots ever in use at once. Near the total, it is the first warning.",
        lambda f, s: _known(s.used_hiwater_slots),
    ),
    Field(
        "transient_slots",
        "transient",
        Unit.SLOTS,
        _S,
        2,
        "Slots of pools made for one mapping, when all others were full (CONFIG_SWIOTLB_DYNAMIC).",
        lambda f, s: _known(s.transient_slots),
    ),
    Field("maps_per_second", "maps", Unit.PER_SECOND, _C, 0, "Mappings made.", lambda f, s: f.rate(lambda t: t.maps)),
    Field(
        "unmaps_per_second",
        "unmaps",
        Unit.PER_SECOND,
        _C,
        2,
        "Mappings released.",
        lambda f, s: f.rate(lambda t: t.unmaps),
    ),
    Field(
        "map_failures_per_second",
        "failed",
        Unit.PER_SECOND,
        _C,
        0,
        "Mappings that failed. Drivers try again at once: a rate means that something is stuck.",
        lambda f, s: f.rate(lambda t: t.map_failures),
    ),
    Field(
        "mapped_bytes_per_second",
        "MB/s",
        Unit.BYTES_PER_SECOND,
        _C,
        1,
        "Bytes of mappings made: what is copied through bounce buffers.",
        lambda f, s: f.rate(mapped_bytes),
    ),
    Field(
        "growths",
        "growths",
        Unit.COUNT,
        _C,
        3,
        "Runs of swiotlb_dyn_alloc(), which tries to add a pool, since the source began.",
        lambda f, s: _known(s.growths),
    ),
    Field(
        "growths_per_second",
        "growths/s",
        Unit.PER_SECOND,
        _C,
        3,
        "Runs of swiotlb_dyn_alloc() in a second. In JSON only.",
        lambda f, s: f.rate(lambda t: t.growths),
    ),
)

POOLS: Final[tuple[Field[PoolView], ...]] = (
    Field(
        "start", "POOL START", Unit.ADDRESS, _S, 0, "Physical address of the pool's first slot.", lambda f, p: p.start
    ),
    Field(
        "kind",
        "KIND",
        Unit.WORDS,
        _S,
        2,
        "default: from boot; grown: added later; transient: for one mapping.",
        lambda f, p: pool_kind(p),
    ),
    Field("nslabs", "SLOTS", Unit.SLOTS, _S, 0, "Slots of the pool.", lambda f, p: p.nslabs),
    Field(
        "nareas",
        "AREAS",
        Unit.COUNT,
        _S,
        5,
        "Parts of the pool, each with its own lock. A mapping lies in one of them. CPUs begin to search in different "
        "ones.",
        lambda f, p: p.nareas,
    ),
    Field("used_slots", "USED", Unit.SLOTS, _S, 3, "Slots in use.", lambda f, p: p.used_slots),
    Field(
        "used_percent",
        "USED%",
        Unit.PERCENT,
        _S,
        0,
        "Share of its slots in use.",
        lambda f, p: 100 * p.used_slots / p.nslabs if p.nslabs > 0 else None,
    ),
    Field(
        "longest_free_slots",
        "LONGEST FREE",
        Unit.SLOTS,
        _L,
        1,
        "Longest run of free slots, at most 128. A mapping that needs more fails however much is free.",
        lambda f, p: _known(p.longest_free_slots),
    ),
    Field(
        "fragmentation_percent",
        "FRAG%",
        Unit.PERCENT,
        _L,
        4,
        "How much shorter the longest run is than the free slots could make it, which is at most 128. At 0 a map that "
        "needs no more slots than are free finds a run, if its alignment allows.",
        lambda f, p: p.slots.fragmentation_percent if p.slots else None,
    ),
    Field(
        "free_runs",
        "RUNS",
        Unit.COUNT,
        _L,
        6,
        "Runs of free slots.",
        lambda f, p: p.slots.free_runs if p.slots else None,
    ),
    Field(
        "age_ns",
        "AGE",
        Unit.AGE,
        _S,
        7,
        "How long the pool has been there. The default pool is there since boot. It is not known for a pool that was "
        "added before anyone looked.",
        lambda f, p: _age_ns(f, p.since_ns),
    ),
)

DEVICES: Final[tuple[Field[DeviceView], ...]] = (
    Field("name", "DEVICE", Unit.WORDS, _S, 0, "The device, as /sys/bus names it.", lambda f, d: d.name),
    Field(
        "known_as",
        "KNOWN AS",
        Unit.WORDS,
        _S,
        2,
        "What people know it by: the disks or network interfaces below it in /sys, else its controller or SCSI host. "
        "Empty where there is none.",
        lambda f, d: d.known_as or None,
    ),
    Field("driver", "DRIVER", Unit.WORDS, _S, 2, "Its driver.", lambda f, d: d.driver or None),
    Field(
        "maps_per_second",
        "MAPS/s",
        Unit.PER_SECOND,
        _C,
        0,
        "Mappings made.",
        lambda f, d: f.device_rate(d, lambda t: t.maps),
    ),
    Field(
        "map_failures_per_second",
        "FAILED/s",
        Unit.PER_SECOND,
        _C,
        0,
        "Mappings that failed.",
        lambda f, d: f.device_rate(d, lambda t: t.map_failures),
    ),
    Field(
        "mapped_bytes_per_second",
        "MB/s",
        Unit.BYTES_PER_SECOND,
        _C,
        1,
        "Bytes of mappings made.",
        lambda f, d: f.device_rate(d, lambda t: t.mapped_bytes),
    ),
    Field(
        "held_maps",
        "HELD",
        Unit.COUNT,
        _C,
        4,
        "Mappings made since the source began, not yet released.",
        lambda f, d: d.held_maps,
    ),
    Field(
        "held_slots",
        "SLOTS",
        Unit.SLOTS,
        _R,
        5,
        "Slots of those mappings. Only a recording tells: the kernel does not note whose a slot is.",
        lambda f, d: _known(d.held_slots),
    ),
    Field(
        "map_p50_ns",
        "P50",
        Unit.DURATION,
        _E,
        7,
        "Half of the latest maps took no longer than this in the kernel.",
        lambda f, d: _known(d.map_p50_ns),
    ),
    Field(
        "map_p99_ns",
        "P99",
        Unit.DURATION,
        _E,
        6,
        "99 of 100 of the latest maps took no longer than this.",
        lambda f, d: _known(d.map_p99_ns),
    ),
    Field(
        "map_failures",
        "FAILED",
        Unit.COUNT,
        _C,
        8,
        "Mappings that failed since the source began.",
        lambda f, d: d.map_failures,
    ),
    Field(
        "cause",
        "CAUSE",
        Unit.WORDS,
        _E,
        3,
        "The commonest cause of its failures, as the reference explains them.",
        lambda f, d: d.causes[0][0].value if d.causes else None,
    ),
    Field(
        "sizes",
        "SIZES 1..128",
        Unit.HISTOGRAM,
        _C,
        9,
        "How many maps asked for 1, 2, up to 4, 8, 16, 32, 64, 128 slots, and more, padding included.",
        lambda f, d: d.sizes or None,
    ),
    Field(
        "unmaps_per_second",
        "UNMAPS/s",
        Unit.PER_SECOND,
        _C,
        10,
        "Mappings released.",
        lambda f, d: f.device_rate(d, lambda t: t.unmaps),
    ),
    Field(
        "to_device_bytes_per_second",
        "TO MB/s",
        Unit.BYTES_PER_SECOND,
        _C,
        11,
        "Bytes of mappings for the device to read, as they are released.",
        lambda f, d: f.device_rate(d, lambda t: t.to_device_bytes),
    ),
    Field(
        "from_device_bytes_per_second",
        "FROM MB/s",
        Unit.BYTES_PER_SECOND,
        _C,
        11,
        "Bytes of mappings for the device to write, as they are released.",
        lambda f, d: f.device_rate(d, lambda t: t.from_device_bytes),
    ),
    Field(
        "hold_p50_ns",
        "HELD P50",
        Unit.DURATION,
        _R,
        13,
        "Half of the mappings that were released last had been held no longer than this.",
        lambda f, d: _known(d.hold_p50_ns),
    ),
    Field(
        "hold_p99_ns",
        "HELD P99",
        Unit.DURATION,
        _R,
        13,
        "99 of 100 of them had been held no longer than this.",
        lambda f, d: _known(d.hold_p99_ns),
    ),
    Field(
        "hold_max_ns",
        "HELD MAX",
        Unit.DURATION,
        _R,
        14,
        "The longest that any mapping was held that was made and released since the source began.",
        lambda f, d: _known(d.hold_max_ns),
    ),
    Field(
        "holds",
        "HELD 10us..",
        Unit.HISTOGRAM,
        _R,
        15,
        "How many released mappings had been held up to 10 us, 100 us, and so on to 1000 s, and longer.",
        lambda f, d: d.holds or None,
    ),
    Field(
        "oldest_open_ns",
        "OLDEST",
        Unit.AGE,
        _R,
        12,
        "How long the oldest open mapping has been held, of those made since the source began.",
        lambda f, d: _age_ns(f, d.oldest_ns),
    ),
)

FAILURES: Final[tuple[Field[FailureView], ...]] = (
    Field("ago_ns", "AGO", Unit.AGE, _E, 1, "How long ago it failed last.", lambda f, e: _age_ns(f, e.time_ns)),
    Field("times", "TIMES", Unit.COUNT, _E, 1, "How often in a row it failed like this.", lambda f, e: e.times),
    Field("device", "DEVICE", Unit.WORDS, _E, 0, "Whose mapping it was.", lambda f, e: e.device),
    Field(
        "size_bytes",
        "BYTES",
        Unit.BYTES,
        _E,
        2,
        "The size of the mapping, with the padding that aligns it.",
        lambda f, e: e.size_bytes,
    ),
    Field("needed_slots", "SLOTS", Unit.SLOTS, _E, 1, "Slots it needed, in one run.", lambda f, e: e.needed_slots),
    Field("cpu", "CPU", Unit.COUNT, _E, 4, "CPU it failed on last.", lambda f, e: e.cpu),
    Field(
        "cause",
        "CAUSE",
        Unit.WORDS,
        _E,
        0,
        "Why it failed, in one word, as the reference explains it.",
        lambda f, e: e.cause.value if e.cause else None,
    ),
    Field(
        "reference",
        "REFERENCE",
        Unit.WORDS,
        _E,
        3,
        "agrees: the reference finds no slots either; not asked: it was not compared, or not yet.",
        lambda f, e: e.reference,
    ),
    Field("sentence", "WHY", Unit.WORDS, _E, 2, "Why it failed, in a sentence.", lambda f, e: e.sentence or None),
)
