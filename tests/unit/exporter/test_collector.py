"""The metrics of a snapshot, by name, label and value."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from swiotlb_exporter.collector import MOST_POOLS, SnapshotCollector
from swiotlb_exporter.metrics import METRICS
from swiotlb_exporter.wanted import Wanted
from swiotlb_exporter.watch import NotYetError
from swiotlb_top.accounting.snapshot import Earlier, FlightView, ProgramCost, Snapshot
from swiotlb_top.allocator.explain import Cause
from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.no_pool import NoPool, NoPoolError
from swiotlb_top.state import HookPlace, How
from tests.support.snapshots import DEBUGFS, DISK, GROWN_POOL, NVME, QUIET, STALLED, ScriptedSource

DISK_LABELS = {"device": "0000:00:04.0", "driver": "virtio-pci"}
NVME_LABELS = {"device": "0000:00:05.0", "driver": "nvme"}


def registry_of(*script: Snapshot | Exception) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(ScriptedSource(script).snapshot, is_there=lambda name: True))
    return registry


def test_slots_are_gauges() -> None:
    value = registry_of(STALLED).get_sample_value
    assert value("swiotlb_slots") == 2560
    assert value("swiotlb_used_slots") == 415
    assert value("swiotlb_used_hiwater_slots") == 2560
    assert value("swiotlb_transient_slots") == 40
    assert value("swiotlb_used_bytes") == 415 * 2048
    assert [value("swiotlb_pools", {"kind": kind}) for kind in ("default", "grown", "transient")] == [1, 1, 1]


def test_devices_are_labels_of_counters_that_exist_at_zero() -> None:
    value = registry_of(STALLED).get_sample_value
    assert value("swiotlb_maps_total", DISK_LABELS) == 14_000
    assert value("swiotlb_map_failures_total", DISK_LABELS) == 230
    assert value("swiotlb_map_failures_total", NVME_LABELS) == 0
    assert value("swiotlb_unmaps_total", DISK_LABELS) == 13_996
    assert value("swiotlb_mapped_bytes_total", NVME_LABELS) == 2_621_440
    assert value("swiotlb_map_failures_explained_total", {**DISK_LABELS, "cause": "too_large"}) == 2
    for cause in Cause:
        labels = {**NVME_LABELS, "cause": cause.value}
        assert value("swiotlb_map_failures_explained_total", labels) == 0


def test_what_a_bpf_program_costs_is_told_where_the_kernel_counts_it_and_absent_where_not() -> None:
    value = registry_of(replace(STALLED, programs=(ProgramCost("kfunc__swiotlb_map", 1_500_000_000, 41),)))
    assert value.get_sample_value("swiotlb_bpf_run_seconds_total", {"program": "kfunc__swiotlb_map"}) == 1.5
    assert value.get_sample_value("swiotlb_bpf_runs_total", {"program": "kfunc__swiotlb_map"}) == 41
    assert "swiotlb_bpf_runs_total{" not in generate_latest(registry_of(STALLED)).decode()


def test_slots_held_are_gauges_of_devices_older_mappings_among_them() -> None:
    card = replace(NVME, held_slots=2, earlier=Earlier(105, 210, 3))
    value = registry_of(replace(STALLED, devices=(DISK, card), unowned_slots=7)).get_sample_value
    assert value("swiotlb_held_slots", DISK_LABELS) == 412
    assert value("swiotlb_held_slots", NVME_LABELS) == 212
    assert value("swiotlb_unowned_slots") == 7


def test_those_of_devices_without_a_series_of_their_own_are_added_up() -> None:
    devices = (DISK, replace(NVME, held_slots=3), replace(NVME, dev=1, name="0000:00:09.0", held_slots=4))
    registry = CollectorRegistry()
    source = ScriptedSource([replace(STALLED, devices=devices)])
    registry.register(SnapshotCollector(source.snapshot, wanted=Wanted(1), is_there=lambda name: True))
    assert registry.get_sample_value("swiotlb_held_slots", DISK_LABELS) == 412
    assert registry.get_sample_value("swiotlb_held_slots", {"device": "other", "driver": ""}) == 7


def test_slots_that_nobody_counts_are_absent() -> None:
    value = registry_of(STALLED).get_sample_value
    assert value("swiotlb_held_slots", NVME_LABELS) is None
    assert value("swiotlb_unowned_slots") is None


def test_what_is_bounced_counts_by_direction_and_what_is_not_known_is_absent() -> None:
    value = registry_of(replace(STALLED, devices=(replace(DISK, to_device_bytes=7, from_device_bytes=0), NVME)))
    assert value.get_sample_value("swiotlb_bounced_bytes_total", {**DISK_LABELS, "direction": "to_device"}) == 7
    assert value.get_sample_value("swiotlb_bounced_bytes_total", {**DISK_LABELS, "direction": "from_device"}) == 0
    assert value.get_sample_value("swiotlb_bounced_bytes_total", {**NVME_LABELS, "direction": "to_device"}) is None


def test_sizes_and_latencies_are_cumulative_histograms() -> None:
    sizes, times = (5, 0, 0, 1, 0, 0, 0, 2, 1), (0, 3, *[0] * 7, 1)
    timed = replace(DISK, sizes=sizes, asked_slots=400, latencies=times, latency_sum_ns=20_000_000)
    value = registry_of(replace(STALLED, devices=(timed,))).get_sample_value
    requests = [value("swiotlb_request_slots_bucket", {**DISK_LABELS, "le": le}) for le in ("1", "8", "128", "+Inf")]
    assert requests == [5, 6, 8, 9]
    assert value("swiotlb_request_slots_count", DISK_LABELS) == 9
    assert value("swiotlb_request_slots_sum", DISK_LABELS) == 400
    seconds = [
        value("swiotlb_map_duration_seconds_bucket", {**DISK_LABELS, "le": le}) for le in ("2.56e-07", "1.024e-06")
    ]
    assert seconds == [0, 3]
    assert value("swiotlb_map_duration_seconds_count", DISK_LABELS) == 4
    assert value("swiotlb_map_duration_seconds_sum", DISK_LABELS) == 0.02


def test_hooks_say_whether_they_are_attached_and_how() -> None:
    unmap = HookPlace("unmap", How.FENTRY, "fentry+fexit", "__swiotlb_tbl_unmap_single")
    grow = HookPlace("grow", How.ABSENT, lost="growth is not seen")
    value = registry_of(replace(STALLED, hooks=(unmap, grow))).get_sample_value
    assert value("swiotlb_hook_attached", {"hook": "unmap", "how": "fentry+fexit __swiotlb_tbl_unmap_single"}) == 1
    assert value("swiotlb_hook_attached", {"hook": "grow", "how": "absent: growth is not seen"}) == 0


def test_how_the_flight_recorder_does_and_its_latest_file() -> None:
    flight = FlightView("/run/s", recording=True, held_bytes=4096, fired=(("failure", 1), ("asked", 2)))
    value = registry_of(replace(STALLED, flight=flight)).get_sample_value
    assert (value("swiotlb_flight_recording"), value("swiotlb_flight_held_bytes")) == (1, 4096)
    triggers = [value("swiotlb_flight_triggers_total", {"trigger": name}) for name in ("failure", "asked")]
    assert triggers == [1, 2]
    assert (value("swiotlb_flight_files_total"), value("swiotlb_flight_files_failed_total")) == (0, 0)
    latest = {"file": "/run/s/a.swtrace", "trigger": "failure"}
    assert value("swiotlb_flight_last_file_timestamp_seconds", latest) is None
    written = replace(
        flight, files=1, not_written=2, last_file=latest["file"], last_trigger="failure", last_wall_ns=15 * 10**8
    )
    value = registry_of(replace(STALLED, flight=written)).get_sample_value
    assert (value("swiotlb_flight_files_total"), value("swiotlb_flight_files_failed_total")) == (1, 2)
    assert value("swiotlb_flight_last_file_timestamp_seconds", latest) == 1.5


def test_where_no_flight_recorder_is_wanted_none_is_told_of() -> None:
    assert b"\nswiotlb_flight" not in generate_latest(registry_of(STALLED))


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
    assert value("swiotlb_pools", {"kind": "default"}) is None
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


def test_hundreds_of_pools_make_a_bounded_number_of_series() -> None:
    grown = tuple(replace(GROWN_POOL, address=number) for number in range(400))
    pools = registry_of(replace(STALLED, pools=(*grown, *STALLED.pools[1:])))
    text = generate_latest(pools).decode()
    assert text.count("swiotlb_pool_slots{") == MOST_POOLS
    assert pools.get_sample_value("swiotlb_pools", {"kind": "grown"}) == 400


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


def test_while_the_source_is_being_opened_it_is_down_and_no_error() -> None:
    registry = registry_of(NotYetError("attaching"))
    text = generate_latest(registry).decode()
    assert "swiotlb_up 0.0" in text
    assert 'swiotlb_blind_info{reason="attaching"} 1.0' in text
    assert "swiotlb_scrape_errors_total 0.0" in text
    assert "swiotlb_slots" not in [line.split()[0] for line in text.splitlines()]


def test_what_comes_from_bursts_says_how_old_it_is() -> None:
    value = registry_of(replace(STALLED, time_ns=9_000_000_000, sampled_ns=6_500_000_000)).get_sample_value
    assert value("swiotlb_burst_age_seconds") == 2.5
    assert registry_of(replace(STALLED, sampled_ns=-1)).get_sample_value("swiotlb_burst_age_seconds") is None


def test_why_it_is_blind_is_a_label_and_is_gone_once_it_sees() -> None:
    registry = registry_of(CannotError("no BTF:\n build one"), STALLED)
    assert 'swiotlb_blind_info{reason="no BTF: build one"} 1.0' in generate_latest(registry).decode()
    assert "swiotlb_blind_info{" not in generate_latest(registry).decode()


def test_where_swiotlb_has_no_memory_that_is_known_and_no_error() -> None:
    registry = registry_of(NoPoolError(NoPool.NOFORCE))
    text = generate_latest(registry).decode()
    assert "swiotlb_up 0.0" in text
    assert "swiotlb_slots 0.0" in text
    assert "swiotlb_scrape_errors_total 0.0" in text
    assert f'swiotlb_blind_info{{reason="{NoPool.NOFORCE.value}"}} 1.0' in text
    assert "swiotlb_used_slots" not in [line.split()[0] for line in text.splitlines()]


def test_registering_reads_nothing_and_describes_everything() -> None:
    def never() -> Snapshot:
        raise AssertionError("read")

    described = {family.name for family in SnapshotCollector(never).describe()}
    collected = {family.name for family in SnapshotCollector(lambda: STALLED).collect()}
    assert {spec.name for spec in METRICS} < described
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
        if "bytes" in family.name.split("_"):
            assert family.name.endswith("bytes")
        if "ratio" in family.name.split("_"):
            assert family.name.endswith("_ratio")


def test_importing_the_exporter_registers_nothing() -> None:
    # In a fresh process: the default registry of this one may be used by other tests.
    code = (
        "import prometheus_client, swiotlb_exporter.web.server;"
        "print(any(f.name.startswith('swiotlb') for f in prometheus_client.REGISTRY.collect()))"
    )
    ran = subprocess.run([sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"], capture_output=True)
    assert ran.stdout.split() == [b"False"]
