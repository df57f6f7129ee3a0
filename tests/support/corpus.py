"""Doctored histories, good and bad twins: ``python -m tests.support.corpus`` writes them into tests/traces/doctored/.

Each is a real recording of four CPUs with one thing made otherwise, and has a twin in which that is wrong, or is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from swiotlb_top.events import Gap
from swiotlb_top.records import Kind
from swiotlb_top.state import PoolState
from swiotlb_top.verify import Doubt, Verdict
from tests.support.doctoring import (
    FOUR_CPUS,
    Entry,
    Record,
    change,
    change_state,
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
    with_no_call_under_way,
)

DIRECTORY: Final = FOUR_CPUS.parent / "doctored"
LOST: Final = 4


@dataclass(frozen=True)
class History:
    """What was made of the recording, and what must be said of it."""

    verdict: Verdict
    doctored: Callable[[list[Entry]], list[Entry]]
    wrong: int = 0
    """How many events are wrong, after what came before them."""
    first: Callable[[list[Entry]], int] | None = None
    """Where the first of these stands in the recording."""
    doubts: Mapping[Doubt, int] = field(default_factory=dict)
    """Why how many operations are inconclusive."""

    def entries(self) -> list[Entry]:
        return self.doctored(recorded())


def recorded() -> list[Entry]:
    """What all of them are made of."""
    return with_no_call_under_way(load(FOUR_CPUS))


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


def _after_what_was_lost(entries: list[Entry]) -> int:
    """The next search of the same area, which goes on behind slots that nobody is known to have found."""
    at = a_search(entries)
    return find(entries[: at + LOST + 40], Kind.FIND, succeeded, nth=_nth_search(entries, at + LOST))


def _nth_search(entries: list[Entry], at: int) -> int:
    return sum(1 for place in places(entries, Kind.FIND, succeeded) if place < at)


def the_one_that_is_one_slot_further(entries: list[Entry]) -> int:
    return find(entries, Kind.FIND, succeeded, nth=150)


def the_release_of_a_search(entries: list[Entry]) -> int:
    return its_release(entries, a_search(entries))


def the_first_of_two_in_a_row(entries: list[Entry]) -> int:
    return in_a_row(entries)[0]


HISTORIES: Final[dict[str, History]] = {
    "as-it-was": History(Verdict.AGREE, as_it_was),
    # The search; the release of the slot that it had; the search after it, which finds the slot behind it; and the
    # slot's next search, with 31 slots that were never released.
    "one-slot-further": History(Verdict.DISAGREE, one_slot_further, 4, the_one_that_is_one_slot_further),
    "searches-swapped-while-they-overlap": History(Verdict.AGREE, searches_swapped_while_they_overlap),
    # Both, and the next, which goes on from the end of the one that was last.
    "searches-swapped": History(Verdict.DISAGREE, searches_swapped, 3, the_first_of_two_in_a_row),
    "begun-on-another-cpu-unseen": History(Verdict.AGREE, begun_on_another_cpu_unseen),
    "begun-on-another-cpu": History(Verdict.DISAGREE, begun_on_another_cpu, 1, a_search),
    # The search and the one after it may be explained by when it began. Not so the release of what nobody found, and
    # three more searches that find some of the six slots which were never released.
    "begun-where-no-cpu-explains-it": History(
        Verdict.DISAGREE, begun_where_no_cpu_explains_it, 4, the_release_of_a_search, {Doubt.UNSEEN_ENTRY: 2}
    ),
    "copied-while-in-use": History(Verdict.INCONCLUSIVE, copied_while_in_use, doubts={Doubt.DURING_STATE: 47}),
    "copied-while-in-use-and-then-wrong": History(
        Verdict.DISAGREE,
        copied_while_in_use_and_then_wrong,
        4,
        the_one_that_is_one_slot_further,
        {Doubt.DURING_STATE: 47},
    ),
    "lost-and-told": History(Verdict.INCONCLUSIVE, lost_and_told, doubts={Doubt.AFTER_GAP: 298}),
    # The next search, and the release of each of the mappings.
    "lost": History(Verdict.DISAGREE, lost, 1 + LOST, _after_what_was_lost),
    "released-late": History(Verdict.AGREE, released_late),
    "released-with-a-byte-more": History(Verdict.DISAGREE, released_with_a_byte_more, 1, the_release_of_a_search),
}


def main() -> None:
    """Write them all anew."""
    DIRECTORY.mkdir(exist_ok=True)
    for name, history in HISTORIES.items():
        save(history.entries(), path_of(name))


if __name__ == "__main__":
    main()
