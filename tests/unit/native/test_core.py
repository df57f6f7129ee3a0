"""The native core is there where it was built, is left out where that is asked for, and says what Python says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final
from unittest.mock import patch

import pytest

import swiotlb_top
from swiotlb_top import native, records
from swiotlb_top.constants import DMA_ATTR_CC_SHARED
from swiotlb_top.errors import SwiotlbTopError
from swiotlb_top.events import Event, Gap
from swiotlb_top.recording.cut import cut
from swiotlb_top.recording.partial import Chosen
from swiotlb_top.records import DURATION_UNKNOWN, RECORD, RECORD_BYTES, Kind, RawRecord
from swiotlb_top.reports.replay import replay
from swiotlb_top.state import AreaState, MemState
from swiotlb_top.trace import Records, TraceReader
from swiotlb_top.verify.operations import lone_calls
from tests.fuzz.native import UNREACHABLE, History, judged, tried
from tests.support.doctoring import FOUR_AREAS, GROWING
from tests.support.histories import (
    POOL,
    SLOT_BYTES,
    START,
    allocated,
    device,
    empty_pool,
    found,
    grown,
    machine,
    mapped,
    pool_with,
    released,
    state_of,
)
from tests.support.native_builds import CHECKED, HAVE_COMPILER, NATIVE, ROOT, build, checked_environment
from tests.support.packed import packed

pytestmark = pytest.mark.skipif(not HAVE_COMPILER, reason="gcc is not installed")

LONG: Final = {
    "a-static-kernel-adds-a-pool",
    "slots-of-seven-revisions",
    "thousands-of-areas",
    "thousands-overlap-and-none-is-right",
}
"""Hostile recordings that keep Python busy for many seconds, with next to nothing for the core."""
RECORDINGS: Final = [path for path in sorted((ROOT / "tests" / "traces").rglob("*.swtrace")) if path.stem not in LONG]
REVISIONS: Final = ("6.1", "6.6", "6.8", "6.9", "6.10", "7.3")
NOTHING: Final = 0
CHANGES: Final[dict[str, tuple[str, int]]] = {
    "another slot": ("result", 1),
    "a slot more": ("size", 2048),
    "a byte more": ("size", 1),
    "a byte less": ("size", -1),
    "much more": ("size", 70_000),
    "more than any map may have": ("size", 300_000),
    "no buffer": ("address", NOTHING),
    "another place in the slot": ("address", 1),
    "the next slot": ("address", 2048),
    "another page": ("address", 4096),
    "beyond all memory": ("address", 1 << 60),
    "another pool": ("pool", 64),
    "another device": ("object", 8),
    "an aligned page": ("align_mask", 0xFFF),
    "more than an aligned page": ("align_mask", 0xFFFF),
    "later": ("exit_ns", 10_000_000),
    "for long": ("duration_ns", 2_000_000),
    "while others were under way": ("duration_ns", 400_000),
    "begun on another CPU": ("flags", 8),
    "out of the device's reach": ("flags", UNREACHABLE),
    "as a later probe may say": ("flags", UNREACHABLE << 1),
}
"""What is added to which field of a record; with nothing, it becomes 0."""


@pytest.fixture(autouse=True, scope="module")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The core as it is here now, whatever was installed."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(native, "LIBRARY", str(build(tmp_path_factory.mktemp("core") / "core.so", "-O2")))
        changed.delenv(native.SWITCH, raising=False)
        native.loaded.cache_clear()
        yield
    native.loaded.cache_clear()


@pytest.fixture(scope="module")
def state() -> MemState:
    """The first state of a common recording."""
    return next(item for item in TraceReader(GROWING) if isinstance(item, MemState))


@pytest.fixture(scope="module")
def common() -> list[bytes]:
    """The records behind that state, calls that agree."""
    data = next(item.data for item in TraceReader(GROWING) if isinstance(item, Records))
    return [data[at : at + RECORD_BYTES] for at in range(0, 4000 * RECORD_BYTES, RECORD_BYTES)]


def report(path: Path, revision: str | None, switch: str) -> object:
    """All that ``replay`` says of a recording, or why it says nothing."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv(native.SWITCH, switch)
        try:
            said = replay(path, revision)
        except SwiotlbTopError as error:
            return str(error)
        views = [(dev, device.view()) for dev, device in said.pipeline.account.devices.items()]
        return said.as_json(), said.as_text(explain=True), views, said.pipeline.snapshot(0, "", ""), said.exit_code


