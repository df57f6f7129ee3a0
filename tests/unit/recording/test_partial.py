"""``swiotlb-top cut --device`` and ``--pool``: the calls of these as they are in the whole, and no claim about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import swiotlb_top
from swiotlb_top.cli import main
from swiotlb_top.convert.perfetto import perfetto_pieces
from swiotlb_top.errors import Exit, UnreadableError, UsageError
from swiotlb_top.events import Device, Find, Free, Gap, Map, PoolAdd, PoolAlloc, Unmap
from swiotlb_top.recording.anonymous import anonymise
from swiotlb_top.recording.clock import Moment
from swiotlb_top.recording.cut import cut
from swiotlb_top.recording.partial import Chosen
from swiotlb_top.recording.rows import Mapping, Pool
from swiotlb_top.reports.explained import explained
from swiotlb_top.reports.replay import replay
from swiotlb_top.sources import PlayOrder
from swiotlb_top.sources.replay import ReplaySource
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.trace import Header
from swiotlb_top.verify import Verdict
from tests.support.corpus import path_of
from tests.support.doctoring import FOUR_AREAS, FOUR_CPUS, STALL, Entry, known_as, load, save

TRACES = STALL.parent
SEED = TRACES / "seed.swtrace"
OLD = TRACES / "debian-6.1.swtrace"
"""It tells the address that a map returned, and no pool."""
LOSSY = path_of("lost-and-told")
NVME, VIRTIO = "0000:00:05.0", "0000:00:04.0"
RECORDINGS = (FOUR_AREAS, FOUR_CPUS, SEED, OLD, STALL, LOSSY, TRACES / "debian-7.3.swtrace")


def devices_of(path: Path) -> list[str]:
    return [row.device for row in swiotlb_top.open(path).devices() if row.maps + row.map_failures + row.unmaps]


def pools_of(path: Path) -> list[Pool]:
    return [row for row in swiotlb_top.open(path).pools() if row.maps]


@cache
def rows(path: Path) -> tuple[Mapping, ...]:
    """Of what was mapped before the recording, only a state tells how much it has."""
    found = swiotlb_top.open(path).mappings(judged=False)
    return tuple(row._replace(nslots=None, pool_kind=None) if row.map_ns is None else row for row in found)


def parts(path: Path, directory: Path) -> Iterator[tuple[Chosen, Path]]:
    """The calls of each of its devices, and those in each of its first pools."""
    choices = [Chosen(devices=frozenset({name})) for name in devices_of(path)]
    choices += [Chosen(pools=frozenset({int(row.pool or "0", 16)})) for row in pools_of(path)[:3]]
    for number, chosen in enumerate(choices):
        copy = directory / f"{number}.swtrace"
        cut(path, copy, chosen=chosen)
        yield chosen, copy


def is_of(row: Mapping, chosen: Chosen) -> bool:
    in_pool = not chosen.pools or (row.pool is not None and int(row.pool, 16) in chosen.pools)
    return in_pool and (not chosen.devices or row.device in chosen.devices)


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_its_mappings_are_those_of_the_whole_and_no_others(path: Path, tmp_path: Path) -> None:
    for chosen, copy in parts(path, tmp_path):
        expected = [row for row in rows(path) if is_of(row, chosen)]
        assert [*rows(copy)] == expected != []


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_nobody_claims_anything_of_the_kernel_by_it(path: Path, tmp_path: Path) -> None:
    for _, copy in parts(path, tmp_path):
        report = replay(copy)
        assert (report.verdict, report.exit_code) == (Verdict.INCONCLUSIVE, Exit.INCONCLUSIVE)
        assert (report.findings.compared, report.miscounts, report.damage, report.partial) == (0, (), "", True)
        assert not report.findings.causes
        said = report.as_json()
        assert (said["used_slots"], said["transient_slots"]) == (None, None)


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_nobody_claims_by_it_how_full_pools_are(path: Path, tmp_path: Path) -> None:
    for _, copy in parts(path, tmp_path):
        steps = swiotlb_top.open(copy).slots()
        assert {row.peak_used_slots for row in pools_of(copy)} <= {None}
        assert {(row.used_slots, row.used_max_slots, row.transient_slots) for row in steps} == {(None, None, None)}


@settings(deadline=None, max_examples=20)
@given(begin=st.floats(0, 0.9), end=st.floats(0.1, 1.1), device=st.sampled_from([NVME, VIRTIO]))
def test_time_and_device_go_together(
    begin: float, end: float, device: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    length_ns = swiotlb_top.open(SEED).info().found.length_ns
    directory = tmp_path_factory.mktemp("parts")
    first, last = (Moment(int(length_ns * share), on_wall=False) for share in (begin, end))
    try:
        cut(SEED, directory / "time.swtrace", first, last)
        cut(SEED, directory / "both.swtrace", first, last, Chosen(devices=frozenset({device})))
    except UsageError:
        return  # there is nothing in that time
    expected = [row for row in rows(directory / "time.swtrace") if row.device == device]
    assert [*rows(directory / "both.swtrace")] == expected


def entries_of(path: Path, chosen: Chosen, directory: Path) -> list[Entry]:
    cut(path, directory / "part.swtrace", chosen=chosen)
    return load(directory / "part.swtrace")


def test_other_devices_are_not_in_it_and_what_becomes_of_pools_is(tmp_path: Path) -> None:
    entries = entries_of(FOUR_AREAS, Chosen(devices=frozenset({NVME})), tmp_path)
    (name,) = (entry for entry in entries if isinstance(entry, DeviceName))
    events = [*swiotlb_top.open(tmp_path / "part.swtrace").events()]
    assert name.name == NVME
    of_devices = [event for event in events if isinstance(event, Find | Map | Unmap | Free | Device)]
    assert {event.dev for event in of_devices} == {name.dev}
    assert len([event for event in events if isinstance(event, Device)]) == 1
    whole = [*swiotlb_top.open(FOUR_AREAS).events()]
    assert [event for event in events if isinstance(event, PoolAlloc | PoolAdd)] == [
        event for event in whole if isinstance(event, PoolAlloc | PoolAdd)
    ]


def test_each_state_in_it_is_followed_by_a_gap_without_which_the_judge_would_agree(tmp_path: Path) -> None:
    header, *entries = entries_of(FOUR_AREAS, Chosen(devices=frozenset({NVME})), tmp_path)
    assert isinstance(header, Header)
    (at,) = (at for at, entry in enumerate(entries) if isinstance(entry, MemState))
    gap = entries.pop(at + 1)
    assert isinstance(gap, Gap)
    assert gap.lost == 0
    silent = save([replace(header, partial=False), *entries], tmp_path / "silent.swtrace")
    assert replay(silent).verdict is Verdict.AGREE
    lying = save([header, *entries], tmp_path / "lying.swtrace")
    with pytest.raises(UnreadableError, match=r"calls of which others are left out, after a state and without a gap"):
        [*swiotlb_top.open(lying).events()]


def test_a_partial_recording_without_any_state_is_read_and_not_judged(tmp_path: Path) -> None:
    entries = entries_of(FOUR_AREAS, Chosen(devices=frozenset({NVME})), tmp_path)
    stateless = save((entry for entry in entries if not isinstance(entry, MemState)), tmp_path / "stateless.swtrace")
    assert replay(stateless).verdict is Verdict.INCONCLUSIVE


def test_devices_go_by_what_people_know_them_by_too(tmp_path: Path) -> None:
    path = save(known_as("vda", load(STALL)), tmp_path / "vda.swtrace")
    cut(path, tmp_path / "part.swtrace", chosen=Chosen(devices=frozenset({"vda"})))
    assert rows(tmp_path / "part.swtrace") == rows(path)


def test_several_devices_in_one_pool(tmp_path: Path) -> None:
    chosen = Chosen(frozenset({NVME, VIRTIO}), frozenset({0x11700000}))
    cut(SEED, tmp_path / "part.swtrace", chosen=chosen)
    expected = [row for row in rows(SEED) if is_of(row, chosen)]
    assert {row.device for row in expected} == {NVME, VIRTIO}
    assert [*rows(tmp_path / "part.swtrace")] == expected


def test_a_refused_map_is_of_a_device_and_in_no_pool(tmp_path: Path) -> None:
    cut(STALL, tmp_path / "device.swtrace", chosen=Chosen(devices=frozenset({VIRTIO})))
    cut(STALL, tmp_path / "pool.swtrace", chosen=Chosen(pools=frozenset({0x3E700000})))
    failed = {name: sum(row.failed for row in rows(tmp_path / f"{name}.swtrace")) for name in ("device", "pool")}
    assert failed == {"device": 521, "pool": 0}


# ---- what is made of it ----------------------------------------------------------


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """What one of two devices did."""
    cut(FOUR_AREAS, tmp_path / "part.swtrace", chosen=Chosen(devices=frozenset({NVME})))
    return tmp_path / "part.swtrace"


def test_its_copies_are_partial_too(part: Path, tmp_path: Path) -> None:
    anonymise(part, tmp_path / "anonymous.swtrace")
    cut(part, tmp_path / "shorter.swtrace", None, Moment(500_000_000, on_wall=False))
    cut(part, tmp_path / "again.swtrace", chosen=Chosen(pools=frozenset({0x3EB00000})))
    for name in ("anonymous", "shorter", "again"):
        report = replay(tmp_path / f"{name}.swtrace")
        assert (report.partial, report.verdict, report.damage) == (True, Verdict.INCONCLUSIVE, "")
        assert 0 < report.pipeline.account.maps <= 30


def test_no_revision_explains_it_and_none_is_ruled_out(part: Path) -> None:
    assert {one.verdict for one in explained(part).revisions} == {Verdict.INCONCLUSIVE}


def test_the_screen_says_that_it_is_partial_and_not_how_full_the_pools_are(part: Path) -> None:
    source = ReplaySource(part)
    source.play(PlayOrder(passed_ns=3_600_000_000_000))
    now = source.snapshot()
    assert (now.used_slots, now.transient_slots, now.pools, now.maps) == (-1, -1, (), 30)
    assert "the recording is partial" in now.notes[-1]
    (entry,) = [entry for entry in now.recorded.journal if entry.word == "gap"] if now.recorded else []
    assert entry.sentence == "calls are left out"


def test_a_timeline_says_that_calls_are_left_out_and_not_that_none_were_lost(part: Path) -> None:
    recording = swiotlb_top.open(part)
    timeline = b"".join(perfetto_pieces(recording.happenings(judged=False), recording.clock, "swiotlb"))
    assert b"calls are left out" in timeline
    assert b"events lost" not in timeline


def test_info_and_replay_say_so(part: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = "it has the calls of some devices or pools only, which nobody can judge without the others"
    main(["info", str(part)])
    assert f"partial   {said}" in capsys.readouterr().out.splitlines()
    assert main(["replay", str(part)]) == Exit.INCONCLUSIVE
    lines = capsys.readouterr().out.splitlines()
    assert {f"  partial: {said}", "  inconclusive after a gap: 60"} <= {*lines}


@pytest.mark.parametrize("arguments", [["size"], ["why"], ["diff", str(FOUR_AREAS)]], ids=lambda words: words[0])
def test_what_needs_the_calls_of_all_devices_refuses_it(
    arguments: list[str], part: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, str(part)]) == Exit.USAGE
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "some devices or pools only" in err


def test_two_that_are_cut_alike_are_compared(part: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["diff", str(part), str(part)])
    assert capsys.readouterr().out.startswith("A  part.swtrace: ")


# ---- the command ---------------------------------------------------------------


def test_it_says_how_much_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "part.swtrace"
    arguments = ["cut", str(FOUR_AREAS), "-o", str(copy), "--device", NVME, "--pool", "0x3EB00000"]
    assert main(arguments) == Exit.OK
    assert capsys.readouterr().out.splitlines() == [
        f"{copy}: {copy.stat().st_size:,} bytes",
        "0.000 s to the end; 40 of 780 calls: nobody can judge them without the others",
    ]


@pytest.mark.parametrize("option", [["--device", "vdz"], ["--pool", "0x1000"], ["--device", NVME, "--pool", "0x1000"]])
def test_of_what_is_not_there_nothing_is_written(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cut", str(FOUR_AREAS), "-o", str(tmp_path / "part.swtrace"), *option]) == Exit.USAGE
    assert capsys.readouterr().err.startswith(
        "swiotlb-top: no call is of what was asked for; there are calls of 0000:00:05.0, 0000:00:04.0, in 0x3eb00000, "
    )
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("address", ["3e780000", "0x", "vda", "0x1g", ""])
def test_what_is_no_address_is_a_usage_error(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cut", str(STALL), "-o", str(tmp_path / "part.swtrace"), "--pool", address]) == Exit.USAGE
    assert f"{address!r} is no address of a pool: give it as tables do, as in 0x3e780000" in capsys.readouterr().err
