"""``swiotlb-top cut``: a part of a recording is a recording that is judged as that part of the whole is."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import swiotlb_top
from swiotlb_top.cli import main
from swiotlb_top.errors import Exit, UnreadableError, UsageError
from swiotlb_top.events import Device, Event, Gap
from swiotlb_top.recorder import record
from swiotlb_top.recording.clock import Moment
from swiotlb_top.recording.cut import Part, cut
from swiotlb_top.recording.info import inspect
from swiotlb_top.reports.replay import replay
from swiotlb_top.state import MemState
from swiotlb_top.stream import End, Known, Records
from swiotlb_top.trace import TraceReader
from swiotlb_top.verify import Verdict
from swiotlb_top.verify.findings import Doubt
from tests.support.doctoring import FOUR_AREAS, FOUR_CPUS, GROWING, STALL
from tests.support.sound_session import SETTING, SoundSession, recorded_from

TRACES = STALL.parent
OLD = TRACES / "debian-6.1-stall.swtrace"
"""It tells no moment of the monotonic clock, and has a second state near its end."""
RECORDINGS = [FOUR_AREAS, FOUR_CPUS, STALL, OLD, TRACES / "unaligned.swtrace", TRACES / "faulty/cve-2023-52790.swtrace"]
SECONDS = 5.0
LOSING = frozenset({40, 41, 42})


def after(seconds: float) -> Moment:
    return Moment(int(seconds * 1e9), on_wall=False)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds of a kernel without a fault: a state at the beginning, and one at the end."""
    path = tmp_path_factory.mktemp("sound") / "sound.swtrace"
    with recorded_from(SoundSession(1)):
        record(path, SECONDS, ())
    return path


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with lost events in the midst of it, after which a state was read."""
    path = tmp_path_factory.mktemp("lossy") / "lossy.swtrace"
    with recorded_from(SoundSession(1, losing=LOSING)):
        record(path, SECONDS, ())
    return path


def events_of(path: Path) -> list[Event]:
    return [event for item in TraceReader(path) if isinstance(item, Records) for event in item.events()]


def states_of(path: Path) -> list[MemState]:
    return [item for item in TraceReader(path) if isinstance(item, MemState)]


Row = tuple[str | None, int | None]


@cache
def verdicts(path: Path) -> dict[tuple[int, int | None], Row]:
    """What is said of each map, and its time on the wall clock, by its time and CPU."""
    rows = swiotlb_top.open(path).mappings()
    return {(row.map_ns, row.cpu): (row.verdict, row.map_wall_ns) for row in rows if row.map_ns is not None}


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
@settings(deadline=None, max_examples=12)
@given(begin=st.floats(0, 0.9), end=st.floats(0.05, 1.1))
def test_each_call_of_a_part_is_judged_as_it_is_in_the_whole(
    path: Path, begin: float, end: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    length_ns = inspect(path).found.length_ns
    copy = tmp_path_factory.mktemp("parts") / "part.swtrace"
    first, last = (Moment(int(length_ns * share), on_wall=False) for share in (begin, end))
    try:
        cut(path, copy, first, last)
    except UsageError:
        assert not copy.exists()
        return
    whole, part = verdicts(path), verdicts(copy)
    assert {call: wall_ns for call, (_, wall_ns) in part.items()} == {call: whole[call][1] for call in part}
    differing = {call: (said, whole[call][0]) for call, (said, _) in part.items() if said != whole[call][0]}
    # At its end a disagreement cannot be confirmed, since calls to come might explain it.
    assert {*differing.values()} <= {("inconclusive", "disagree")}
    assert replay(copy).damage == ""


@settings(deadline=None, max_examples=40)
@given(begin=st.floats(0, SECONDS), length=st.floats(0.1, SECONDS))
def test_wherever_it_is_cut_a_sound_kernel_is_agreed_with(
    begin: float, length: float, sound: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = tmp_path_factory.mktemp("parts") / "part.swtrace"
    part = cut(sound, copy, after(begin), after(begin + length))
    replayed = replay(copy, SETTING.revision)
    assert (replayed.verdict, replayed.miscounts, replayed.damage) == (Verdict.AGREE, (), "")
    calls = [event for event in events_of(copy) if not isinstance(event, Device)]
    assert calls == [
        event
        for event in events_of(sound)
        if part.state.begin_ns <= event.exit_ns < part.end_ns and not isinstance(event, Device)
    ]


def test_it_has_what_was_over_before_the_end_and_says_that_nothing_is_missing(sound: Path, tmp_path: Path) -> None:
    copy = tmp_path / "part.swtrace"
    part = cut(sound, copy, None, after(2.5))
    first_ns = states_of(sound)[0].begin_ns
    asked_ns = first_ns + 2_500_000_000
    assert asked_ns - 500_000_000 < part.end_ns <= asked_ns
    assert max(event.exit_ns for event in events_of(copy)) < part.end_ns
    known, end = [*TraceReader(copy)][-2:]
    assert known == Known(part.end_ns)
    assert end == End({}, part.end_ns - first_ns, 0)


def test_no_call_was_under_way_at_its_end(sound: Path, tmp_path: Path) -> None:
    part = cut(sound, tmp_path / "part.swtrace", None, after(2.5))
    begun = [event for event in events_of(sound) if 0 <= getattr(event, "entry_ns", event.exit_ns) < part.end_ns]
    assert all(event.exit_ns < part.end_ns for event in begun)


def test_it_begins_with_the_last_state_before_and_says_so(lossy: Path, tmp_path: Path) -> None:
    first, second, _ = states_of(lossy)
    later_s = (second.begin_ns - first.begin_ns) / 1e9
    for begin_s, state in ((later_s - 0.1, first), (later_s + 0.1, second), (later_s + 1, second)):
        copy = tmp_path / f"{begin_s}.swtrace"
        part = cut(lossy, copy, after(begin_s), None)
        assert states_of(copy)[0] == part.state == state
        at_s = (state.begin_ns - first.begin_ns) / 1e9
        assert part.in_words() == f"{at_s:.3f} s, where the last state before {begin_s:.3f} s was recorded, to the end"


def test_before_the_first_state_it_cannot_begin(tmp_path: Path) -> None:
    path = tmp_path / "whole.swtrace"
    with recorded_from(SoundSession(1, losing=frozenset({1, 2, 3}))):
        record(path, 1.0, ())
    first, *_ = TraceReader(path).stream()
    assert isinstance(first, Gap)
    part = cut(path, tmp_path / "part.swtrace", None, None)
    assert part.state == states_of(path)[0]
    assert part.in_words().endswith(" s, where the first state was recorded, to the end")
    assert replay(tmp_path / "part.swtrace", SETTING.revision).exit_code == Exit.OK


def test_from_a_later_state_on_devices_are_introduced_and_all_is_judged(lossy: Path, tmp_path: Path) -> None:
    copy = tmp_path / "part.swtrace"
    cut(lossy, copy, after(4), None)
    replayed = replay(copy, SETTING.revision)
    assert (replayed.verdict, replayed.lost, replayed.miscounts) == (Verdict.AGREE, 0, ())
    assert replayed.findings.compared > 0
    assert replay(lossy, SETTING.revision).verdict is Verdict.INCONCLUSIVE
    before, found = inspect(lossy).found, inspect(copy).found
    assert found.names == before.names
    assert found.length_ns < before.length_ns
    assert not any(isinstance(item, Gap) for item in TraceReader(copy))


def test_losses_that_are_in_it_are_told(lossy: Path, tmp_path: Path) -> None:
    copy = tmp_path / "part.swtrace"
    cut(lossy, copy, None, after(4))
    assert replay(copy, SETTING.revision).lost == replay(lossy, SETTING.revision).lost > 0
    assert {*replay(copy, SETTING.revision).findings.doubts} <= {Doubt.AFTER_GAP, Doubt.OLDER_POOL}


@pytest.mark.parametrize("path", [*RECORDINGS, GROWING], ids=lambda path: path.stem)
def test_all_of_it_is_all_of_it(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "part.swtrace"
    cut(path, copy, None, None)
    assert [*TraceReader(copy)] == [*TraceReader(path)]


def test_a_later_part_of_an_old_recording_has_the_same_times_on_the_wall_clock(tmp_path: Path) -> None:
    copy = tmp_path / "part.swtrace"
    first, second = states_of(OLD)
    cut(OLD, copy, after((second.begin_ns - first.begin_ns) / 1e9), None)
    whole, part = verdicts(OLD), verdicts(copy)
    assert part
    assert part.items() <= whole.items()


def test_a_moment_of_the_wall_clock_is_that_moment(sound: Path, tmp_path: Path) -> None:
    header = TraceReader(sound).header
    first_ns = states_of(sound)[0].begin_ns
    wall_ns = header.started_realtime_ns + first_ns + 2_500_000_000 - header.started_monotonic_ns
    by_wall = cut(sound, tmp_path / "wall.swtrace", None, Moment(wall_ns, on_wall=True))
    assert by_wall == cut(sound, tmp_path / "seconds.swtrace", None, after(2.5))


# ---- what cannot be ----------------------------------------------------------


def damaged(path: Path, directory: Path) -> Path:
    """The first two thirds of it."""
    content = path.read_bytes()
    broken = directory / "broken.swtrace"
    broken.write_bytes(content[: len(content) * 2 // 3])
    return broken


def test_of_a_recording_without_an_end_the_part_before_can_be_had(sound: Path, tmp_path: Path) -> None:
    copy = tmp_path / "part.swtrace"
    cut(damaged(sound, tmp_path), copy, None, after(2))
    assert replay(copy, SETTING.revision).exit_code == Exit.OK


def test_what_cannot_be_read_is_not_written(sound: Path, tmp_path: Path) -> None:
    broken = damaged(sound, tmp_path)
    with pytest.raises(
        UnreadableError, match=r"is truncated at byte .*; what precedes that can be had with an earlier --to$"
    ):
        cut(broken, tmp_path / "part.swtrace", None, None)
    assert [*tmp_path.iterdir()] == [broken]


@pytest.mark.parametrize(
    ("begin", "end", "says"),
    [
        (after(2), after(1), "--to is not after --from"),
        (after(1), after(1), "--to is not after --from"),
        (None, after(0), "--to is not after --from, or not after the recording's beginning"),
        (None, Moment(0, on_wall=True), "--to is not after --from, or not after the recording's beginning"),
        (None, Moment(1, on_wall=False), "--to is not after the state with which the part would begin"),
        (after(100), None, r"nothing was recorded from --from on: the last call was over after 5\.\d+ s"),
    ],
)
def test_where_there_is_nothing_that_is_said(
    begin: Moment | None, end: Moment | None, says: str, sound: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says):
        cut(sound, tmp_path / "part.swtrace", begin, end)
    assert [*tmp_path.iterdir()] == []


def test_a_part_that_ends_later_than_the_recording_ends_with_it(sound: Path, tmp_path: Path) -> None:
    part = cut(sound, tmp_path / "part.swtrace", None, after(1e6))
    assert part.in_words() == "0.000 s to the end"


# ---- the command ---------------------------------------------------------------


def test_it_says_what_it_wrote_and_where_that_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "part.swtrace"
    assert main(["cut", str(STALL), "-o", str(copy), "--from", "1s", "--to", "2s"]) == Exit.OK
    assert capsys.readouterr().out.splitlines() == [
        f"{copy}: {copy.stat().st_size:,} bytes",
        "0.000 s, where the last state before 1.000 s was recorded, to 2.000 s",
    ]


@pytest.mark.parametrize(
    ("moment", "says"),
    [
        ("soon", "'soon' is no moment: give seconds from the beginning"),
        ("2026-11-29", "2026-11-29 has no zone"),
        ("2026-11-29T03:02:01", "2026-11-29T03:02:01 has no zone: add Z for UTC, or one as in +02:00"),
        ("-1", "is no moment"),
    ],
)
def test_what_is_no_moment_is_a_usage_error(
    moment: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cut", str(STALL), "-o", str(tmp_path / "part.swtrace"), "--to", moment]) == Exit.USAGE
    assert says in capsys.readouterr().err


def test_the_time_that_info_says_can_be_given(tmp_path: Path) -> None:
    found = inspect(STALL).as_json()
    parts: list[Part] = []
    for name, moment in (("wall", found["begin_wall"]), ("seconds", "0")):
        copy = tmp_path / f"{name}.swtrace"
        assert main(["cut", str(STALL), "-o", str(copy), "--from", str(moment), "--to", "1"]) == Exit.OK
        parts.append(cut(copy, tmp_path / f"{name}-again.swtrace", None, None))
    assert parts[0].state == parts[1].state
