"""The page of metrics, in the two forms that Prometheus asks for: text 0.0.4 and OpenMetrics 1.0.

It says what the client library's ``generate_latest()`` says, in a quarter of the time: that looks in every line at
every name, whether it is one that must be escaped. Ours are plain.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS: Final = "application/openmetrics-text"


def asked_for(accept: str) -> tuple[bool, str]:
    """Whether an ``Accept`` header takes OpenMetrics, and the content type of the answer."""
    openmetrics = any(kind.partition(";")[0].strip() == _OPENMETRICS for kind in accept.split(","))
    return openmetrics, f"{_OPENMETRICS}; version=1.0.0; charset=utf-8" if openmetrics else _TEXT


def page(registry: Collector, *, openmetrics: bool = False) -> bytes:
    """All metrics of ``registry``. Names of metrics and labels are plain, help has neither quotes nor backslashes."""
    lines = [line for metric in registry.collect() for line in _lines(metric, openmetrics)]
    return "".join([*lines, "# EOF\n" if openmetrics else ""]).encode()


def _lines(metric: Metric, openmetrics: bool) -> Iterator[str]:
    name = metric.name
    if metric.type == "counter" and not openmetrics:
        name += "_total"
    yield f"# HELP {name} {metric.documentation}\n# TYPE {name} {metric.type}\n"
    for sample in metric.samples:
        labels = ",".join([f'{label}="{_escaped(value)}"' for label, value in sample.labels.items()])
        value: str = floatToGoString(sample.value)  # type: ignore[no-untyped-call]
        yield f"{sample.name}{{{labels}}} {value}\n" if labels else f"{sample.name} {value}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
