"""The forms that the page of metrics has, and which of them a scraper likes best."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from prometheus_client import Metric, exposition
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

_QUALITY: Final = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


class _Range(NamedTuple):
    """One of the things that an ``Accept`` header takes; ``quality`` is 0 to 1, and 0: not that."""

    name: str
    parameters: Mapping[str, str]
    quality: float


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """One form of the page: what it is asked for as, and how it is written."""

    names: tuple[str, ...]
    """Media types that mean it, the most particular first."""
    parameters: Mapping[str, tuple[str, ...]]
    """Values that each parameter may have in what asks for it; "" where it may be left out."""
    content_type: str
    write: Callable[[Iterable[Metric]], bytes]
    is_there: Callable[[], bool] = lambda: True

    def quality(self, ranges: Sequence[_Range]) -> float:
        """The quality of this form, 0 to 1; 0: not accepted. The most specific range counts (RFC 9110, 12.5.1)."""
        _, _, quality = max(
            (
                (-self.names.index(asked.name), len(self.parameters.keys() & asked.parameters), asked.quality)
                for asked in ranges
                if asked.name in self.names and self._means(asked.parameters)
            ),
            default=(0, 0, 0.0),
        )
        return quality

    def _means(self, asked: Mapping[str, str]) -> bool:
        return all(asked.get(name, "") in values for name, values in self.parameters.items())


class _Collected(Collector):
    """A collector of families that have been collected already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def text(families: Iterable[Metric]) -> bytes:
    """The page as text 0.0.4."""
    return exposition.generate_latest(_Collected(families))


def _write_openmetrics(families: Iterable[Metric]) -> bytes:
    page: bytes = openmetrics.generate_latest(_Collected(families))  # type: ignore[no-untyped-call]
    return page


def _write_protobuf(families: Iterable[Metric]) -> bytes:
    from swiotlb_exporter.web import protobuf_page

    return protobuf_page.page(families)


@cache
def _has_protobuf() -> bool:
    try:
        from swiotlb_exporter.web import protobuf_page  # noqa: F401
    except ImportError:
        return False
    return True


PROTOBUF: Final = Form(
    ("application/vnd.google.protobuf",),
    {"proto": ("io.prometheus.client.MetricFamily",), "encoding": ("delimited",)},
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
    _write_protobuf,
    _has_protobuf,
)
OPENMETRICS: Final = Form(
    ("application/openmetrics-text",),
    {"version": ("", "1.0.0", "0.0.1")},
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
    _write_openmetrics,
)
TEXT: Final = Form(
    ("text/plain", "text/*", "*/*"),
    {"version": ("", "0.0.4")},
    "text/plain; version=0.0.4; charset=utf-8",
    text,
)
FORMS: Final = (PROTOBUF, OPENMETRICS, TEXT)
"""Where a scraper likes two the same, the one that says more."""


def asked_for(accept: str) -> Form:
    """The available form that an ``Accept`` header prefers; text if it accepts none of them."""
    ranges = [_range(said) for said in accept.split(",")]
    liked = sorted(((form.quality(ranges), form) for form in FORMS), key=lambda both: -both[0])
    return next((form for quality, form in liked if quality and form.is_there()), TEXT)


def _range(said: str) -> _Range:
    name, *rest = (part.strip() for part in said.split(";"))
    pairs = (part.partition("=") for part in rest)
    parameters = {key.strip().lower(): value.strip().strip('"') for key, _, value in pairs}
    quality = parameters.pop("q", "1")
    return _Range(name.lower(), parameters, float(quality) if _QUALITY.fullmatch(quality) else 0.0)
