"""Values of the web configuration: times as Go writes them, and what is said of what is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_exporter.web.values import RefusedError, duration_s, truth, whole_number

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@given(st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(sorted(UNITS_S))), min_size=1, max_size=4))
def test_a_time_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    written = "".join(f"{number}{unit}" for number, unit in parts)
    assert duration_s(written) == pytest.approx(sum(number * UNITS_S[unit] for number, unit in parts))


@pytest.mark.parametrize(
    ("written", "seconds"), [(0, 0.0), ("0", 0.0), ("1.5s", 1.5), (".5s", 0.5), ("250us", 0.00025), ("2µs", 2e-6)]
)
def test_times(written: object, seconds: float) -> None:
    assert duration_s(written) == pytest.approx(seconds)


@pytest.mark.parametrize("said", ["", "1", 1, 1.5, False, True, "s", "1 s", "-1s", "1s ", "1d", "٣s", "1s" * 100, None])
def test_what_is_no_time_is_refused(said: object) -> None:
    with pytest.raises(RefusedError, match="is no time: give one as 1s"):
        duration_s(said)


@pytest.mark.parametrize("one", [truth, whole_number, duration_s])
def test_of_a_value_that_has_itself_over_and_over_not_all_is_said(one: Callable[[object], object]) -> None:
    laughs: object = "ha"
    for _ in range(30):
        laughs = [laughs] * 10
    with pytest.raises(RefusedError) as refusal:
        one(laughs)
    assert len(str(refusal.value)) < 100
