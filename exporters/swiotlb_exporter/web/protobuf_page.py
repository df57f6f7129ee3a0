"""The page as protobuf: messages of io.prometheus.client, each with its length before it; with native histograms.

Importing this imports protobuf, which takes 4 MiB: to be done when a scraper asks for it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, proto
from prometheus_client import Metric

from swiotlb_exporter.histogram import Histogram, HistogramFamily

_PACKAGE: Final = "io.prometheus.client"
_MESSAGES: Final[dict[str, tuple[tuple[int, str, str], ...]]] = {
    "LabelPair": ((1, "string", "name"), (2, "string", "value")),
    "Value": ((1, "double", "value"),),
    "Bucket": ((1, "uint64", "cumulative_count"), (2, "double", "upper_bound")),
    "BucketSpan": ((1, "sint32", "offset"), (2, "uint32", "length")),
    "Histogram": (
        (1, "uint64", "sample_count"),
        (2, "double", "sample_sum"),
        (3, "Bucket*", "bucket"),
        (5, "sint32", "schema"),
        (6, "double", "zero_threshold"),
        (7, "uint64", "zero_count"),
        (12, "BucketSpan*", "positive_span"),
        (13, "sint64*", "positive_delta"),
    ),
    "Metric": (
        (1, "LabelPair*", "label"),
        (2, "Value", "gauge"),
        (3, "Value", "counter"),
        (7, "Histogram", "histogram"),
    ),
    "MetricFamily": ((1, "string", "name"), (2, "string", "help"), (3, "int32", "type"), (4, "Metric*", "metric")),
}
"""Of each message the fields that are written: number, type (``*``: any number of them), name. What is the same on the
wire is one here: gauges and counters; the enum of types is an int32."""

_KINDS: Final = {"counter": (0, "_total"), "gauge": (1, ""), "histogram": (4, "")}
"""The number of each type, and what follows a family's name. A metric's own member is called as its type."""
_NEXT_TO_NOTHING: Final = 2.0**-128
"""What the zero bucket goes up to: as Prometheus's own libraries have it, and what tells an empty native histogram
from one that is classic only."""


def page(families: Iterable[Metric]) -> bytes:
    """All of ``families`` that have samples."""
    written = io.BytesIO()
    for family in families:
        if family.samples:
            proto.serialize_length_prefixed(_message(family), written)
    return written.getvalue()


def _message(family: Metric) -> Any:
    number, suffix = _KINDS[family.type]
    if isinstance(family, HistogramFamily):
        values = [(labels, _histogram(histogram)) for labels, histogram in family.histograms]
    else:
        values = [(sample.labels, {"value": sample.value}) for sample in family.samples]
    metrics = [
        {"label": [{"name": name, "value": said} for name, said in labels.items()], family.type: value}
        for labels, value in values
    ]
    return MetricFamily(name=f"{family.name}{suffix}", help=family.documentation, type=number, metric=metrics)


def _histogram(histogram: Histogram) -> dict[str, Any]:
    gaps = [{"offset": gap, "length": length} for gap, length in histogram.native.spans()]
    buckets = [{"cumulative_count": count, "upper_bound": float(bound)} for bound, count in histogram.classic]
    return {
        "sample_count": histogram.count,
        "sample_sum": histogram.total,
        "bucket": buckets,
        "schema": histogram.native.schema,
        "zero_threshold": _NEXT_TO_NOTHING,
        "zero_count": 0,
        "positive_span": gaps,
        "positive_delta": list(histogram.native.deltas()),
    }


def _family_class() -> Any:
    """The class of the outermost message, made at run time: nothing generated to keep."""
    described = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = described.message_type.add(name=name)
        for number, kind, field in fields:
            message.field.add(name=field, number=number, **_type(kind))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(described)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.MetricFamily"))


def _type(kind: str) -> dict[str, Any]:
    field = descriptor_pb2.FieldDescriptorProto
    one = kind.rstrip("*")
    label = field.LABEL_OPTIONAL if one == kind else field.LABEL_REPEATED
    if one in _MESSAGES:
        return {"label": label, "type": field.TYPE_MESSAGE, "type_name": f".{_PACKAGE}.{one}"}
    return {"label": label, "type": field.Type.Value(f"TYPE_{one.upper()}")}


MetricFamily: Final = _family_class()
"""Written, and in tests read."""
