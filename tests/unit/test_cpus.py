"""CPU numbers: a set with holes stays what it is, and no text can make it larger than a kernel's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.cpus import LIMIT, Cpus


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("0,2,4,6", (0, 2, 4, 6)), ("0-1,8-9", (0, 1, 8, 9))],
)
def test_numbers_are_those_the_kernel_lists(text: str, numbers: tuple[int, ...]) -> None:
    cpus = Cpus.parse(text)
    assert (cpus.numbers(), len(cpus), cpus.end, str(cpus)) == (numbers, len(numbers), numbers[-1] + 1, text)


def test_the_largest_kernel_is_within_bounds() -> None:
    assert len(Cpus.first(LIMIT).numbers()) == LIMIT
    assert Cpus.first(LIMIT) == Cpus.parse(f"0-{LIMIT - 1}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-1",
        "1-",
        "0,",
        "3-1",
        "1,1",
        "4,2",
        "0-3,2-5",
        f"0-{LIMIT}",
        "0-999999999999",
        "0-3\n",
        "٣",
        "0," * 9999,
    ],
)
def test_what_no_kernel_lists_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no ascending list of CPU numbers"):
        Cpus.parse(text)


@pytest.mark.parametrize("count", [0, -1, LIMIT + 1, 10**12])
def test_a_count_that_no_kernel_has_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="no ascending list"):
        Cpus.first(count)


@given(st.sets(st.integers(0, LIMIT - 1), min_size=1, max_size=40).map(sorted))
def test_any_set_is_written_and_read_again(numbers: list[int]) -> None:
    text = ",".join(map(str, numbers))
    assert list(Cpus.parse(text).numbers()) == numbers
    assert Cpus.parse(str(Cpus.parse(text))) == Cpus.parse(text)


@given(st.text(alphabet="0123456789-,", max_size=30))
def test_any_text_is_a_bounded_set_or_refused(text: str) -> None:
    try:
        cpus = Cpus.parse(text)
    except ValueError:
        return
    assert 0 < len(cpus) <= cpus.end <= LIMIT
