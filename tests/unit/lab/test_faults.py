"""What shows a bug is not what ftrace missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.lab.support.faults import Seen, two_have_one_slot
from tests.lab.support.ftrace import Map, Unmap

HERE = 0x10000


def mapped(at_ns: int) -> Map:
    return Map(0, "0000:00:05.0", 0x4000, 4096, HERE, at_ns)


def overlap(calls: list[Map | Unmap], released: Mapping[int, Sequence[int]]) -> bool:
    return two_have_one_slot(Seen(calls, 0, released))


def test_two_that_are_mapped_at_once_and_both_released_are_in_one_slot() -> None:
    twice: list[Map | Unmap] = [mapped(1000), mapped(5000), Unmap(HERE), Unmap(HERE)]
    assert overlap(twice, {HERE: [7000, 9000]})
    assert not overlap(twice[:3], {HERE: [7000]})


def test_one_whose_release_ftrace_missed_is_not_mapped_any_more() -> None:
    """A map is missed too; its release seems to be another's."""
    assert not overlap([mapped(1000), mapped(5000), Unmap(HERE), Unmap(HERE)], {HERE: [3000, 7000, 9000]})


def test_a_release_that_lasts_longer_than_the_next_map_is_one() -> None:
    assert not overlap([mapped(1000), mapped(5000), Unmap(HERE), Unmap(HERE)], {HERE: [5500, 7000, 9000]})


def test_a_release_before_it_was_mapped_was_anothers() -> None:
    assert overlap([mapped(1000), mapped(5000), Unmap(HERE), Unmap(HERE)], {HERE: [500, 7000, 9000]})
