"""The bucket of tokens: a burst at once, then one an interval, never more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swiotlb_exporter.web.rate_limit import Bucket, RateLimit


class Clock:
    """One that is set."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_burst_is_let_through_and_then_one_an_interval() -> None:
    clock = Clock()
    bucket = Bucket(RateLimit(2.0, 3), clock)
    assert [bucket.take() for _ in range(5)] == [True, True, True, False, False]
    clock.now_s += 1.0
    assert not bucket.take()
    clock.now_s += 1.0
    assert [bucket.take() for _ in range(2)] == [True, False]


@given(
    quarters=st.integers(1, 20),
    burst=st.integers(1, 20),
    steps=st.lists(st.integers(0, 100), min_size=1, max_size=60),
)
def test_in_no_span_more_are_let_through_than_a_burst_and_one_an_interval(
    quarters: int, burst: int, steps: list[int]
) -> None:
    clock = Clock()
    interval_s = quarters / 4
    bucket = Bucket(RateLimit(interval_s, burst), clock)
    taken: list[float] = []
    for step in steps:
        clock.now_s += step / 4
        if bucket.take():
            taken.append(clock.now_s)
    for first, begin_s in enumerate(taken):
        for last in range(first, len(taken)):
            allowed = burst + (taken[last] - begin_s) / interval_s
            assert last - first + 1 <= allowed + 1e-6