@pytest.mark.parametrize("path", [GROWING, *RECORDINGS], ids=lambda path: path.stem)
def test_a_recording_has_the_same_report_with_the_core_and_without(path: Path) -> None:
    assert report(path, None, "") == report(path, None, "0")


@pytest.mark.parametrize("stem", ["four-areas", "debian-6.1", "debian-7.3"])
def test_a_copy_of_the_calls_of_one_device_has_the_same_report(stem: str, tmp_path: Path) -> None:
    """It is blind from the first call on, and releases of what others hold are left out in it."""
    path, copy = ROOT / "tests" / "traces" / f"{stem}.swtrace", tmp_path / "copy.swtrace"
    of = next(row.device for row in swiotlb_top.open(path).devices() if row.maps and row.unmaps)
    cut(path, copy, chosen=Chosen(devices=frozenset({of})))
    assert report(copy, None, "") == report(copy, None, "0")


@pytest.mark.parametrize("revision", REVISIONS)
def test_by_each_revision_a_recording_has_the_same_report(revision: str) -> None:
    assert report(FOUR_AREAS, revision, "") == report(FOUR_AREAS, revision, "0")


def test_the_core_judges_and_counts_nearly_all_of_a_common_recording() -> None:
    core = native.core()
    assert core is not None
    calls = {"judged": 0, "counted": 0}

    class Counting:
        """The core, and how many records it has dealt with."""

        def __getattr__(self, name: str) -> object:
            def call(*arguments: object) -> int:
                dealt_with = int(getattr(core, name)(*arguments))
                if name in calls:
                    calls[name] += dealt_with
                return dealt_with

            return call

    with (
        patch("swiotlb_top.verify.in_core.core", Counting),
        patch("swiotlb_top.accounting.in_core.core", Counting),
    ):
        said = replay(GROWING)
    assert calls["judged"] > 0.95 * said.findings.agree
    assert calls["counted"] > 0.95 * said.pipeline.account.events


