"""What a scraper that asks for protobuf reads: what the text says, and native histograms."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import pytest
from google.protobuf import proto
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_exporter.histogram import Native
from swiotlb_exporter.wanted import MOST_DEVICES, Wanted
from swiotlb_exporter.web.exposition import PROTOBUF
from swiotlb_exporter.web.protobuf_page import MetricFamily
from swiotlb_top.accounting.snapshot import FINE_SCHEMA, DeviceView, Snapshot
from tests.support.snapshots import DEBUGFS, DISK, NVME, QUIET, STALLED, ScriptedSource
from tests.unit.exporter.web.test_exposition import METRIC_FAMILY, PROMETHEUS_2_NATIVE
from tests.unit.exporter.web.test_server import served, the_page

TIMED = replace(
    DISK,
    sizes=(5, 0, 0, 1, 0, 0, 0, 2, 1),
    asked_slots=400,
    latencies=(0, 3, *[0] * 7, 1),
    latency_sum_ns=20_000_000,
    fine_latencies=((-167, 2), (-166, 1), (-47, 1)),
)
BEYOND = 1025
"""At schema 0: Prometheus's bucket for what is larger than any number."""

Lines = dict[tuple[str, frozenset[tuple[str, str]]], float]


def collected(snapshot: Snapshot, devices: int = MOST_DEVICES) -> list[Metric]:
    collector = SnapshotCollector(
        ScriptedSource([snapshot]).snapshot, is_there=lambda name: True, wanted=Wanted(devices)
    )
    return list(collector.collect())


def read(page: bytes) -> Iterator[Any]:
    stream = io.BytesIO(page)
    while (family := proto.parse_length_prefixed(MetricFamily, stream)) is not None:
        yield family


def lines(families: Iterable[Any]) -> Lines:
    """A page's samples as text would have them."""
    found: Lines = {}
    for family in families:
        for metric in family.metric:
            labels = {pair.name: pair.value for pair in metric.label}
            for suffix, more, value in _values(metric):
                found[family.name + suffix, frozenset((labels | more).items())] = value
    return found


def _values(metric: Any) -> Iterator[tuple[str, dict[str, str], float]]:
    if not metric.HasField("histogram"):
        yield "", {}, (metric.gauge if metric.HasField("gauge") else metric.counter).value
        return
    for bucket in metric.histogram.bucket:
        bound = "+Inf" if math.isinf(bucket.upper_bound) else f"{bucket.upper_bound:.10g}"
        yield "_bucket", {"le": bound}, bucket.cumulative_count
    yield "_count", {}, metric.histogram.sample_count
    yield "_sum", {}, metric.histogram.sample_sum


def as_text(families: Iterable[Metric]) -> Lines:
    return {(line.name, frozenset(line.labels.items())): line.value for family in families for line in family.samples}


def counts(spans: Sequence[tuple[int, int]], deltas: Sequence[int]) -> dict[int, int]:
    """A native histogram's buckets, as Prometheus's documentation says how to read them."""
    indices: list[int] = []
    at = 0
    for gap, length in spans:
        at += gap
        indices += range(at, at + length)
        at += length
    return dict(zip(indices, accumulate(deltas), strict=True))


def native(family_name: str, snapshot: Snapshot, device: str = DISK.name, **options: int) -> Any:
    """A device's native histogram: schema and buckets; its observations are all in a bucket."""
    page = PROTOBUF.write(collected(snapshot, **options))
    (family,) = (family for family in read(page) if family.name == family_name)
    (metric,) = (metric for metric in family.metric if metric.label[0].value == device)
    histogram = metric.histogram
    found = counts([(span.offset, span.length) for span in histogram.positive_span], histogram.positive_delta)
    assert sum(found.values()) + histogram.zero_count == histogram.sample_count
    return histogram.schema, found


@pytest.mark.parametrize(
    "snapshot",
    [STALLED, QUIET, DEBUGFS, replace(STALLED, devices=(TIMED, NVME))],
    ids=["stalled", "quiet", "debugfs", "timed"],
)
def test_it_says_all_that_the_text_says(snapshot: Snapshot) -> None:
    families = collected(snapshot)
    assert lines(read(PROTOBUF.write(families))) == as_text(families)


def test_so_it_does_of_the_process() -> None:
    families = list(ProcessCollector(registry=None).collect())
    assert lines(read(PROTOBUF.write(families))) == as_text(families)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.floats(allow_nan=False)))
