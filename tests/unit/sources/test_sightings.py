"""How old a mapping is at most, of slots that are read now and then."""

from __future__ import annotations

from dataclasses import replace

from swiotlb_top.sources.sightings import Sightings
from tests.support.slots import mapping, slots_with

OLD, NEW = mapping(0, 2), mapping(8, 4)


def test_what_the_first_look_has_was_there_before() -> None:
    (seen,) = Sightings().seen([(0x1000, slots_with(32, 1, [OLD]))], 50)
    assert seen.made_ns == {0: 0}


def test_what_a_later_look_has_was_made_after_the_look_before() -> None:
    sightings = Sightings()
    sightings.seen([(0x1000, slots_with(32, 1, [OLD]))], 50)
    for now_ns in (60, 70):
        (seen,) = sightings.seen([(0x1000, slots_with(32, 1, [OLD, NEW]))], now_ns)
        assert seen.made_ns == {0: 0, 8: 50}


def test_what_was_gone_or_has_another_buffer_or_pool_is_new() -> None:
    sightings = Sightings()
    sightings.seen([(0x1000, slots_with(32, 1, [OLD, NEW]))], 50)
    other = NEW._replace(orig_addr=0x7000)
    (seen, elsewhere) = sightings.seen([(0x1000, slots_with(32, 1, [other])), (0x9000, slots_with(32, 1, [NEW]))], 60)
    assert (seen.made_ns, elsewhere.made_ns) == ({8: 50}, {8: 50})
    (again,) = sightings.seen([(0x1000, slots_with(32, 1, [OLD]))], 70)
    assert again.made_ns == {0: 60}


def test_mappings_that_are_not_known_have_no_age() -> None:
    (seen,) = Sightings().seen([(0x1000, replace(slots_with(32, 1, [OLD]), mappings=None))], 50)
    assert seen.made_ns == {}
