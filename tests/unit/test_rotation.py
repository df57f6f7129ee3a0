"""A recording that goes on in another file when one is full: each file stands by itself, and none misses a call."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swiotlb_top.errors import CannotError, Exit
from swiotlb_top.events import Device, Event, Gap
from swiotlb_top.recorder import RecordReport, record
from swiotlb_top.reports.replay import ReplayReport, replay
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.stream import End, Known, Records
from swiotlb_top.trace import TraceReader
from swiotlb_top.trace.files import Limit
from swiotlb_top.trace.format import MAX_LATE_NS
from swiotlb_top.verify import Verdict
from swiotlb_top.verify.findings import Doubt
from tests.support.sound_kernel import DEVICES
from tests.support.sound_session import SETTING, SoundSession, recorded_from

FILE_BYTES = 16_384


def recorded(
    directory: Path,
    session: SoundSession,
    *,
    file_bytes: int = FILE_BYTES,
    keep: int | None = None,
    seconds: float = 10.0,
) -> tuple[RecordReport, list[Path]]:
    """The report, and the files in the order of their names."""
    with recorded_from(session):
        report = record(directory / "disk.swtrace", seconds, (), limit=Limit(file_bytes, keep))
    return report, sorted(directory.iterdir())


def events_of(path: Path) -> list[Event]:
    return [event for item in TraceReader(path) if isinstance(item, Records) for event in item.events()]


def judged(path: Path) -> ReplayReport:
    return replay(path, SETTING.revision)


def test_each_file_is_a_recording_that_the_judge_agrees_with(tmp_path: Path) -> None:
    report, files = recorded(tmp_path, SoundSession(1))
    assert len(files) > 3
    for path in files:
        replayed = judged(path)
        assert (replayed.verdict, replayed.exit_code, replayed.damage) == (Verdict.AGREE, Exit.OK, "")
        assert replayed.findings.compared > 0
    assert report.lost == 0


def test_their_names_sort_in_the_order_of_their_times(tmp_path: Path) -> None:
    _, files = recorded(tmp_path, SoundSession(1))
    assert [path.name for path in files] == [f"disk.{number:06}.swtrace" for number in range(1, len(files) + 1)]
    begins = [next(item for item in TraceReader(path) if isinstance(item, MemState)).begin_ns for path in files]
    started = [TraceReader(path).header.started_monotonic_ns for path in files]
    assert begins == sorted(begins)
    assert started == sorted(started)
    assert len({*started}) == len(files)


def test_each_begins_with_a_state_and_the_devices_and_ends_with_an_end(tmp_path: Path) -> None:
    _, files = recorded(tmp_path, SoundSession(1))
    for path in files[1:]:
        state, *rest = TraceReader(path).stream()
        assert isinstance(state, MemState)
        names, introductions = rest[: len(DEVICES)], rest[len(DEVICES)]
        assert {name.dev for name in names if isinstance(name, DeviceName)} == {*DEVICES}
        assert isinstance(introductions, Records)
        devices = [event for event in introductions.events() if isinstance(event, Device)]
        assert len(devices) == introductions.count
        assert {device.dev for device in devices} == {*DEVICES}
        assert all(state.begin_ns - MAX_LATE_NS < device.exit_ns <= state.begin_ns for device in devices)
        assert isinstance(rest[-1], End)
        assert any(isinstance(item, Known) for item in rest)


def test_a_file_ends_with_the_state_with_which_the_next_begins(tmp_path: Path) -> None:
    _, files = recorded(tmp_path, SoundSession(1))
    states = [[item for item in TraceReader(path) if isinstance(item, MemState)] for path in files]
    for before, after in pairwise(states):
        assert before[-1] == after[0]


def test_no_call_is_missing_and_those_in_two_files_were_over_after_the_state_between_them(tmp_path: Path) -> None:
    session = SoundSession(1)
    report, files = recorded(tmp_path, session)
    begins = [next(item for item in TraceReader(path) if isinstance(item, MemState)).begin_ns for path in files]
    calls = [[event for event in events_of(path) if not isinstance(event, Device)] for path in files]
    told = [event for event in session.told if event.exit_ns >= begins[0]]
    assert {call for of in calls for call in of} == {event for event in told if not isinstance(event, Device)}
    assert report.records == len({*told} | {event for event in session.told if isinstance(event, Device)})
    for before, after, begin_ns in zip(calls, calls[1:], begins[1:], strict=False):
        assert all(call.exit_ns >= begin_ns for call in {*before} & {*after})
        assert all(call.exit_ns >= begin_ns for call in after)


def test_a_file_is_full_at_the_size_that_was_given(tmp_path: Path) -> None:
    report, files = recorded(tmp_path, SoundSession(1))
    sizes = [path.stat().st_size for path in files]
    assert all(FILE_BYTES <= size < 1.5 * FILE_BYTES for size in sizes[:-1])
    assert report.size_bytes == sum(sizes)


def test_states_take_no_more_than_half_of_a_file(tmp_path: Path) -> None:
    """However small the files are to be: a file of states alone would tell nothing."""
    _, files = recorded(tmp_path, SoundSession(1), file_bytes=1)
    assert len(files) > 3
    for path in files[:-1]:
        assert judged(path).findings.compared > 0


def test_of_so_many_files_the_oldest_is_removed(tmp_path: Path) -> None:
    most = 0

    def count(_: int) -> None:
        nonlocal most
        most = max(most, len([*tmp_path.iterdir()]))

    report, files = recorded(tmp_path, SoundSession(1, looked=count), keep=2)
    assert most == len(files) == 2
    first, last = files
    number = int(last.name.split(".")[1])
    assert first.name == f"disk.{number - 1:06}.swtrace"
    assert report.as_text().startswith(f"{first} to {last} ({number - 2} before them removed): ")
    assert report.as_text().endswith(f"next: swiotlb-top replay {last}")
    assert all(judged(path).exit_code == Exit.OK for path in files)


def test_a_file_in_which_events_were_lost_says_so_and_the_others_do_not(tmp_path: Path) -> None:
    _, files = recorded(tmp_path, SoundSession(1, losing=frozenset({50})))
    lost = [judged(path).lost for path in files]
    assert sorted(map(bool, lost)) == [False] * (len(files) - 1) + [True]
    for path in files:
        replayed = judged(path)
        (end,) = (item for item in TraceReader(path) if isinstance(item, End))
        assert end.lost == replayed.lost
        assert replayed.miscounts == ()
        assert replayed.verdict is (Verdict.INCONCLUSIVE if replayed.lost else Verdict.AGREE)


@pytest.mark.parametrize("look", range(6, 200, 7))
def test_where_events_are_lost_while_a_file_ends_it_goes_on_until_the_state_is_known(look: int, tmp_path: Path) -> None:
    _, files = recorded(tmp_path, SoundSession(1, losing=frozenset({look, look + 1, look + 2})), file_bytes=9000)
    for path in files:
        replayed = judged(path)
        assert replayed.verdict is not Verdict.DISAGREE
        assert replayed.miscounts == ()
        gaps = [item for item in TraceReader(path) if isinstance(item, Gap)]
        assert sum(gap.lost for gap in gaps) == replayed.lost


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1 << 32), st.integers(1, 40_000), st.booleans(), st.booleans(), st.booleans())
def test_whatever_the_kernel_does_no_file_blames_it(
    tmp_path_factory: pytest.TempPathFactory, seed: int, file_bytes: int, dynamic: bool, map_hook: bool, odd: bool
) -> None:
    setting = SETTING._replace(dynamic=dynamic, map_hook=map_hook, odd_areas=odd)
    directory = tmp_path_factory.mktemp("files")
    _, files = recorded(directory, SoundSession(seed, setting), file_bytes=file_bytes, seconds=1.0)
    for path in files:
        replayed = judged(path)
        # A transient pool that is in use for so long is not known to the file that begins meanwhile.
        assert {*replayed.findings.doubts} <= {Doubt.OLDER_POOL}
        assert (replayed.findings.disagree, replayed.miscounts, replayed.damage) == (0, (), "")


# ---- what is in the way ------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["disk.swtrace", "disk.000001.swtrace", "disk.000017.swtrace", "disk.000002.swtrace.partial"]
)
def test_what_is_there_is_not_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(CannotError, match=rf"{name} exists: choose another name"):
        recorded(tmp_path, SoundSession(1))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_a_file_of_another_name_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "disk.1.swtrace").touch()
    (tmp_path / "disks.000001.swtrace").touch()
    recorded(tmp_path, SoundSession(1))


def test_a_name_that_is_taken_meanwhile_ends_the_recording_and_what_there_is_is_whole(tmp_path: Path) -> None:
    taken = tmp_path / "disk.000003.swtrace"

    def take(look: int) -> None:
        if look == 10:
            taken.write_text("precious")

    with pytest.raises(CannotError, match=r"disk\.000003\.swtrace exists"):
        recorded(tmp_path, SoundSession(1, looked=take))
    assert taken.read_text() == "precious"
    assert [path.name for path in sorted(tmp_path.iterdir())][:2] == ["disk.000001.swtrace", "disk.000002.swtrace"]
    for path in sorted(tmp_path.iterdir())[:2]:
        assert judged(path).exit_code == Exit.OK
