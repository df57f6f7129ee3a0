"""The metrics of a snapshot, by name, label and value."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.errors import CannotError
from tests.unit.snapshots import DEBUGFS, DISK, GROWN_POOL, QUIET, STALLED, ScriptedSource

DISK_LABELS = {"device": "0000:00:04.0", "driver": "virtio-pci"}
NVME_LABELS = {"device": "0000:00:05.0", "driver": "nvme"}


def registry_of(*script: Snapshot | Exception) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(ScriptedSource(script).snapshot))
    return registry


def test_slots_are_gauges() -> None:
    value = registry_of(STALLED).get_sample_value
    assert value("swiotlb_slots") == 2560
    assert value("swiotlb_used_slots") == 415
    assert value("swiotlb_used_hiwater_slots") == 2560
    assert value("swiotlb_transient_slots") == 40
    assert value("swiotlb_pools") == 3


def test_devices_are_labels_of_counters_that_exist_at_zero() -> None:
    value = registry_of(STALLED).get_sample_value
    assert value("swiotlb_maps_total", DISK_LABELS) == 14_000
    assert value("swiotlb_map_failures_total", DISK_LABELS) == 230
    assert value("swiotlb_map_failures_total", NVME_LABELS) == 0
    assert value("swiotlb_unmaps_total", DISK_LABELS) == 13_996
    assert value("swiotlb_mapped_bytes_total", NVME_LABELS) == 2_621_440
    assert value("swiotlb_map_failures_explained_total", {**DISK_LABELS, "cause": "too_large"}) == 2


def test_counters_without_labels_are_there_before_anything_happens() -> None:
    value = registry_of(QUIET).get_sample_value
    for name in ("growths", "pools_added", "events_lost", "safety_violations", "scrape_errors"):
        assert value(f"swiotlb_{name}_total") == 0
    for verdict in ("agree", "disagree", "inconclusive"):
        assert value("swiotlb_verified_operations_total", {"verdict": verdict}) == 0


def test_what_a_source_cannot_know_is_absent_rather_than_a_number() -> None:
    value = registry_of(DEBUGFS).get_sample_value
    assert value("swiotlb_used_slots") == 3
    assert value("swiotlb_growths_total") is None
    assert value("swiotlb_pools") is None
    assert value("swiotlb_source_info", {"source": "debugfs", "kernel": "6.12.117", "revision": ""}) == 1


def test_a_device_that_came_back_under_its_name_is_one_series() -> None:
    twice = replace(STALLED, devices=(DISK, replace(DISK, dev=1)))
    assert registry_of(twice).get_sample_value("swiotlb_maps_total", DISK_LABELS) == 28_000


def test_pools_keep_their_names_and_transient_ones_have_none() -> None:
    newer = replace(GROWN_POOL, address=7, nslabs=512)
    registry = registry_of(STALLED, replace(STALLED, pools=(newer, *STALLED.pools)))
    assert registry.get_sample_value("swiotlb_pool_slots", {"pool": "grown-1"}) == 2048
    value = registry.get_sample_value
    assert value("swiotlb_pool_slots", {"pool": "grown-2"}) == 512
    assert value("swiotlb_pool_slots", {"pool": "grown-1"}) == 2048
    assert value("swiotlb_pool_used_slots", {"pool": "default"}) == 412
    assert b"grown-3" not in generate_latest(registry)


def test_no_address_is_given_away() -> None:
    text = generate_latest(registry_of(STALLED)).decode()
    for pool in STALLED.pools:
        assert f"{pool.start:x}" not in text
        assert f"{pool.address:x}" not in text


def test_a_failing_source_is_counted_and_the_scrape_succeeds() -> None:
    registry = registry_of(CannotError("gone"), KeyError("bug"), STALLED)
    assert registry.get_sample_value("swiotlb_scrape_errors_total") == 1
    assert registry.get_sample_value("swiotlb_up") == 0
    text = generate_latest(registry).decode()
    assert "swiotlb_scrape_errors_total 2.0" in text
    assert "swiotlb_up 1.0" in text


def test_registering_reads_nothing_and_describes_everything() -> None:
    def never() -> Snapshot:
        raise AssertionError("read")

    described = {family.name for family in SnapshotCollector(never).describe()}
    collected = {family.name for family in SnapshotCollector(lambda: STALLED).collect()}
    assert described == collected


def test_the_text_can_be_parsed_and_names_follow_the_rules() -> None:
    odd = replace(STALLED, devices=(replace(DISK, name='a"b\\c\nd', driver="ü"),))
    families = list(text_string_to_metric_families(generate_latest(registry_of(odd)).decode()))
    assert any(sample.labels.get("device") == 'a"b\\c\nd' for family in families for sample in family.samples)
    for family in families:
        assert family.name.startswith("swiotlb_")
        assert family.documentation.endswith(".")
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)


def test_importing_the_exporter_registers_nothing() -> None:
    # In a fresh process: the default registry of this one may be used by other tests.
    code = (
        "import prometheus_client, swiotlb_exporter.server;"
        "print(any(f.name.startswith('swiotlb') for f in prometheus_client.REGISTRY.collect()))"
    )
    ran = subprocess.run([sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"], capture_output=True)
    assert ran.stdout.split() == [b"False"]
