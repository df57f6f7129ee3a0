"""Finding an order of overlapping operations that the reference accepts.

Probe times are not the points at which operations took effect, so orders have to be tried
(:mod:`swiotlb_top.verify.search`).  A search for slots is not one step: it asks one area after another,
each under its own lock.  First each search is tried as one step.  Where no order does, every area it asked
in vain may have been full at another moment than that at which it found its slots, and only the order of
those moments is fixed.

More orders than one may do, and they may begin from more than one place: what they leave in doubt
is :mod:`swiotlb_top.verify.uncertain`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Final, TypeAlias

from swiotlb_top.allocator import Allocator, Mapping, Pool
from swiotlb_top.allocator.geometry import SLOT_SET_SHIFT
from swiotlb_top.verify.asking import step_by_step
from swiotlb_top.verify.endings import Endings
from swiotlb_top.verify.operations.base import Operation, Undo
from swiotlb_top.verify.operations.pool_add import AddPool
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import Take
from swiotlb_top.verify.search import Search
from swiotlb_top.verify.uncertain import Uncertain, begin_from, starts

DEFAULT_BUDGET: Final = 20_000
_FOR_ENDINGS: Final = 10
"""A part of the budget is for what other orders leave,"""
_BUDGET_OF_AN_ENDING: Final = 50
"""and so much more an operation."""
_AVERAGE_GROUP: Final = 400
"""Operations; a group with more has a budget in proportion."""
_MOST_WAITING: Final = 512
"""Releases in a slot set that are looked at for a search to have room there: those that end first. It has 128 slots."""

_Waiting: TypeAlias = dict[tuple[Pool, int], dict[Release, None]]
"""Releases that are not done yet, by pool and slot set, as they ended."""


@dataclass(slots=True)
class Outcome:
    """What became of a group of operations. ``order`` is empty where none was found; ``exhausted``
    then says whether the search gave up before it had proved that there is none."""

    order: list[Operation] = field(default_factory=list)
    exhausted: bool = False
    steps: int = 0
    dead_ends: int = 0
    """Orders that could not be gone on with."""
    sure: bool = True
    """Whether the order begins from where areas are sure to have been searched next."""
    furthest: list[Operation] = field(default_factory=list)
    """The longest of these."""
    uncertain: Uncertain = field(default_factory=dict)
    """Where other orders leave something else; empty for an area that is certain now."""


def arrange(
    world: Allocator,
    group: list[Operation],
    budget: int = DEFAULT_BUDGET,
    excused: Collection[Operation] = (),
    uncertain: Uncertain | None = None,
) -> Outcome:
    """Find an order the reference accepts and carry it out on ``world``.

    Where none is found, or operations are excused, ``world`` is left as it was.

    :param group: operations that overlap, sorted by exit.
    :param budget: moves to try at most until one is found, and a part of that for what other orders leave; a
        long group has more.
    :param excused: operations that need not be as the reference's: what they did is imposed.
    :param uncertain: from where areas may be searched next besides where ``world`` has it.
    """
    budget = max(budget, budget // _AVERAGE_GROUP * len(group))
    possible, all_of_them = starts(uncertain or {}, group, world)
    in_one_step = len(group) == 1 or not step_by_step(group, world)
    outcome = Outcome()
    begun, take_back = possible[0], None if excused else _as_they_ended(world, group)
    if take_back is not None:
        outcome.order = list(group)
    for start, whole in product(possible, (True,) if in_one_step else (True, False)):
        if outcome.order:
            break
        begin_from(start)
        search = Search(world, group, budget - outcome.steps, whole=whole, excused=excused)
        if search.run():
            outcome.order = search.order
            begun, take_back = start, search.rewind
        outcome.steps += search.steps
        outcome.dead_ends += search.dead_ends
        outcome.exhausted |= search.gave_up
        outcome.furthest = max(outcome.furthest, search.furthest, key=len)
    if take_back is None:
        begin_from(possible[0])
        outcome.exhausted |= not all_of_them
        return outcome
    outcome.exhausted = False
    outcome.sure = begun.sure
    if excused:
        take_back()
        begin_from(possible[0])
        return outcome
    endings = Endings(group, possible, uncertain or {})
    endings.see(sure=True)
    if endings.open:
        take_back()
        budget = budget // _FOR_ENDINGS + _BUDGET_OF_AN_ENDING * len(group)
        outcome.steps += endings.look_for(world, budget, whole=in_one_step, sure=not outcome.sure)
        begin_from(begun)
        for operation in outcome.order:
            operation.impose(world)
    outcome.uncertain = endings.others()
    return outcome


def _as_they_ended(world: Allocator, group: list[Operation]) -> Callable[[], None] | None:
    """Do all in the order in which they ended, as it nearly always was, and say how to take it back; None,
    and nothing changed, where that is not the reference's."""
    undo: list[Undo] = []

    def take_back() -> None:
        while undo:
            undo.pop()()

    for operation in group:
        done = operation.attempt(world)
        if done is None:
            take_back()
            return None
        undo.append(done)
    return take_back


def in_likely_order(
    group: list[Operation], sure: Callable[[Pool, Mapping], bool] = lambda pool, mapping: True
) -> Iterator[Operation]:
    """An order for what is not proved to have one: as they ended, but new pools first, and what a release
    freed is free before it is taken.

    To be carried out while it is read: which mapping is in the way is looked up when its turn comes.

    :param sure: whether a mapping was in use before the group if it is in use now, and neither found by one of
        the group nor released.
    """
    yield from (operation for operation in group if isinstance(operation, AddPool))
    waiting: _Waiting = {}
    for operation in group:
        if isinstance(operation, Release):
            waiting.setdefault(operation.slot_set, {})[operation] = None
    for operation in group:
        if isinstance(operation, Take):
            for release in _making_room(operation, waiting, sure):
                del waiting[release.slot_set][release]
                yield release
            yield operation
        elif isinstance(operation, Release) and operation in waiting[operation.slot_set]:
            del waiting[operation.slot_set][operation]
            yield operation


def _making_room(take: Take, waiting: _Waiting, sure: Callable[[Pool, Mapping], bool]) -> Collection[Release]:
    """For each mapping that is in the way of a search's slots now, a release of it that was under way: the rest
    is of mappings to come.

    What was not seen to begin, and ended later than the search, may be of what that found; it is taken where
    the mapping must have gone and nothing else released it.
    """
    room: dict[Mapping, Release] = {}
    pool = take.pool
    if pool is None or take.slot < 0:
        return ()
    sets = {take.slot >> SLOT_SET_SHIFT, (take.slot + take.nslots - 1) >> SLOT_SET_SHIFT}
    near = [release for at in sorted(sets) for release in islice(waiting.get((pool, at), ()), _MOST_WAITING)]
    for release in sorted(near, key=lambda release: _may_be_later(release, take)):
        mapping = release.found() if release.entry_ns <= take.exit_ns else None
        if mapping is None or take.slot >= mapping.slot + mapping.nslots or mapping.slot >= take.slot + take.nslots:
            continue
        if not _may_be_later(release, take) or sure(release.pool, mapping):
            room.setdefault(mapping, release)
    return room.values()


def _may_be_later(release: Release, take: Take) -> bool:
    return release.unseen and release.exit_ns > take.exit_ns
