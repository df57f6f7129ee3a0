"""Doctored histories, good and bad twins: ``python -m tests.corpus`` writes them into tests/traces/doctored/.

Each is a real recording of four CPUs with one thing made otherwise, and has a twin in which that is wrong, or is not.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from swiotlb_top.events import Gap, Kind
from swiotlb_top.state import PoolState
from swiotlb_top.verify import Verdict
from tests.doctoring import (
    FOUR_CPUS,
    Entry,
    Record,
    change,
    change_state,
    cut,
    drop,
    find,
    insert,
    load,
    overlap,
    places,
    pool_starts,
    record_at,
    release_of,
    save,
    states,
    succeeded,
    swap,
    unseen_entry,
)

DIRECTORY: Final = FOUR_CPUS.parent / "doctored"
LOST: Final = 4
UNSEEN: Final = "while a call may have been under way that was not seen to begin"
DURING_STATE: Final = "while the state was read"
AFTER_GAP: Final = "after lost events"


@dataclass(frozen=True)
class History:
    """What was made of the recording, and what must be said of it."""

    verdict: Verdict
    doctored: Callable[[list[Entry]], list[Entry]]
    doubts: Set[str] = frozenset()
    """Why some of it is inconclusive."""

    def entries(self) -> list[Entry]:
        return self.doctored(recorded())


def recorded() -> list[Entry]:
    """The recording, and that no call was under way when it ended: it is older than what tells that."""
    return cut(load(FOUR_CPUS), -1)


def path_of(name: str) -> Path:
    return DIRECTORY / f"{name}.swtrace"


# ---- places in the recording ------------------------------------------------


def in_a_row(entries: list[Entry]) -> tuple[int, int]:
    """Two searches of the first pool's first area, the later entered when the earlier was over, nothing between."""
    searches = [at for at in range(len(entries)) if _is_search(entries[at])]
    for one, other in pairwise(searches):
        a, b = record_at(entries, one), record_at(entries, other)
        if other == one + 1 and a.pool == b.pool and a.cpu == b.cpu and a.exit_ns < b.entry_ns and a.size == b.size:
            return one, other
    raise LookupError("no two searches in a row")


def _is_search(entry: Entry) -> bool:
    return isinstance(entry, Record) and entry.kind == Kind.FIND and not entry.failed


def a_search(entries: list[Entry]) -> int:
    """One that found its slots in the first area it asked, of a pool on the list."""
    listed = {record_at(entries, at).pool for at in places(entries, Kind.GROW)}

    def found_at_once(record: Record) -> bool:
        return succeeded(record) and record.pool in listed and record.result // 128 == record.cpu

    return find(entries, Kind.FIND, found_at_once, nth=20)


def its_release(entries: list[Entry], at: int) -> int:
    return release_of(entries, at, pool_starts(entries)[record_at(entries, at).pool])


# ---- what is made of it -----------------------------------------------------


def as_it_was(entries: list[Entry]) -> list[Entry]:
    return entries


def searches_swapped(entries: list[Entry]) -> list[Entry]:
    return swap(entries, *in_a_row(entries))


def searches_swapped_while_they_overlap(entries: list[Entry]) -> list[Entry]:
    return overlap(searches_swapped(entries), *in_a_row(entries))


def begun_on_another_cpu(entries: list[Entry]) -> list[Entry]:
    at = a_search(entries)
    return change(entries, at, cpu=record_at(entries, at).cpu ^ 1)


def begun_on_another_cpu_unseen(entries: list[Entry]) -> list[Entry]:
    at = a_search(entries)
    return unseen_entry(entries, at, cpu=record_at(entries, at).cpu ^ 1)


def begun_where_no_cpu_explains_it(entries: list[Entry]) -> list[Entry]:
    at = a_search(entries)
    return unseen_entry(entries, at, result=record_at(entries, at).result + 1)


def copied_while_in_use(entries: list[Entry]) -> list[Entry]:
    """The copy of the first state went on while twenty searches and releases were under way."""
    until_ns = record_at(entries, find(entries, Kind.UNMAP, nth=20)).exit_ns

    def longer(pool: PoolState) -> PoolState:
        return replace(pool, end_ns=until_ns)

    return change_state(entries, states(entries)[0], longer)


def copied_while_in_use_and_then_wrong(entries: list[Entry]) -> list[Entry]:
    return one_slot_further(copied_while_in_use(entries))


def one_slot_further(entries: list[Entry]) -> list[Entry]:
    at = find(entries, Kind.FIND, succeeded, nth=150)
    return change(entries, at, result=record_at(entries, at).result + 1)


def lost(entries: list[Entry]) -> list[Entry]:
    at = a_search(entries)
    return drop(entries, *range(at, at + LOST))


def lost_and_told(entries: list[Entry]) -> list[Entry]:
    at = a_search(entries)
    first, last = record_at(entries, at), record_at(entries, at + LOST - 1)
    return insert(lost(entries), at, Gap(first.exit_ns, last.exit_ns, LOST, "ring buffer full"))


def released_with_a_byte_more(entries: list[Entry]) -> list[Entry]:
    at = its_release(entries, a_search(entries))
    return change(entries, at, size=record_at(entries, at).size + 1)


def released_late(entries: list[Entry]) -> list[Entry]:
    """A release that was entered when it was, and is over a little later: it may still have happened in time."""
    at = its_release(entries, a_search(entries))
    gone = record_at(entries, at)
    return change(entries, at, exit_ns=gone.exit_ns + 900, duration_ns=gone.duration_ns + 900)


HISTORIES: Final[dict[str, History]] = {
    "as-it-was": History(Verdict.AGREE, as_it_was),
    "one-slot-further": History(Verdict.DISAGREE, one_slot_further),
    "searches-swapped-while-they-overlap": History(Verdict.AGREE, searches_swapped_while_they_overlap),
    "searches-swapped": History(Verdict.DISAGREE, searches_swapped),
    "begun-on-another-cpu-unseen": History(Verdict.AGREE, begun_on_another_cpu_unseen),
    "begun-on-another-cpu": History(Verdict.DISAGREE, begun_on_another_cpu),
    "begun-where-no-cpu-explains-it": History(Verdict.DISAGREE, begun_where_no_cpu_explains_it, {UNSEEN}),
    "copied-while-in-use": History(Verdict.INCONCLUSIVE, copied_while_in_use, {DURING_STATE}),
    "copied-while-in-use-and-then-wrong": History(Verdict.DISAGREE, copied_while_in_use_and_then_wrong, {DURING_STATE}),
    "lost-and-told": History(Verdict.INCONCLUSIVE, lost_and_told, {AFTER_GAP}),
    "lost": History(Verdict.DISAGREE, lost),
    "released-late": History(Verdict.AGREE, released_late),
    "released-with-a-byte-more": History(Verdict.DISAGREE, released_with_a_byte_more),
}


def main() -> None:
    """Write them all anew."""
    DIRECTORY.mkdir(exist_ok=True)
    for name, history in HISTORIES.items():
        save(history.entries(), path_of(name))


if __name__ == "__main__":
    main()
