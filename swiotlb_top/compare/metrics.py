"""What is compared: the number of a recording as a whole, and that of each of its batches."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from swiotlb_top.compare.measured import PARTS, Measured, Part
from swiotlb_top.compare.ranks import LEAST, p_of_series
from swiotlb_top.compare.sample import Sample, quantile

LEVEL: Final = 0.01
"""The level of the test: of two recordings of the same load, one metric in a hundred is said to differ."""


ENOUGH_MAPS: Final = 100
"""With fewer maps on one side, no difference in rates or failures is not called noise."""


class Answer(Enum):
    """Whether a difference is more than noise."""

    DIFFERS = "differs"
    NOISE = "noise"
    CANNOT_TELL = "cannot tell"
    NEITHER = "neither has any"


class Unit(Enum):
    """What a number counts."""

    NS = "ns"
    PER_SECOND = "/s"
    PERCENT = "%"
    SLOTS = "slots"


class Figure(NamedTuple):
    """One number of a recording."""

    value: float | None
    """The number for the whole recording; None if there is too little to compute it from."""
    batches: tuple[float, ...]
    """The number for each batch that has enough to compute it from."""
    things: int
    """How many things it was computed from: maps, or parts of the time."""


class Metric(NamedTuple):
    """One thing that is compared."""

    key: str
    title: str
    unit: Unit
    of: Callable[[Measured, Measured], Figure]
    """The figure of the first recording, for it to be compared with that of the second."""
    enough: int = 0
    """With fewer things on one side, no difference is not called noise: a difference could not have shown."""


class Compared(NamedTuple):
    """One metric of two recordings."""

    metric: Metric
    a: Figure
    b: Figure
    p: float | None
    """How likely it is that batches lie at least so far apart if nothing differs; None if there are too few."""
    answer: Answer

    @property
    def change_percent(self) -> float | None:
        """From the first to the second, relative to the first; None where that is 0 or one is not known."""
        if not self.a.value or self.b.value is None:
            return None
        return 100 * (self.b.value - self.a.value) / self.a.value


def compare(metric: Metric, a: Measured, b: Measured) -> Compared:
    """Compare two recordings by one metric."""
    of_a, of_b = metric.of(a, b), metric.of(b, a)
    if not of_a.things and not of_b.things:
        return Compared(metric, of_a, of_b, None, Answer.NEITHER)
    if min(len(of_a.batches), len(of_b.batches)) < LEAST:
        return Compared(metric, of_a, of_b, None, Answer.CANNOT_TELL)
    p = p_of_series(of_a.batches, of_b.batches)
    if p < LEVEL:
        return Compared(metric, of_a, of_b, p, Answer.DIFFERS)
    enough = min(of_a.things, of_b.things) >= metric.enough
    return Compared(metric, of_a, of_b, p, Answer.NOISE if enough else Answer.CANNOT_TELL)


def failed_of(cause: str) -> Metric:
    """The share of maps that failed for a cause."""
    of = _share(lambda part: part.causes[cause], lambda measured: measured.causes[cause])
    return Metric(cause, f"  {cause}", Unit.PERCENT, of, ENOUGH_MAPS)


# ---- how each is computed --------------------------------------------------------


_Of: TypeAlias = Callable[[Measured, Measured], Figure]


def _quantile(samples: Callable[[Measured], Sample], share: float, least: int) -> _Of:
    """A quantile of a sample. Batches of both recordings have the same size, as the quantile of few values is another
    one than that of many: the lower of two is less than a single one.

    :param least: of how many values it can be said.
    """

    def of(measured: Measured, other: Measured) -> Figure:
        sample = samples(measured)
        size = min(sample.batch_size(PARTS, least), samples(other).batch_size(PARTS, least))
        batches = tuple(quantile(batch, share) for batch in sample.batches(PARTS, size))
        value = quantile(sample.values, share) if len(sample.values) >= least else None
        return Figure(value, batches, sample.count)

    return of


def _share(failed: Callable[[Part], int], in_all: Callable[[Measured], int]) -> _Of:
    """The share of maps that failed, of some kind of failures, in percent."""

    def of(measured: Measured, _: Measured) -> Figure:
        asked = measured.maps + measured.failures
        value = 100 * in_all(measured) / asked if asked else None
        parts = [part for part in measured.whole_parts if part.maps + part.failures]
        return Figure(value, tuple(100 * failed(part) / (part.maps + part.failures) for part in parts), asked)

    return of


def _maps_per_second(measured: Measured, _: Measured) -> Figure:
    parts = measured.whole_parts
    value = sum(part.maps for part in parts) / (len(parts) * measured.part_s) if parts else None
    return Figure(value, tuple(part.maps / measured.part_s for part in parts), measured.maps)


_P50_LEAST: Final = 10
_P99_LEAST: Final = 100

_FAILED: Final = _share(lambda part: part.failures, lambda measured: measured.failures)

METRICS: Final = (
    Metric("map_p50_ns", "map p50", Unit.NS, _quantile(lambda of: of.latencies_ns, 0.5, _P50_LEAST)),
    Metric("map_p99_ns", "map p99", Unit.NS, _quantile(lambda of: of.latencies_ns, 0.99, _P99_LEAST)),
    Metric("hold_p50_ns", "hold p50", Unit.NS, _quantile(lambda of: of.holds_ns, 0.5, _P50_LEAST)),
    Metric("hold_p99_ns", "hold p99", Unit.NS, _quantile(lambda of: of.holds_ns, 0.99, _P99_LEAST)),
    Metric("maps_per_second", "maps", Unit.PER_SECOND, _maps_per_second, ENOUGH_MAPS),
    Metric("longest_free_slots", "longest free", Unit.SLOTS, _quantile(lambda of: of.longest_free_slots, 0.5, 1)),
    Metric(
        "failed_percent",
        "failed maps",
        Unit.PERCENT,
        _FAILED,
        ENOUGH_MAPS,
    ),
)
"""What is compared of any two recordings; the failures by cause come besides (:func:`failed_of`)."""
