"""The page's two kinds of text, and which of its forms is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_exporter.web.exposition import FORMS, OPENMETRICS, PROTOBUF, TEXT, Form, asked_for
from swiotlb_top.accounting.snapshot import Snapshot
from tests.support.snapshots import DEBUGFS, QUIET, STALLED, ScriptedSource


class Text(NamedTuple):
    """One kind of text, as we write it, and as the client library reads it."""

    ours: Form
    parse: Callable[[str], Iterable[Metric]]


TEXTS = [Text(TEXT, text_string_to_metric_families), Text(OPENMETRICS, openmetrics_families)]
METRIC_FAMILY = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_2_NATIVE = f"{METRIC_FAMILY},{PROMETHEUS_2.replace('1.0.0,', '1.0.0;q=0.8,')}"
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROMETHEUS_3_NATIVE = f"{METRIC_FAMILY};escaping=allow-utf-8;q=0.6,{PROMETHEUS_3}"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


def said(families: Iterable[Metric]) -> set[tuple[str, tuple[tuple[str, str], ...], float]]:
    samples = (sample for family in families for sample in family.samples)
    return {(sample.name, tuple(sorted(sample.labels.items())), float(sample.value)) for sample in samples}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("snapshot", [STALLED, QUIET, DEBUGFS], ids=["stalled", "quiet", "debugfs"])
def test_it_says_what_was_collected(snapshot: Snapshot, text: Text) -> None:
    families = list(SnapshotCollector(ScriptedSource([snapshot]).snapshot, is_there=lambda name: True).collect())
    assert said(text.parse(text.ours.write(families).decode())) == said(families)


@pytest.mark.parametrize("text", TEXTS)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.floats(allow_nan=False), min_size=1))
def test_whatever_a_device_is_called_and_a_number_is(text: Text, values: dict[str, float]) -> None:
    gauges, counters = GaugeMetricFamily("size", "A size.", labels=["device"]), CounterMetricFamily("maps", "Maps.")
    for name, value in values.items():
        gauges.add_metric([name], value)
    counters.add_metric([], len(values))
    assert said(text.parse(text.ours.write([gauges, counters]).decode())) == said([gauges, counters])


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/*", TEXT),
        (BROWSER, TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text; Version=1.0.0", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.4", OPENMETRICS),
        ("text/plain, application/openmetrics-text", OPENMETRICS),
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        (METRIC_FAMILY, PROTOBUF),
        (METRIC_FAMILY.replace("delimited", '"delimited"'), PROTOBUF),
        (PROMETHEUS_2_NATIVE, PROTOBUF),
        (PROMETHEUS_3_NATIVE, PROTOBUF),
        (f"text/plain, application/openmetrics-text, {METRIC_FAMILY}", PROTOBUF),
    ],
)
def test_every_scraper_gets_the_form_that_says_most_of_those_it_asks_for(accept: str, form: Form) -> None:
    assert asked_for(accept) is form


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("application/openmetrics-text;q=0.3, text/plain;q=0.5", TEXT),
        ("application/openmetrics-text;q=0.5, text/plain;q=0.3", OPENMETRICS),
        (f"{METRIC_FAMILY};q=0.2, text/plain;q=0.1", PROTOBUF),
        (f"{METRIC_FAMILY};q=0.2, application/openmetrics-text;q=0.201", OPENMETRICS),
        ("*/*, application/openmetrics-text;q=0.9", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        (f"{METRIC_FAMILY};q=0.000, application/openmetrics-text;q=0.1", OPENMETRICS),
        ("*/*;q=0.9, text/plain;q=0.2, application/openmetrics-text;q=0.5", OPENMETRICS),
        ("text/plain;q=0.9, text/plain;version=0.0.4;q=0.2, application/openmetrics-text;q=0.5", OPENMETRICS),
        (
            "application/openmetrics-text;version=0.0.1;q=0.2, application/openmetrics-text;version=1.0.0;q=0.8, "
            "text/plain;q=0.5",
            OPENMETRICS,
        ),
    ],
)
def test_what_is_liked_better_comes_first_and_what_names_a_form_most_particularly_counts(
    accept: str, form: Form
) -> None:
    assert asked_for(accept) is form


@pytest.mark.parametrize(
    "accept",
    [
        "application/vnd.google.protobuf",
        "application/vnd.google.protobuf;encoding=delimited",
        METRIC_FAMILY.replace("delimited", "compact-text"),
        METRIC_FAMILY.replace("MetricFamily", "Metric"),
        "application/openmetrics-text;version=2.0.0",
        f"{METRIC_FAMILY};q=none",
        "application/openmetrics-text;q=nan",
        "application/openmetrics-text;q=2",
        ";;;=,,q=1;/",
    ],
)
def test_what_is_not_had_here_or_not_understood_is_answered_with_text(accept: str) -> None:
    assert asked_for(accept) is TEXT


@given(st.text(st.sampled_from('*/text,plain;q=0.19nproto "é')))
def test_no_header_is_too_odd_to_be_answered(accept: str) -> None:
    assert asked_for(accept) in FORMS
