"""One custom collector over one snapshot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.core import Sample as Line
from prometheus_client.registry import Collector

from swiotlb_exporter.devices import Devices, Presence
from swiotlb_exporter.findings import Told
from swiotlb_exporter.histogram import HistogramFamily
from swiotlb_exporter.metrics import METRICS
from swiotlb_exporter.pools import PoolNames
from swiotlb_exporter.spec import MetricSpec, Sample, Seen
from swiotlb_exporter.wanted import Wanted
from swiotlb_exporter.watch import Blindness, NotYetError
from swiotlb_top import __version__
from swiotlb_top.accounting.snapshot import Snapshot

MOST_POOLS: Final = 100
"""The oldest have series of their own; all are in the totals."""
_SLOTS: Final = next(spec for spec in METRICS if spec.name == "swiotlb_slots")


class SnapshotCollector(Collector):
    """Gives the metrics of ``sample()`` at each scrape.

    Where ``sample`` raises, swiotlb_up is 0, swiotlb_blind_info has the reason as a label, and the snapshot's metrics
    are absent: stale numbers would look well. The scrape itself never fails. Where swiotlb has no memory, swiotlb_slots
    is there all the same and 0, since that is known. Other failures are counted in swiotlb_scrape_errors_total, but for
    those while the source is being opened for the first time.

    :param wanted: which devices have series of their own, and what is left out.
    :param is_there: whether a device of a name still exists; what is gone has no series.
    :param findings: what is found of late.
    """

    def __init__(
        self,
        sample: Callable[[], Snapshot],
        *,
        wanted: Wanted | None = None,
        is_there: Callable[[str], bool] | None = None,
        findings: Callable[[], Told] = Told,
    ) -> None:
        self._sample = sample
        self._wanted = wanted or Wanted()
        self._devices = Devices(self._wanted, is_there or Presence())
        self._pool_names = PoolNames()
        self._findings = findings
        self._errors = 0
        self._lock = threading.Lock()

    def describe(self) -> Iterator[Metric]:
        """Every family without samples, so that registering reads no kernel."""
        for spec in METRICS:
            yield _family(spec, ())
        yield from self._own(0.0, None)

    def collect(self) -> Iterator[Metric]:
        # Scrapes may run in parallel, but share what is remembered between them.
        with self._lock:
            yield from self._collect()

    def _collect(self) -> list[Metric]:
        began_s = time.perf_counter()
        blind: Blindness | None = None
        try:
            seen = self._see(self._sample())
            families = [_family(spec, spec.wanted_samples(seen, self._wanted)) for spec in METRICS]
        except Exception as error:
            blind = Blindness.by(error)
            self._errors += not (blind.off or isinstance(error, NotYetError))
            families = [_family(_SLOTS, [((), 0)])] if blind.off else []
        return families + self._own(time.perf_counter() - began_s, blind)

    def _see(self, snapshot: Snapshot) -> Seen:
        devices = self._devices.totals(snapshot)
        pools = tuple(islice(self._pool_names.named(snapshot.pools), MOST_POOLS))
        return Seen(snapshot, devices, pools, self._findings())

    def _own(self, took_s: float, blind: Blindness | None) -> list[Metric]:
        why = GaugeMetricFamily("swiotlb_blind_info", "Why swiotlb_up is 0; absent where it is 1.", labels=("reason",))
        if blind:
            why.add_metric((blind.reason,), 1)
        build = GaugeMetricFamily("swiotlb_exporter_build_info", "The exporter's version.", labels=("version",))
        build.add_metric((__version__,), 1)
        return [
            GaugeMetricFamily("swiotlb_up", "Whether swiotlb is being watched.", value=int(blind is None)),
            why,
            CounterMetricFamily("swiotlb_scrape_errors", "Scrapes that could not read the source.", value=self._errors),
            GaugeMetricFamily(
                "swiotlb_exporter_scrape_duration_seconds", "Time it took to gather these metrics.", value=took_s
            ),
            build,
        ]


def _family(spec: MetricSpec, samples: Iterable[Sample]) -> Metric:
    labelled = ((dict(zip(spec.labels, values, strict=True)), value) for values, value in samples)
    if spec.kind == "histogram":
        histograms = HistogramFamily(spec.name, spec.help)
        for labels, value in labelled:
            histograms.add(labels, value)
        return histograms
    family = Metric(spec.name, spec.help, spec.kind)
    name = f"{spec.name}_total" if spec.kind == "counter" else spec.name
    family.samples += [Line(name, labels, value) for labels, value in labelled]
    return family