def test_and_of_whatever_a_device_is_called_and_a_number_is(values: dict[str, float]) -> None:
    gauges, counters = GaugeMetricFamily("size", "A size.", labels=["device"]), CounterMetricFamily("maps", "Maps.")
    for name, value in values.items():
        gauges.add_metric([name], value)
    counters.add_metric([], len(values))
    assert lines(read(PROTOBUF.write([gauges, counters]))) == as_text([gauges, counters])


def test_types_and_help_go_with_the_names_that_text_has() -> None:
    said = {family.name: (family.type, family.help) for family in read(PROTOBUF.write(collected(STALLED)))}
    assert said["swiotlb_slots"] == (1, "Slots in all pools.")
    assert said["swiotlb_unmaps_total"] == (0, "Mappings released.")
    assert said["swiotlb_request_slots"][0] == 4


@given(st.dictionaries(st.integers(-300, 1100), st.integers(0, 2**40)))
def test_spans_and_deltas_are_the_counts(observed: dict[int, int]) -> None:
    histogram = Native(0, observed)
    spans, deltas = list(histogram.spans()), list(histogram.deltas())
    assert counts(spans, deltas) == {index: number for index, number in sorted(observed.items()) if number}
    assert all(gap > 0 for gap, _ in spans[1:]), "two runs that are one"


def test_sizes_are_counted_in_the_buckets_of_schema_0_and_what_is_larger_in_the_last_of_all() -> None:
    snapshot = replace(STALLED, devices=(TIMED,))
    assert native("swiotlb_request_slots", snapshot) == (0, {0: 5, 3: 1, 7: 2, BEYOND: 1})


def test_latencies_are_counted_in_buckets_finer_than_the_classic_ones() -> None:
    snapshot = replace(STALLED, devices=(TIMED,))
    assert native("swiotlb_map_duration_seconds", snapshot) == (FINE_SCHEMA, {-167: 2, -166: 1, -47: 1})


def test_a_histogram_that_is_empty_is_native_all_the_same() -> None:
    snapshot = replace(STALLED, devices=(replace(DISK, sizes=(0,) * 9),))
    assert native("swiotlb_request_slots", snapshot) == (0, {})
    (family,) = (family for family in read(PROTOBUF.write(collected(snapshot))) if "request" in family.name)
    assert family.metric[0].histogram.zero_threshold > 0


def test_devices_among_the_others_are_summed_up_bucket_by_bucket() -> None:
    def timed(dev: int, *fine: tuple[int, int]) -> DeviceView:
        maps = sum(number for _, number in fine)
        return DeviceView(dev, f"dev{dev}", "", maps, 0, 0, 0, 0, latencies=(maps, *[0] * 9), fine_latencies=fine)

    busy, others = timed(1, (-100, 90)), (timed(2, (-150, 2), (-149, 1)), timed(3, (-149, 4)))
    snapshot = replace(STALLED, devices=(busy, *others))
    _, found = native("swiotlb_map_duration_seconds", snapshot, "other", devices=1)
    assert found == {-150: 2, -149: 5}


def test_a_scraper_that_asks_for_it_gets_it() -> None:
    with served(replace(STALLED, devices=(TIMED,))) as url:
        content_type, page = the_page(url, PROMETHEUS_2_NATIVE)
    assert content_type.split(";")[0] == "application/vnd.google.protobuf"
    assert {part.strip() for part in content_type.split(";")} == set(METRIC_FAMILY.split(";"))
    assert {"swiotlb_up", "swiotlb_maps_total", "swiotlb_request_slots"} <= {family.name for family in read(page)}


def run(code: str) -> list[str]:
    """What a fresh process prints."""
    prelude = f"import sys; sys.path[:] = {sys.path!r}; from swiotlb_exporter.web.exposition import asked_for, FORMS;"
    return subprocess.run(
        [sys.executable, "-c", prelude + code], capture_output=True, text=True, check=True
    ).stdout.split()


def test_the_library_is_not_imported_before_somebody_asks() -> None:
    asked = "asked_for('application/openmetrics-text,*/*;q=0.1').write([])"
    assert run(f"{asked}; print('google.protobuf' in sys.modules)") == ["False"]
    assert run(f"asked_for({METRIC_FAMILY!r}).write([]); print('google.protobuf' in sys.modules)") == ["True"]


@pytest.mark.parametrize("missing", ["google.protobuf", "google.protobuf.proto"], ids=["none", "an old one"])
def test_without_the_library_the_next_best_is_given(missing: str) -> None:
    code = f"sys.modules[{missing!r}] = None; print(asked_for({PROMETHEUS_2_NATIVE!r}).names[0])"
    assert run(code) == ["application/openmetrics-text"]
    assert run(code.replace(PROMETHEUS_2_NATIVE, METRIC_FAMILY)) == ["text/plain"]
