"""Which devices have series: few, the right ones, none that is gone, and counters that never fall."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from swiotlb_exporter.devices import OTHER, UNNAMED, Devices, Presence, Who
from swiotlb_exporter.wanted import Wanted
from swiotlb_top.accounting.snapshot import DeviceView
from tests.support.snapshots import DISK, NVME, SECOND_NS, STALLED

QUIET_DISK = replace(DISK, map_failures=0, causes=())


def device(number: int, *, maps: int = 0, map_failures: int = 0) -> DeviceView:
    return DeviceView(number, f"dev{number}", "", maps, map_failures, maps, maps * 512, maps * 512)


def of(*devices: DeviceView, most: int = 2, gone: tuple[str, ...] = ()) -> set[Who]:
    return set(Devices(Wanted(most), lambda name: name not in gone).totals(replace(STALLED, devices=devices)))


def test_without_more_devices_than_fit_there_is_no_other() -> None:
    assert of(DISK, NVME) == {("0000:00:04.0", "virtio-pci"), ("0000:00:05.0", "nvme")}


def test_the_busiest_are_chosen_and_the_others_are_summed_up() -> None:
    devices = Devices(Wanted(2), lambda name: True)
    totals = devices.totals(replace(STALLED, devices=tuple(device(n, maps=n) for n in range(1, 6))))
    assert set(totals) == {("dev5", ""), ("dev4", ""), OTHER}
    assert totals[OTHER].maps == 1 + 2 + 3


def test_a_device_whose_maps_fail_is_chosen_before_busier_ones() -> None:
    assert ("dev1", "") in of(device(1, map_failures=1), device(2, maps=50), device(3, maps=40))


def test_a_device_that_had_series_keeps_them_though_others_became_busier() -> None:
    devices = Devices(Wanted(1), lambda name: True)
    devices.totals(replace(STALLED, devices=(device(1, maps=5),)))
    later = replace(STALLED, time_ns=7 * SECOND_NS, devices=(device(1, maps=6), device(2, maps=900)))
    assert set(devices.totals(later)) == {("dev1", ""), OTHER}


def test_a_device_that_is_gone_has_no_series_and_no_part_in_other() -> None:
    assert of(DISK, NVME, gone=(DISK.name,)) == {("0000:00:05.0", "nvme")}


def test_devices_gone_before_they_could_be_named_share_a_series_without_their_addresses() -> None:
    nameless = [replace(QUIET_DISK, dev=dev, name=f"device {dev & 0xFFFF:04x}", driver="") for dev in (0x1111, 0x2222)]
    assert of(*nameless) == {(UNNAMED, "")}


def test_a_recording_that_begins_anew_counts_from_zero() -> None:
    devices = Devices(Wanted(1), lambda name: True)
    devices.totals(replace(STALLED, devices=(device(1, maps=5), device(2, maps=3))))
    again = devices.totals(replace(STALLED, time_ns=SECOND_NS, devices=(device(2, maps=1),)))
    assert set(again) == {("dev2", "")}


@given(st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 2)), max_size=4), max_size=12))
def test_other_never_falls_and_no_call_of_an_unnamed_device_is_missed(
    rounds: list[list[tuple[int, int, int]]],
) -> None:
    devices, maps, failures = Devices(Wanted(2), lambda name: True), Counter[int](), Counter[int]()
    before, unnamed = 0, 0
    for number, calls in enumerate(rounds):
        was = dict(maps)
        for who, made, failed in calls:
            maps[who] += made
            failures[who] += failed
        everyone = tuple(device(n, maps=maps[n], map_failures=failures[n]) for n in maps)
        shown = devices.totals(replace(STALLED, time_ns=number, devices=everyone))
        named = {name for name, _ in shown} - {OTHER[0]}
        assert len(named) <= 2
        assert all(shown[f"dev{n}", ""].maps == maps[n] for n in maps if f"dev{n}" in named)
        unnamed += sum(maps[n] - was.get(n, 0) for n in maps if f"dev{n}" not in named)
        other = shown[OTHER].maps if OTHER in shown else 0
        assert other == unnamed
        assert other >= before
        before = other


def test_sysfs_tells_who_is_there_and_is_looked_at_now_and_then(tmp_path: Path) -> None:
    listed = tmp_path / "bus" / "pci" / "devices"
    listed.mkdir(parents=True)
    (listed / DISK.name).touch()
    now_s = 100.0
    there = Presence(tmp_path, lambda: now_s)
    assert there(DISK.name)
    (listed / DISK.name).unlink()
    assert there(DISK.name)
    now_s += 60
    assert not there(DISK.name)


def test_a_device_that_no_bus_lists_is_there(tmp_path: Path) -> None:
    (tmp_path / "bus").mkdir()
    assert Presence(tmp_path)("no bus's")
