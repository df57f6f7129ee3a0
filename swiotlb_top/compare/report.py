"""What ``swiotlb-top diff`` says, for people and for machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swiotlb_top.compare.measured import PARTS, Measured, measure
from swiotlb_top.compare.metrics import LEVEL, METRICS, Answer, Compared, Unit, compare, failed_of
from swiotlb_top.compare.ranks import LEAST
from swiotlb_top.errors import Exit, UsageError

_NS_UNITS: Final = ((1e9, "s"), (1e6, "ms"), (1e3, "us"))
_UNKNOWN: Final = "?"
_LEAST_P: Final = 0.001
"""A smaller one is told as such on the page."""
_NOTE: Final = f"""\
longest free: the longest run of free slots that a map could ask when it failed, half of the time no longer
p: how likely values lie so far apart if nothing differs; below {LEVEL} a line differs, 1 in {1 / LEVEL:g} for nothing
Each recording is cut into up to {PARTS} batches, which are compared by their ranks (Mann-Whitney); with fewer than
{LEAST} of them it cannot be told. The more each is like the one before it, the less it counts. How much the same load
differs from one time to the next, two recordings do not tell: record it several times."""


@dataclass(frozen=True, slots=True)
class DiffReport:
    """Two recordings, and how they compare."""

    a: Measured
    b: Measured
    metrics: tuple[Compared, ...]
    causes: tuple[Compared, ...]
    """Failed maps by cause, for each that one of the two has."""

    @property
    def damage(self) -> tuple[str, ...]:
        """Why recordings could not be read to their ends; what is before that is compared."""
        return tuple(one.damage for one in (self.a, self.b) if one.damage)

    @property
    def answer(self) -> Answer:
        """Whether anything differs; where nothing is known to, but not all can be told, it cannot be told."""
        answers = {one.answer for one in (*self.metrics, *self.causes)}
        return next((answer for answer in (Answer.DIFFERS, Answer.CANNOT_TELL) if answer in answers), Answer.NOISE)

    @property
    def exit_code(self) -> Exit:
        if self.damage:
            return Exit.UNREADABLE
        return {Answer.DIFFERS: Exit.DISAGREE, Answer.CANNOT_TELL: Exit.INCONCLUSIVE}.get(self.answer, Exit.OK)

    # ---- for machines --------------------------------------------------

    def as_json(self) -> dict[str, object]:
        return {
            "answer": self.answer.value,
            "level": LEVEL,
            "a": _measured_json(self.a),
            "b": _measured_json(self.b),
            "metrics": {one.metric.key: _compared_json(one) for one in self.metrics},
            "failed_percent_by_cause": {one.metric.key: _compared_json(one) for one in self.causes},
        }

    # ---- for people ------------------------------------------------------

    def as_text(self) -> str:
        """A page for people. Its lines are not wrapped."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for name, one in (("A", self.a), ("B", self.b)):
            yield f"{name}  {_told_of(one)}"
            if one.damage:
                yield "   it cannot be read to its end, and this is what comes before"
        yield ""
        yield f"{'':16} {'A':>10} {'B':>10} {'change':>8} {'p':>7}"
        for compared in (*self.metrics, *self.causes):
            yield _row(compared)
        yield ""
        yield _NOTE


def diff(a: Path, b: Path) -> DiffReport:
    """Compare two recordings.

    :raises UnreadableError: one of them is no recording.
    :raises UsageError: one of them is partial, and the other is not.
    :raises CannotError: no revision is known for a recording's kernel.
    """
    one, other = measure(a), measure(b)
    if one.is_partial != other.is_partial:
        partial, whole = (a, b) if one.is_partial else (b, a)
        raise UsageError(f"{partial} has the calls of some devices or pools only, and {whole} all: cut both alike")
    causes = sorted(one.causes.keys() | other.causes.keys())
    return DiffReport(
        one,
        other,
        tuple(compare(metric, one, other) for metric in METRICS),
        tuple(compare(failed_of(cause), one, other) for cause in causes),
    )


# ---- one recording ---------------------------------------------------------------


def _told_of(one: Measured) -> str:
    first = one.found.first_state
    slots = f"{first.nslabs} slots" if first else "slots not known"
    lost = f", {one.lost} events lost" if one.lost else ""
    causes = ", ".join(f"{cause} {count}" for cause, count in sorted(one.causes.items()))
    return (
        f"{one.path.name}: kernel {one.kernel_release}, {slots} at first, {one.found.length_ns / 1e9:.1f} s, "
        f"{one.maps} maps, {one.failures} failed{f' ({causes})' if causes else ''}{lost}"
    )


def _measured_json(one: Measured) -> dict[str, object]:
    first = one.found.first_state
    return {
        "file": one.path.name,
        "kernel_release": one.kernel_release,
        "nslabs": first.nslabs if first else None,
        "duration_seconds": round(one.found.length_ns / 1e9, 3),
        "maps": one.maps,
        "map_failures": one.failures,
        "map_failures_by_cause": dict(sorted(one.causes.items())),
        "lost": one.lost,
        "damage": one.damage,
    }


# ---- one metric ------------------------------------------------------------------


def _compared_json(one: Compared) -> dict[str, object]:
    return {
        "a": one.a.value,
        "b": one.b.value,
        "change_percent": None if one.change_percent is None else round(one.change_percent, 3),
        "batches_a": len(one.a.batches),
        "batches_b": len(one.b.batches),
        "p": one.p,
        "answer": one.answer.value,
    }


def _row(one: Compared) -> str:
    unit = one.metric.unit
    change = "" if one.change_percent is None else f"{one.change_percent:+.1f}%"
    p = "" if one.p is None else f"{one.p:.4f}" if one.p >= _LEAST_P else f"<{_LEAST_P}"
    title = one.metric.title
    return (
        f"{title:16} {_shown(one.a.value, unit):>10} {_shown(one.b.value, unit):>10} {change:>8} {p:>7}  "
        f"{one.answer.value}{_why(one)}"
    )


def _why(one: Compared) -> str:
    """Why it cannot be told; empty if it can."""
    if one.answer is not Answer.CANNOT_TELL:
        return ""
    sides = (("A", one.a), ("B", one.b))
    few = [name for name, side in sides if len(side.batches) < LEAST or side.things < one.metric.enough]
    return f": too little of it in {' and '.join(few)}"


def _shown(value: float | None, unit: Unit) -> str:
    if value is None:
        return _UNKNOWN
    if unit is Unit.NS:
        factor, name = next(((factor, name) for factor, name in _NS_UNITS if value >= factor), (1, "ns"))
        return f"{value / factor:.3g} {name}"
    return f"{value:.4g}{'' if unit is Unit.SLOTS else unit.value}"
