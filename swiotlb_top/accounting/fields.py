"""The one table of what is shown: each field's name, title, unit, where it comes from, and how to read it.

Columns, sort orders, the help page, JSON and the manual page are made from it, so that a number
means the same wherever it stands.
"""

from __future__ import annotations

from typing import Final

from swiotlb_top.accounting.device_fields import DEVICES
from swiotlb_top.accounting.field import RARE, Field, Origin, Row, age_ns, known
from swiotlb_top.accounting.past import mapped_bytes
from swiotlb_top.accounting.pool_account import PoolAccount
from swiotlb_top.accounting.snapshot import FailureView, PoolView, Snapshot
from swiotlb_top.accounting.units import Unit, Value

__all__ = ["DEVICES", "FAILURES", "POOLS", "RARE", "TOTALS", "Field", "Origin", "Row", "Unit", "Value", "pool_kind"]


def pool_kind(pool: PoolView | PoolAccount) -> str:
    """One of "default", "grown" (by ``swiotlb_dyn_alloc()``) and "transient"."""
    if pool.transient:
        return "transient"
    return "default" if pool.default else "grown"


_C, _E, _S, _L = Origin.COUNTERS, Origin.CALLS, Origin.STATE, Origin.SLOTS

TOTALS: Final[tuple[Field[Snapshot], ...]] = (
    Field("nslabs", "slots", Unit.SLOTS, _S, 0, "Slots in all pools.", lambda f, s: known(s.nslabs)),
    Field("used_slots", "used", Unit.SLOTS, _S, 0, "Slots in use now.", lambda f, s: known(s.used_slots)),
    Field(
        "used_hiwater_slots",
        "high water",
        Unit.SLOTS,
        _S,
        1,
        "Most slots in use at once since boot. Where the kernel does not keep that, it is since the source began, and "
        "a note says so. Near the total, it is the first warning.",
        lambda f, s: known(s.used_hiwater_slots),
    ),
    Field(
        "transient_slots",
        "transient",
        Unit.SLOTS,
        _S,
        2,
        "Slots of pools made for one mapping, when all others were full (CONFIG_SWIOTLB_DYNAMIC).",
        lambda f, s: known(s.transient_slots),
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
        lambda f, s: known(s.growths),
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
        lambda f, p: known(p.longest_free_slots),
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
        lambda f, p: age_ns(f, p.since_ns),
    ),
)

FAILURES: Final[tuple[Field[FailureView], ...]] = (
    Field("ago_ns", "AGO", Unit.AGE, _E, 1, "How long ago it failed last.", lambda f, e: age_ns(f, e.time_ns)),
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
