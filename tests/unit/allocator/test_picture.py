"""A slot set as text."""

from __future__ import annotations

import pytest

from swiotlb_top.allocator import REVISIONS, Limits, Pool, Request, picture

START = 1 << 28


def test_a_picture_shows_mappings_padding_and_where_the_search_goes_on() -> None:
    pool = Pool(1, START, 256, 2)
    pool.take(1, Request(0, 3 << 11, 0, Limits()), 7)
    padded = REVISIONS["6.10"].request(2048, 0x12_5800, 0x3FFF, Limits(min_align_mask=0xFFFF))
    pool.take(8, padded, 7)
    assert picture(pool, 70).splitlines() == [
        "     0 .[--....[~~-----" + "." * 48,
        "       " + " " * 16 + ">",
        "    64 " + "." * 64,
        "       " + " " * 6 + "^",
    ]


def test_a_short_slot_set_ends_with_the_pool_and_unknown_slots_are_marked() -> None:
    pool = Pool(1, START, 132, 1)
    pool.restore([0, 0b1011], [129], [0], [])
    assert picture(pool, 131) == "   128 ..#.\n          ^"


def test_mappings_of_other_slot_sets_and_empty_lines_of_marks_are_left_out() -> None:
    pool = Pool(1, START, 256, 1)
    pool.take(0, Request(0, 3 << 11, 0, Limits()), 7)
    assert picture(pool, 130).splitlines() == ["   128 " + "." * 64, "         ^", "   192 " + "." * 64]


@pytest.mark.parametrize("slot", [-1, 256])
def test_there_is_no_picture_of_a_slot_that_is_not_there(slot: int) -> None:
    with pytest.raises(ValueError, match="no slot"):
        picture(Pool(1, START, 256, 2), slot)
