"""The page against the client library's own, and which of its two forms is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from swiotlb_exporter import exposition
from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_top.accounting.snapshot import Snapshot
from tests.unit.snapshots import DEBUGFS, QUIET, STALLED, ScriptedSource


class Form(NamedTuple):
    """One form of the page, as the client library writes and reads it."""

    openmetrics: bool
    library: Callable[[CollectorRegistry], bytes]
    parse: Callable[[str], Iterable[Metric]]


FORMS = [
    Form(False, generate_latest, text_string_to_metric_families),
    Form(True, generate_openmetrics, openmetrics_families),
]


class Made(Collector):
    """Families that are the same at each scrape."""

    def __init__(self, made: Iterable[Metric]) -> None:
        self._made = tuple(made)

    def collect(self) -> Iterable[Metric]:
        return self._made


def registry_of(families: Iterable[Metric]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Made(families))
    return registry


def assert_alike(registry: CollectorRegistry, form: Form) -> None:
    ours, theirs = exposition.page(registry, openmetrics=form.openmetrics).decode(), form.library(registry).decode()
    assert list(form.parse(ours)) == list(form.parse(theirs))
    assert ours.count("\n") == theirs.count("\n")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("snapshot", [STALLED, QUIET, DEBUGFS], ids=["stalled", "quiet", "debugfs"])
def test_it_says_what_the_client_library_says(snapshot: Snapshot, form: Form) -> None:
    collector = SnapshotCollector(ScriptedSource([snapshot]).snapshot, is_there=lambda name: True)
    assert_alike(registry_of(collector.collect()), form)


@pytest.mark.parametrize("form", FORMS)
def test_so_it_does_of_the_process(form: Form) -> None:
    assert_alike(registry_of(ProcessCollector(registry=None).collect()), form)


@pytest.mark.parametrize("form", FORMS)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.floats(allow_nan=False), min_size=1))
def test_and_of_whatever_a_device_is_called_and_a_number_is(form: Form, values: dict[str, float]) -> None:
    gauges, counters = GaugeMetricFamily("size", "A size.", labels=["device"]), CounterMetricFamily("maps", "Maps.")
    for name, value in values.items():
        gauges.add_metric([name], value)
    counters.add_metric([], len(values))
    assert_alike(registry_of([gauges, counters]), form)


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.4", True),
        ("application/vnd.google.protobuf;encoding=delimited;q=0.6, application/openmetrics-text; q=0.5", True),
    ],
)
def test_openmetrics_is_for_whoever_takes_it(accept: str, openmetrics: bool) -> None:
    form, content_type = exposition.asked_for(accept)
    assert form is openmetrics
    assert content_type.startswith("application/openmetrics-text; version=1.0.0" if openmetrics else "text/plain; ")
