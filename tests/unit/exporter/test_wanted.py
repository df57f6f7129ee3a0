"""Which series there are, as the operator wants them: fewer, and none of them wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_exporter.devices import OTHER
from swiotlb_exporter.wanted import Part, Wanted
from swiotlb_top.accounting.snapshot import LATENCY_BUCKETS_NS, Snapshot
from tests.support.prometheus import ROOT
from tests.support.snapshots import DISK, NVME, STALLED

TIMED = replace(DISK, latencies=(1,) * (len(LATENCY_BUCKETS_NS) + 1), to_device_bytes=1, from_device_bytes=1)
SHOWN = replace(STALLED, devices=(TIMED, NVME))
ALL = frozenset(Part)
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(wanted: Wanted, snapshot: Snapshot = SHOWN) -> Series:
    """Every sample, but for how long it took to gather them."""
    collector = SnapshotCollector(lambda: snapshot, wanted=wanted, is_there=lambda name: True)
    samples = (sample for family in collector.collect() for sample in family.samples)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for sample in samples
        if not sample.name.endswith("scrape_duration_seconds")
    }


def names(wanted: Wanted) -> set[str]:
    return {name for name, _ in series(wanted)}


@given(st.frozensets(st.sampled_from(Part)))
def test_what_is_left_out_is_absent_and_all_else_stays_as_it_was(without: frozenset[Part]) -> None:
    everything, shown = series(Wanted()), series(Wanted(without=without))
    assert shown.items() <= everything.items()
    alone = [series(Wanted(without=frozenset({part}))).keys() for part in without]
    assert shown.keys() == everything.keys() & set.intersection(set(everything), *map(set, alone))


def test_histograms_can_be_left_out() -> None:
    gone = names(Wanted()) - names(Wanted(without=frozenset({Part.HISTOGRAMS})))
    kinds = ("bucket", "count", "sum")
    assert gone == {f"swiotlb_{of}_{kind}" for of in ("request_slots", "map_duration_seconds") for kind in kinds}


def test_bytes_can_be_left_out_where_slots_say_the_same() -> None:
    gone = names(Wanted()) - names(Wanted(without=frozenset({Part.BYTES})))
    assert gone == {f"swiotlb_{of}_bytes" for of in ("memory", "used", "used_hiwater", "transient")}
    assert {name.replace("_bytes", "_slots").replace("_memory", "") for name in gone} < names(Wanted())


def test_causes_that_no_map_failed_for_can_be_left_out_and_others_stay() -> None:
    shown = series(Wanted(without=frozenset({Part.ZERO_CAUSES})))
    causes = {dict(labels)["cause"]: value for (name, labels), value in shown.items() if "explained" in name}
    assert causes == {"fragmented": 228, "too_large": 2}


@pytest.mark.parametrize(
    ("patterns", "shown"),
    [
        ((), {DISK.name, NVME.name}),
        (("nvme",), {NVME.name}),
        (("0000:00:04.*",), {DISK.name}),
        (("nvme", "virtio-*"), {DISK.name, NVME.name}),
        (("0000:00:04",), set()),
        (("NVME",), set()),
    ],
)
def test_devices_whose_name_or_driver_matches_have_series_of_their_own_and_the_rest_are_other(
    patterns: tuple[str, ...], shown: set[str]
) -> None:
    all_of_them = {DISK.name: 14_000, NVME.name: 40}
    maps = {
        dict(labels)["device"]: value
        for (name, labels), value in series(Wanted(devices=patterns)).items()
        if name == "swiotlb_maps_total"
    }
    other = sum(value for device, value in all_of_them.items() if device not in shown)
    assert maps == {device: all_of_them[device] for device in shown} | ({OTHER[0]: other} if other else {})


def of_a_device(without: frozenset[Part]) -> int:
    """How many series one more has, of which no map failed."""
    more = replace(TIMED, dev=1, name="another", causes=())
    few, many = (series(Wanted(without=without), replace(STALLED, devices=devices)) for devices in ((), (more,)))
    return len(many) - len(few)


def test_the_documentation_says_how_many_series_a_device_has() -> None:
    page = (ROOT / "docs" / "exporter.md").read_text()
    for words, without in (
        ("| |", frozenset[Part]()),
        *((f"| `--without {part.value}` |", frozenset({part})) for part in Part),
        ("| all three |", ALL),
    ):
        assert f"\n{words} {of_a_device(without)} |" in page
