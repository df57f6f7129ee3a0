"""One custom collector over one snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from swiotlb_exporter.metrics import METRICS, MetricSpec, Samples
from swiotlb_exporter.pools import PoolNames
from swiotlb_top import __version__
from swiotlb_top.accounting.snapshot import PoolView, Snapshot

_FAMILIES: Final = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}


class SnapshotCollector(Collector):
    """Gives the metrics of ``sample()`` at each scrape.

    A ``sample`` that raises is counted in swiotlb_scrape_errors_total and leaves swiotlb_up at 0; the
    scrape itself never fails. The snapshot's metrics are then absent: stale numbers would look well.
    """

    def __init__(self, sample: Callable[[], Snapshot]) -> None:
        self._sample = sample
        self._pool_names = PoolNames()
        self._errors = 0
        self._lock = threading.Lock()

    def describe(self) -> Iterator[Metric]:
        """Every family without samples, so that registering reads no kernel."""
        for spec in METRICS:
            yield _family(spec, ())
        yield from _pool_families(())
        yield from self._own(up=False)

    def collect(self) -> Iterator[Metric]:
        # Scrapes may come in parallel; sources answer one thread at a time.
        with self._lock:
            yield from self._collect()

    def _collect(self) -> list[Metric]:
        try:
            snapshot = self._sample()
            families = [_family(spec, spec.samples(snapshot)) for spec in METRICS]
            families += _pool_families(tuple(self._pool_names.named(snapshot.pools)))
        except Exception:
            self._errors += 1
            return self._own(up=False)
        return families + self._own(up=True)

    def _own(self, *, up: bool) -> list[Metric]:
        build = GaugeMetricFamily("swiotlb_exporter_build_info", "The exporter's version.", labels=("version",))
        build.add_metric((__version__,), 1)
        return [
            GaugeMetricFamily("swiotlb_up", "Whether the source could be read.", value=int(up)),
            CounterMetricFamily("swiotlb_scrape_errors", "Scrapes that could not read the source.", value=self._errors),
            build,
        ]


def _family(spec: MetricSpec, samples: Samples) -> Metric:
    family: GaugeMetricFamily | CounterMetricFamily = _FAMILIES[spec.kind](spec.name, spec.help, labels=spec.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _pool_families(named: Sequence[tuple[str, PoolView]]) -> list[Metric]:
    slots = GaugeMetricFamily("swiotlb_pool_slots", "Slots of the pool.", labels=("pool",))
    used = GaugeMetricFamily("swiotlb_pool_used_slots", "Slots in use in the pool.", labels=("pool",))
    for name, pool in named:
        slots.add_metric((name,), pool.nslabs)
        used.add_metric((name,), pool.used_slots)
    return [slots, used]