@pytest.mark.parametrize("kind", [Kind.FIND, Kind.UNMAP], ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize("changed", CHANGES)
def test_one_strange_call_among_common_ones_is_judged_and_counted_alike(
    changed: str, kind: Kind, common: list[bytes], state: MemState
) -> None:
    at = next(place for place in range(3000, 4000) if RECORD.unpack(common[place])[3] == kind)
    record = RawRecord._make(RECORD.unpack(common[at]))
    field, more = CHANGES[changed]
    strange = RECORD.pack(*record._replace(**{field: getattr(record, field) + more if more else 0}))
    history = History("6.10", state, [b"".join([*common[:at], strange, *common[at + 1 :]])], state)
    by_core, by_python = judged(history, ""), judged(history, "0")
    assert by_core.known == by_python.known
    assert by_core.at_once > 2000


def test_a_call_that_was_not_seen_to_begin_is_left_to_python(common: list[bytes], state: MemState) -> None:
    record = RawRecord._make(RECORD.unpack(common[3000]))
    unseen = RECORD.pack(*record._replace(duration_ns=DURATION_UNKNOWN))
    history = History("6.10", state, [b"".join([*common[:3000], unseen, *common[3001:]])], state)
    assert judged(history, "").known == judged(history, "0").known


def test_that_a_device_cannot_reach_its_slots_is_a_failure_that_python_explains() -> None:
    calls = [found(1000 + 100 * slot, 1010 + 100 * slot, slot) for slot in range(40)]
    given_back = [
        released(9000 + 100 * slot, 9010 + 100 * slot, slot)._replace(unreachable=slot == 20) for slot in range(40)
    ]
    history = History("6.10", machine(), [packed([device(), *calls, *given_back])], machine())
    by_core = judged(history, "")
    assert by_core.known == judged(history, "0").known
    assert by_core.at_once >= 70


@pytest.mark.parametrize("shared", [-1, 0, 1])
def test_which_kind_of_memory_a_device_needs_is_known_though_the_core_judges_its_maps(shared: int) -> None:
    """Only of a device that maps shared memory is it a disagreement that a map fails for which there is room."""
    maps = [
        mapped(1000 + 100 * slot, 1010 + 100 * slot, slot)._replace(attrs=DMA_ATTR_CC_SHARED * (shared == 1))
        for slot in range(80)
    ]
    in_vain = [mapped(at, at + 5, -1)._replace(attrs=maps[0].attrs) for at in (4950, 8920, 8990)]
    in_vain[1] = in_vain[1]._replace(attrs=DMA_ATTR_CC_SHARED - maps[0].attrs)
    again = device(exit_ns=4920)
    mem = replace(machine(), cc_shared=shared)
    after = replace(machine(state_of(pool_with(*range(80)), 9000, 9010)), cc_shared=shared)
    seen: list[Event] = [device(), *maps[:40], again, in_vain[0], *maps[40:], *in_vain[1:]]
    history = History("7.3", mem, [packed(seen)], after)
    by_core = judged(history, "")
    assert by_core.known == judged(history, "0").known
    assert by_core.at_once >= 30


@pytest.mark.parametrize("set_slots", [64, 256])
def test_of_a_kernel_with_other_slot_sets_the_core_judges_nothing_and_counts_the_same(set_slots: int) -> None:
    free_list = tuple(set_slots - slot % set_slots for slot in range(512))
    mem = machine(replace(state_of(empty_pool()), list_=free_list))
    calls = [found(1000 + 100 * at, 1010 + 100 * at, 2 * at, 2) for at in range(40)]
    large = found(6000, 6010, set_slots, set_slots)
    given_back = [released(7000 + 100 * at, 7010 + 100 * at, 2 * at, 2) for at in range(20)]
    history = History("6.10", mem, [packed([device(), *calls, large]), packed(given_back)], mem)
    by_core = judged(history, "")
    assert by_core.known == judged(history, "0").known
    assert by_core.at_once == 0


def test_after_a_gap_only_what_was_mapped_anew_is_known_and_after_a_state_all_is() -> None:
    calls = [found(1000 + 100 * slot, 1010 + 100 * slot, slot) for slot in range(40)]
    blind: list[Event] = [
        *(released(6000 + 100 * slot, 6010 + 100 * slot, slot) for slot in range(20)),
        *(found(8000 + 100 * slot, 8010 + 100 * slot, slot) for slot in range(10)),
        *(released(9000 + 100 * slot, 9010 + 100 * slot, slot) for slot in range(5)),
    ]
    seen_again = machine(state_of(pool_with(*range(5, 10), *range(20, 40)), 10_000, 10_010))
    sighted = [released(11_000 + 100 * slot, 11_010 + 100 * slot, slot) for slot in range(20, 40)]
    began = packed([device(), *calls])
    blocks: list[bytes | Gap | MemState] = [
        began,
        Gap(5500, 5600, 3, "full"),
        packed(blind),
        seen_again,
        packed(sighted),
    ]
    history = History("6.10", machine(), blocks, machine(state_of(pool_with(*range(5, 10)), 16_000, 16_010)))
    by_core = judged(history, "")
    assert by_core.known == judged(history, "0").known
    assert by_core.at_once >= 40


def test_a_flag_that_is_not_known_yet_leaves_the_call_to_python(common: list[bytes]) -> None:
    record = RawRecord._make(RECORD.unpack(common[2000]))
    of_later = RECORD.pack(*record._replace(flags=record.flags | UNREACHABLE << 1))
    runs = lone_calls.runs_in(b"".join([*common[:2000], of_later, *common[2001:]]))
    assert [run for run in runs if run.begin <= 2000 < run.end] == []
    assert [run for run in lone_calls.runs_in(b"".join(common)) if run.begin <= 2000 < run.end]


def test_where_two_pools_have_the_same_memory_an_address_tells_the_younger() -> None:
    """Slots of both are given out at one address: the search found them in the older, as the younger was full."""
    younger, start = POOL + 64, START + 256 * SLOT_BYTES
    full = [found(1000 + 100 * at, 1010 + 100 * at, 128 * at, 128, pool=younger) for at in range(4)]
    full += [found(2000 + 100 * at, 2010 + 100 * at, 128 * at, 128) for at in range(2)]
    maps = [mapped(3000 + 100 * at, 3010 + 100 * at, 256 + at) for at in range(60)]
    growth: list[Event] = [allocated(500, younger, start, 512), grown(600, 700, younger, start, 512)]
    mem = replace(machine(can_grow=True), default_nslabs=512)
    history = History("6.10", mem, [packed([device(), *growth, *full, *maps])], mem)
    assert judged(history, "").known == judged(history, "0").known


def test_a_size_that_wraps_around_asks_for_nothing() -> None:
    maps = [mapped(1000 + 100 * slot, 1010 + 100 * slot, slot) for slot in range(60)]
    maps[40] = maps[40]._replace(mapping_size_bytes=(1 << 64) - 1, alloc_align_mask=0xFFF)
    history = History("6.10", machine(), [packed([device(), *maps])], machine())
    assert judged(history, "").known == judged(history, "0").known


@pytest.mark.parametrize("used", [513, (1 << 32) - 4, (1 << 63) + 4, (1 << 64) - 4])
def test_an_area_that_counts_more_slots_than_there_are_has_no_room(used: int) -> None:
    mem = machine(replace(state_of(empty_pool()), areas=(AreaState(used, 0),)))
    calls = [found(1000 + 100 * slot, 1010 + 100 * slot, slot) for slot in range(60)]
    history = History("6.10", mem, [packed([device(), *calls])], mem)
    by_core = judged(history, "")
    assert by_core.known == judged(history, "0").known
    assert by_core.at_once == 0


def test_slots_that_cross_what_a_device_can_take_at_once_are_harm_that_python_names() -> None:
    """No device has segments of half a slot: the search does not see that a slot crosses them, and the ledger does."""
    narrow = device()._replace(seg_boundary_mask=1023)
    calls = [found(at, at + 10, slot) for slot, at in enumerate(range(1000, 6000, 100))]
    history = History("6.10", machine(), [packed([narrow, *calls])], machine())
    assert judged(history, "").known == judged(history, "0").known


def test_calls_of_which_one_begins_as_the_other_is_over_may_have_come_in_either_order() -> None:
    """Slot 1 is found first: that agrees only if the search that found slot 0 came before it."""
    calls = [
        found(1000, 1010, 1),
        found(1010, 1020, 0),
        *(found(at, at + 10, at // 100) for at in range(2000, 6000, 100)),
    ]
    history = History("6.10", machine(), [packed([device(), *calls[:2]]), packed(calls[2:])], machine())
    assert judged(history, "").known == judged(history, "0").known


def test_a_call_that_fits_between_two_of_a_run_comes_between_them() -> None:
    calls = [found(1000 + 100 * slot, 1010 + 100 * slot, slot) for slot in range(40)]
    taken_back = released(1550, 1560, 5)
    history = History("6.10", machine(), [packed([device(), *calls]), packed([taken_back])], machine())
    assert judged(history, "").known == judged(history, "0").known


def test_the_same_slot_of_a_pool_that_is_searched_later_is_not_the_same() -> None:
    older, newer = empty_pool(), empty_pool(address=POOL + 64, start=START + (1 << 24))
    both = machine(state_of(newer), state_of(older))
    calls = [
        found(1000 + 100 * slot, 1010 + 100 * slot, slot, pool=POOL if slot == 20 else POOL + 64) for slot in range(40)
    ]
    history = History("6.10", both, [packed([device(), *calls])], both)
    by_core = judged(history, "")
    assert by_core.known == judged(history, "0").known
    assert by_core.at_once >= 20


def test_random_histories_are_judged_and_counted_alike_to_the_last_bit() -> None:
    histories, at_once, wrong = tried(range(1, 41))
    assert wrong == []
    assert histories == 40
    assert at_once > 1000


def test_the_core_does_nothing_that_c_does_not_allow(tmp_path: Path) -> None:
    library = build(tmp_path / "checked.so", *CHECKED)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.native", "60", "100", str(library), "25"],
        cwd=ROOT,
        env=checked_environment() | {"PYTHONPATH": "exporters"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("25 histories")


@pytest.mark.parametrize("changed", ["lone.c", "records.py"])
def test_a_core_that_was_built_of_other_sources_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """Its own, or what Python knows of a record, whose fields may have moved."""
    for source in (Path(records.__file__), *(NATIVE / name for name in native.SOURCES)):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(native, "LIBRARY", str(build(tmp_path / "core.so")))
    monkeypatch.setattr(records, "__file__", str(tmp_path / "records.py"))
    assert native.loaded(tmp_path) is not None
    with (tmp_path / changed).open("ab") as file:
        file.write(b"\n")
    native.loaded.cache_clear()
    assert native.loaded(tmp_path) is None


def test_where_no_core_was_built_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "LIBRARY", "core.so")
    assert native.loaded(tmp_path) is None


def test_a_core_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.core() is not None
    monkeypatch.setenv(native.SWITCH, "0")
    assert native.core() is None


def test_where_numbers_lie_the_other_way_round_no_core_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "byteorder", "big")
    assert native.core() is None
