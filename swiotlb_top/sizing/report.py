"""What ``swiotlb-top size`` says, for people and for machines."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from swiotlb_top.constants import IO_TLB_SHIFT, SLOT_SET_SHIFT
from swiotlb_top.errors import Exit
from swiotlb_top.sizing.chart import Bar, Ink, chart
from swiotlb_top.sizing.cluster import Over
from swiotlb_top.sizing.demand import Demand
from swiotlb_top.sizing.fleet import Fleet, Merged
from swiotlb_top.sizing.recordings import read_named
from swiotlb_top.sizing.sized import How, Question, Row, Sized, Standing, size
from swiotlb_top.sizing.starts import NEVER
from swiotlb_top.sizing.svg import svg
from swiotlb_top.sizing.units import duration, memory, number

_HOW: Final = {
    (Standing.HOLDS, How.BOUND): "certain",
    (Standing.HOLDS, How.SIMULATED): "simulated",
    (Standing.UNKNOWN, How.SIMULATED): "gave up",
    (Standing.MAY_FAIL, How.SIMULATED): "simulated, may fail",
    (Standing.FAILS, How.SIMULATED): "simulated",
    (Standing.FAILS, How.BOUND): "certain",
}
"""The last column, in words."""
_HEAD: Final = ("swiotlb=", "size", "fails", "peak", "high", "pools", "trans", "wait", "memory", "how")
_COLUMNS: Final = """\
fails: needs that find no slots; peak: slots in use, with those that failed; high: slots in use; pools: added by growth;
trans: transient pools; wait: for a new pool; how: certain, or simulated for one order of calls that overlap"""


@dataclass(frozen=True)
class SizeReport:
    """The answer for one recording or several."""

    fleet: Fleet

    @property
    def damage(self) -> tuple[str, ...]:
        """Why recordings could not be read to their ends; what is before that is sized."""
        return tuple(member.demand.damage for member in self.fleet.members if member.demand.damage)

    @property
    def exit_code(self) -> Exit:
        """0 only where the answer is certain; where no size will do, that is trouble."""
        if self.damage:
            return Exit.UNREADABLE
        if self.fleet.recommended is None:
            return Exit.DISAGREE
        return Exit.OK if self.fleet.certain else Exit.INCONCLUSIVE

    # ---- for machines --------------------------------------------------

    def as_json(self) -> dict[str, object]:
        """Flat, for machines."""
        fleet = self.fleet
        recommended, most = fleet.recommended, fleet.of_99_percent
        return {
            "recommended_nslabs": recommended.nslabs if recommended else None,
            "recommended_areas": recommended.nareas if recommended else None,
            "command_line": recommended.command_line if recommended else None,
            "certain": fleet.certain,
            "at_least": fleet.at_least,
            "nslabs_of_99_percent": most.nslabs if most else None,
            "worst": fleet.worst.demand.called,
            "configurations": [_merged_json(merged) for merged in fleet.sizes],
            "recordings": [_sized_json(member) for member in fleet.members],
        }

    # ---- for people ------------------------------------------------------

    def as_text(self, *, ink: Ink | None = None) -> str:
        """A page; its lines are as long as they are.

        :param ink: what to draw a chart with; None: no chart.
        """
        return "\n".join(self._lines(ink))

    def as_svg(self) -> str:
        """The chart of failures and peak against the size, as a file."""
        called = self.fleet.worst.demand.called.rpartition("/")[2]
        several = len(self.fleet.members)
        return svg(self._bars, f"{several} recordings, of which {called} needs most" if several > 1 else called)

    def answer_first(self, ink: Ink) -> list[str]:
        """The same page for a screen of which only the beginning is seen: the answer, then the table and the rest."""
        return [
            *_answer(self.fleet), "", *self._table, "", *chart(self._bars, ink), "", *self._details, "", *self._told,
        ]  # fmt: skip

    def _lines(self, ink: Ink | None) -> Iterator[str]:
        yield from self._told
        yield ""
        yield from self._table
        if ink:
            yield ""
            yield from chart(self._bars, ink)
        yield ""
        yield from _answer(self.fleet)
        yield ""
        yield from self._details

    @property
    def _told(self) -> list[str]:
        return [_told_of(member) for member in self.fleet.members]

    @property
    def _table(self) -> list[str]:
        return list(_table(self.fleet, self.fleet.worst.today if len(self.fleet.members) == 1 else None))

    @property
    def _bars(self) -> list[Bar]:
        return [_bar(merged, self.fleet.recommended) for merged in self.fleet.sizes]

    @property
    def _details(self) -> Iterator[str]:
        fleet, worst = self.fleet, self.fleet.worst
        yield from _failing(worst)
        of_which = f" (of {worst.demand.called.rpartition('/')[2]})" if len(fleet.members) > 1 else ""
        yield f"devices, each alone at its peak:{of_which}"
        for device in worst.devices:
            who = ", ".join(word for word in (device.driver or "?", device.known_as) if word)
            failed = f", {device.failures} failed maps" if device.failures else ""
            queue = f"; its queues hold {device.queue_requests} requests" if device.queue_requests else ""
            yield f"  {device.name} ({who}) {device.peak_slots} slots, {device.needs} needs{failed}{queue}"
        yield "assumed:"
        for assumption in dict.fromkeys(one for member in fleet.members for one in member.assumptions):
            yield f"  {assumption.sentence}; {assumption.effect}"


def answer(names: Sequence[str | Path], question: Question, revision: str | None, over: Over = map) -> SizeReport:
    """Size swiotlb by recordings.

    :param names: of files or URLs, one at least.
    :param over: does the same to each of them; ``map``: here, one after the other.
    :raises UnreadableError: one of them is no recording, or holds nothing that could be sized.
    :raises UsageError: there is no such revision.
    :raises CannotError: no revision is known for a recording's kernel.
    """
    work = partial(_sized_by_name, question=question, revision=revision, below=Path.cwd() if over is not map else None)
    return SizeReport(Fleet(tuple(over(work, [str(name) for name in names]))))


def _sized_by_name(name: str, question: Question, revision: str | None, below: Path | None) -> Sized:
    with _uncollected():
        return size(read_named(name, revision, below), question)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Nothing that is made here refers to itself, and what looks for that in vain takes a tenth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def report_of(demand: Demand, question: Question) -> SizeReport:
    """Size swiotlb by one demand."""
    return SizeReport(Fleet((size(demand, question),)))


# ---- one recording ----------------------------------------------------------------


def _told_of(member: Sized) -> str:
    demand = member.demand
    failed = f"{demand.failures} failed maps" if demand.failures else "none failed"
    kind = "dynamic" if demand.today.dynamic else "static"
    return (
        f"{demand.called}: kernel {demand.release}, booted with {member.today.configuration.command_line} ({kind}), "
        f"{demand.maps} maps, {failed}; sized as revision {demand.revision.name}"
    )


def _failing(member: Sized) -> Iterator[str]:
    """Whose needs fail where it was simulated, and why."""
    rows = member.rows if member.today in member.rows else (member.today, *member.rows)
    failing = [(row, row.outcome) for row in rows if row.outcome and row.outcome.failures]
    if failing:
        yield "what fails, when simulated:"
    for row, outcome in failing:
        whose = ", ".join(f"{member.names[dev]} {count}" for dev, count in outcome.failures_of.most_common())
        causes = ", ".join(f"{cause.value} {count}" for cause, count in outcome.causes.most_common())
        least = f", at least {row.failures_at_least}" if row.failures_at_least != row.failures else ""
        yield f"  {row.configuration.command_line}: {whose}{least} ({causes}); the first {outcome.first_failure}"


def _sized_json(member: Sized) -> dict[str, object]:
    demand, floor, ceiling = member.demand, member.floor, member.ceiling
    recommended, names = member.recommended, member.names
    known = ceiling.slot_sets < NEVER
    return {
        "file": demand.called,
        "kernel_release": demand.release,
        "revision": demand.revision.name,
        "maps": demand.maps,
        "map_failures": demand.failures,
        "failed_needs": demand.failed_needs,
        "damage": demand.damage,
        "recommended_nslabs": recommended.configuration.nslabs if recommended else None,
        "certain": member.certain,
        "fails_below_nslabs": floor.slots,
        "hopeless": floor.hopeless is not None,
        "never_fails_from_nslabs": ceiling.slot_sets << SLOT_SET_SHIFT if known and not floor.hopeless else None,
        "today": member.today.as_json(names),
        "configurations": [row.as_json(names) for row in member.rows],
        "devices": [device.as_json() for device in member.devices],
        "assumptions": [assumption.as_json() for assumption in member.assumptions],
    }


# ---- the table --------------------------------------------------------------------


def _merged_json(merged: Merged) -> dict[str, object]:
    return {
        "nslabs": merged.nslabs,
        "areas": merged.nareas,
        "dynamic": merged.dynamic,
        "standing": merged.standing.value,
        "how": merged.how.value,
        "failures": merged.failures,
        "peak_slots": merged.peak_slots,
        "high_water_slots": merged.high_water_slots,
        "pools_added": merged.pools_added,
        "transient_pools": merged.transient_pools,
        "memory_bytes": merged.memory_bytes,
        "roomy_percent": round(merged.roomy_percent, 3),
    }


def _table(fleet: Fleet, today: Row | None) -> Iterator[str]:
    """A line a size, and one of today's where that is none of them."""
    sizes = list(fleet.sizes)
    if today and all(today not in merged.rows for merged in sizes):
        sizes = sorted([*sizes, Merged((today,))], key=lambda merged: merged.nslabs)
    lines = [_HEAD, *map(_cells, sizes)]
    marks = [" ", *(_mark(merged, fleet.recommended, today) for merged in sizes)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for mark, (*cells, how) in zip(marks, lines, strict=True):
        aligned = " ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=False))
        yield f"{mark} {aligned}  {how}"
    yield "> recommended" + ("; = today's" if "=" in marks else "")
    yield from _COLUMNS.splitlines()


def _mark(merged: Merged, recommended: Merged | None, today: Row | None) -> str:
    if recommended and merged == recommended:
        return ">"
    return "=" if today in merged.rows else " "


def _cells(merged: Merged) -> tuple[str, ...]:
    return (
        f"{merged.nslabs},{merged.nareas}",
        memory(merged.nslabs << IO_TLB_SHIFT),
        number(merged.failures, ">=1" if merged.standing is Standing.FAILS else "?"),
        number(merged.peak_slots),
        number(merged.high_water_slots),
        number(merged.pools_added),
        number(merged.transient_pools),
        duration(merged.longest_wait_ns) or "-",
        memory(merged.memory_bytes),
        _HOW[merged.standing, merged.how],
    )


def _bar(merged: Merged, recommended: Merged | None) -> Bar:
    marked = recommended is not None and merged.nslabs == recommended.nslabs
    return Bar(merged.nslabs, merged.failures, merged.peak_slots, marked)


# ---- the answer -------------------------------------------------------------------


def _answer(fleet: Fleet) -> Iterator[str]:
    recommended, worst = fleet.recommended, fleet.worst
    if recommended is None:
        yield f"no size from 1 MiB to 4 GiB serves it: {_why_none(worst)}"
        return
    least = "at least " if fleet.at_least else ""
    size_told = memory(recommended.nslabs << IO_TLB_SHIFT)
    yield f"boot with {least}{recommended.command_line} ({size_told}; {_compared(fleet)})"
    yield f"how sure: {_how_sure(fleet, recommended)}"
    yield f"could it be smaller? {_smaller(worst)}"
    if len(fleet.members) > 1:
        most = fleet.of_99_percent
        yield f"of {len(fleet.members)} recordings {worst.demand.called} needs most; 99 of 100 need no more than " + (
            f"{most.command_line}" if most else "more than 4 GiB"
        )


def _why_none(worst: Sized) -> str:
    hopeless = worst.floor.hopeless
    if hopeless is None:
        return f"{worst.ceiling.peak_slots} slots are in use at once"
    return (
        f"{worst.demand.name_of(hopeless.dev)} asks for {hopeless.starts.nslots} slots in one piece, which no pool "
        "has at such a place; make its requests smaller (max_sectors_kb of a disk)"
    )


def _compared(fleet: Fleet) -> str:
    """With what there is today."""
    recommended = fleet.recommended
    assert recommended is not None  # noqa: S101 (who calls this has one)
    differences = {(recommended.nslabs - member.today.configuration.nslabs) << IO_TLB_SHIFT for member in fleet.members}
    if len(differences) > 1:
        return "today's differ"
    (more,) = differences
    if not more:
        return "as today"
    return f"{memory(more)} more than today" if more > 0 else f"saves {memory(-more)}"


def _how_sure(fleet: Fleet, recommended: Merged) -> str:
    worst = fleet.worst
    never = worst.ceiling.slot_sets << SLOT_SET_SHIFT
    if recommended.how is How.BOUND:
        said = "nothing that was recorded can fail in it, wherever the pool lies and a search begins"
    elif worst.ceiling.slot_sets < NEVER:
        said = f"nothing failed when it was simulated; it cannot fail only from {never} slots on"
    else:
        said = "nothing failed when it was simulated; no size is known from which on it cannot fail"
    if not fleet.at_least:
        return said
    doubts = dict.fromkeys(one.sentence for member in fleet.members for one in member.assumptions if one.may_need_more)
    return f"{said}. It is a least: {'; '.join(doubts)}"


def _smaller(worst: Sized) -> str:
    row = worst.smaller
    if row is None:
        return "smaller than 1 MiB was not tried"
    nslabs, peak_slots = row.configuration.nslabs, row.peak_slots
    if row.standing is Standing.FAILS and row.how is How.BOUND:
        return f"no: {worst.floor.slots} slots are needed at once, and the next smaller has {nslabs}"
    if row.failures:
        fails = "may fail" if row.standing is Standing.MAY_FAIL else f"fails {row.failures} times"
        return f"no: with {nslabs} slots it {fails} when simulated"
    if row.standing is Standing.UNKNOWN:
        return f"not known: simulating {nslabs} slots took too long"
    if row.pools_added or row.transient_pools:
        return f"only where memory for growth is always there: {nslabs} slots grow (pools: {row.pools_added})"
    return f"only with less headroom: of {nslabs} slots {peak_slots} are in use at once"
