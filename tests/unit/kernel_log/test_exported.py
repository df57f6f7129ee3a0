"""What Prometheus gets of the kernel's log: a counter that only rises, and nothing where nothing is known."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.kernel.no_pool import NoPool, NoPoolError
from swiotlb_top.kernel_log.watch import KernelLog
from swiotlb_top.sources.logged import wanted_all_the_same
from tests.support.logs import FULL, POOL, found
from tests.support.snapshots import QUIET

NVME = {"device": "0000:00:01.0", "driver": "nvme", "cause": "unsuitable_run"}


def value(log: KernelLog | None, name: str, labels: dict[str, str] | None = None) -> float | None:
    registry = CollectorRegistry()

    def sample() -> Snapshot:
        return replace(QUIET, kernel_log=log)

    registry.register(SnapshotCollector(sample))
    return registry.get_sample_value(name, labels or {})


def test_failures_before_and_since_are_told_apart() -> None:
    log = KernelLog(before=found(FULL, FULL), since=found(FULL))
    assert value(log, "swiotlb_kernel_log_failures_total", NVME) == 1
    assert value(log, "swiotlb_kernel_log_earlier_failures", NVME) == 2
    assert value(log, "swiotlb_kernel_log_readable") == 1


def test_who_failed_before_has_a_counter_from_the_beginning() -> None:
    assert value(KernelLog(before=found(FULL)), "swiotlb_kernel_log_failures_total", NVME) == 0


def test_lines_that_were_not_printed_are_counted() -> None:
    log = KernelLog(since=found("swiotlb_tbl_map_single: 26 callbacks suppressed"))
    assert value(log, "swiotlb_kernel_log_not_printed_total") == 26


def test_what_is_no_failed_map_is_not_counted_as_one() -> None:
    labels = {"device": "unknown", "driver": "", "cause": "pool_not_added"}
    assert value(KernelLog(since=found(POOL)), "swiotlb_kernel_log_failures_total", labels) is None


def test_of_a_log_that_cannot_be_read_there_is_no_zero() -> None:
    log = KernelLog(before=found(FULL), unreadable="Operation not permitted")
    assert value(log, "swiotlb_kernel_log_failures_total", NVME) is None
    assert value(log, "swiotlb_kernel_log_not_printed_total") is None
    assert value(log, "swiotlb_kernel_log_readable") == 0


def test_a_recording_has_no_log() -> None:
    assert value(None, "swiotlb_kernel_log_readable") is None
    assert value(None, "swiotlb_kernel_log_not_printed_total") is None


def test_where_maps_failed_for_want_of_memory_it_is_not_said_that_none_is_needed() -> None:
    failed = found("ehci-pci 0000:00:1d.0: swiotlb buffer is full (sz: 8 bytes), total 0 (slots), used 0 (slots)")
    none = NoPoolError(NoPool.IOMMU)
    told = wanted_all_the_same(none, lambda: KernelLog(before=failed))
    assert told.why is NoPool.IOMMU
    assert "at least 1 map failed" in told.next_step
    assert wanted_all_the_same(none, KernelLog) is none
