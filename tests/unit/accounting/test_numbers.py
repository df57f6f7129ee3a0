"""Numbers as they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting import numbers


@pytest.mark.parametrize(
    ("per_second", "shown"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.04, "0"),
        (0.4, "0.4"),
        (9.96, "10.0"),
        (230.4, "230"),
        (9_999.0, "9999"),
        (9_999.9, "10.0k"),
        (14_000.0, "14.0k"),
        (999_499.0, "999k"),
        (999_600.0, "1.00M"),
        (1.25e6, "1.25M"),
    ],
)
def test_rates(per_second: float | None, shown: str) -> None:
    assert numbers.rate(per_second) == shown


@given(st.floats(min_value=0, max_value=1e20))
def test_a_rate_never_takes_more_than_seven_characters(per_second: float) -> None:
    assert len(numbers.rate(per_second)) <= 7


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (412, 512, "80.4"),
        (511_999, 512_000, "99.9"),
        (512, 512, "100.0"),
        (600, 512, "100.0"),
        (0, 0, "-"),
        (-1, 9, "-"),
    ],
)
def test_percentages_say_100_only_where_nothing_is_left(part: int, whole: int, shown: str) -> None:
    assert numbers.percent(part, whole) == shown


@pytest.mark.parametrize(
    ("slots", "shown"), [(0, "0 B"), (1, "2 KiB"), (512, "1 MiB"), (768, "1.5 MiB"), (524_288, "1 GiB")]
)
def test_a_slot_is_two_kib(slots: int, shown: str) -> None:
    assert numbers.size_of_slots(slots) == shown
