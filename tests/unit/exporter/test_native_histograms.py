"""A real Prometheus with native histograms turned on, and one without, scrape the same exporter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import pytest

from tests.support.prometheus import MISSING, WHY_MISSING, Prometheus, answers, eventually, running, values
from tests.unit.exporter.test_prometheus import replaying

pytestmark = pytest.mark.skipif(MISSING, reason=WHY_MISSING)

HISTOGRAMS = {"swiotlb_request_slots", "swiotlb_map_duration_seconds"}
COARSE = 4
"""A classic bucket of latencies ends at so many times where it begins."""


class Servers(NamedTuple):
    """The same exporter's series, as two servers took them."""

    native: Prometheus
    classic: Prometheus


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Both have scraped a stall for long enough for a rate."""
    with ExitStack() as stack:
        address = stack.enter_context(replaying("stall"))
        eventually(partial(answers, f"http://{address}/healthz"))
        both = [
            stack.enter_context(running(tmp_path_factory.mktemp("server"), {"stall": address}, features=features))
            for features in (["native-histograms"], [])
        ]
        for server in both:
            eventually(partial(server.query, "count_over_time(swiotlb_up[1m]) > 10"))
        yield Servers(*both)


def quantile(server: Prometheus, share: float, series: str) -> float:
    (found,) = values(server.query(f"histogram_quantile({share}, rate({series}[1m]))"))
    return found


def names(server: Prometheus) -> set[str]:
    return {one["metric"]["__name__"] for one in server.query('count by (__name__) ({__name__=~"swiotlb.*"})')}


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_quantiles_of_native_latencies_lie_in_the_classic_ones_buckets(servers: Servers, share: float) -> None:
    def alike() -> bool:
        native = quantile(servers.native, share, "swiotlb_map_duration_seconds")
        classic = quantile(servers.classic, share, "swiotlb_map_duration_seconds_bucket")
        return 1 / COARSE < native / classic < COARSE

    # Each server's minute is another one: where a quantile is near a bound it may be in the next bucket for a while.
    eventually(alike)


def test_every_map_that_is_counted_is_in_the_native_histogram_of_sizes(servers: Servers) -> None:
    missed = "histogram_count(swiotlb_request_slots) - swiotlb_maps_total - swiotlb_map_failures_total"
    assert values(servers.native.query(f"max_over_time(abs({missed})[1m:1s])")) == [0.0]


def test_the_largest_size_is_what_the_stalled_disk_needs(servers: Servers) -> None:
    assert quantile(servers.native, 1, "swiotlb_request_slots") == 128


def test_means_are_those_of_the_classic_histograms(servers: Servers) -> None:
    def alike(name: str) -> bool:
        rate = f"rate({name}[1m])"
        (native,) = values(servers.native.query(f"histogram_sum({rate}) / histogram_count({rate})"))
        (classic,) = values(servers.classic.query(f"rate({name}_sum[1m]) / rate({name}_count[1m])"))
        return native == pytest.approx(classic, rel=0.2)

    for name in HISTOGRAMS:
        eventually(partial(alike, name))


def test_whoever_has_not_turned_them_on_gets_what_it_always_did_and_who_has_all_else_alike(servers: Servers) -> None:
    classic = {f"{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "count", "sum")}
    assert names(servers.classic) >= classic
    assert not names(servers.classic) & HISTOGRAMS
    assert names(servers.native) - HISTOGRAMS == names(servers.classic) - classic
