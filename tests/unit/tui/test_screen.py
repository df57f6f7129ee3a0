"""What the screen promises beyond its golden frames: any size, any snapshot, any name."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import Playback, VerdictView
from swiotlb_top.findings.noticing import Noticing
from swiotlb_top.findings.watched import Watched
from swiotlb_top.reports.check import CheckReport
from swiotlb_top.tui import styles
from swiotlb_top.tui.glyphs import ASCII, UNICODE, Glyphs, for_encodings
from swiotlb_top.tui.panels import PANELS
from swiotlb_top.tui.screen import plain, render, share
from swiotlb_top.tui.view import PLAIN, Page, View
from tests.support.doctoring import GROWING, STALL
from tests.support.drawn import plain_text
from tests.support.screen_docs import SHOWN_NS, frame_at
from tests.support.snapshots import DISK, NVME, PLAYED, QUIET, SECOND_NS, STALLED, STALLING, STARVED


def drawn(frame: Frame, width: int = 80, height: int = 40, glyphs: Glyphs = UNICODE, view: View = PLAIN) -> str:
    return plain_text(render(frame, view, glyphs, width, height))


def printed(frame: Frame, width: int = 200, glyphs: Glyphs = UNICODE) -> str:
    return plain_text(plain(frame, glyphs, width))


@pytest.mark.parametrize("frame", [STALLING, Frame(PLAYED)], ids=["live", "recording"])
@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_footer_has_the_keys_that_are_needed_most_at_every_width(frame: Frame, width: int) -> None:
    footer = drawn(frame, width).splitlines()[-1]
    for key in ("q quit", "? help", "Enter open", "p pause", "/ filter", "Tab panel", "s sort"):
        assert key in footer


def test_a_narrow_footer_has_as_many_keys_as_fit_and_begins_with_how_to_leave() -> None:
    assert drawn(STALLING, 20).splitlines()[-1] == "q quit  ? help"
    assert drawn(STALLING, 3).splitlines()[-1] == "q q"


def test_nothing_known_is_still_a_screen() -> None:
    empty = replace(QUIET, nslabs=0, kernel_release="", reason="")
    assert "0 of 0 used (-%)" in drawn(Frame(empty))
    text = printed(Frame(empty))
    assert "POOL" not in text
    assert "DEVICE" not in text


@pytest.mark.parametrize("width", [1, 8, 9, 10, 20, 39, 149, 150, 300])
@pytest.mark.parametrize("height", [1, 2, 3, 10, 24, 100])
@pytest.mark.parametrize("page", Page)
def test_every_size_is_filled_and_none_exceeded(width: int, height: int, page: Page) -> None:
    view = View(page=page, selected={"devices": DISK.dev})
    lines = render(STALLING, view, UNICODE, width, height)
    assert len(lines) == height
    assert max(len(line.plain) for line in lines) <= width
    assert lines[-1].plain.startswith("q")


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_screen_whatever_the_names_and_numbers(width: int) -> None:
    huge = replace(
        DISK, name="wireless-" * 9, driver="driver-" * 9, maps=10**13, mapped_bytes=10**18, map_failures=10**9
    )
    pools = tuple(replace(pool, start=(1 << 52) - 1, nslabs=1 << 20, used_slots=1 << 20) for pool in STALLED.pools)
    frame = Frame(replace(STALLED, devices=(huge,), pools=pools), QUIET)
    for panel in ("pools", "devices", "failures"):
        lines = PANELS[panel].draw(frame, PLAIN, UNICODE, width, 20)
        assert max(len(line.plain.rstrip()) for line in lines) <= width


def test_a_thousand_devices_fit_the_height_and_the_failing_one_is_first() -> None:
    many = tuple(replace(NVME, dev=number, name=f"device-{number}") for number in range(999))
    text = drawn(Frame(replace(STALLED, devices=(*many, DISK)), QUIET), height=40)
    lines = text.splitlines()
    assert len(lines) == 40
    assert lines[next(i for i, line in enumerate(lines) if line.startswith("DEVICE")) + 1].startswith("0000:00:04.0")
    hidden = re.search(r"… (\d+) more", text)
    assert hidden is not None
    assert int(hidden[1]) + text.count("device-") + 1 == 1000


def test_plain_frames_hide_no_device() -> None:
    many = tuple(replace(NVME, dev=number, name=f"device-{number:03}") for number in range(1000))
    assert printed(Frame(replace(STALLED, devices=many), QUIET)).count("device-") == 1000


@pytest.mark.parametrize(
    ("room", "wanted", "focus", "shares"),
    [
        (40, [5, 4, 3], 0, [5, 4, 3]),  # all fit
        (20, [50, 50, 50], 0, [14, 3, 3]),  # the focused has what the others' first rows leave
        (20, [50, 50, 50], 2, [3, 3, 14]),
        (20, [4, 50, 50], 0, [4, 13, 3]),  # what it does not want is the next one's
        (8, [50, 50, 50, 50, 50], 0, [4, 1, 1, 1, 1]),  # shut but for their titles
        (3, [50, 50, 50, 50, 50], 4, [1, 1, 0, 0, 1]),  # not even titles for all
        (0, [5, 5], 0, [0, 0]),
        (-3, [5, 5], 0, [0, 0]),
    ],
)
def test_lines_are_shared_among_panels(room: int, wanted: list[int], focus: int, shares: list[int]) -> None:
    assert share(room, wanted, focus) == shares


def test_what_is_urgent_is_opened_before_what_is_not_and_a_panel_without_a_head_for_less() -> None:
    assert share(12, [50, 50, 50, 50], 0, urgent=[2]) == [6, 1, 4, 1]
    assert share(12, [50, 50, 50, 50], 0, urgent=[2, 3]) == [5, 1, 3, 3]
    assert share(8, [3, 3, 3], 0) == [3, 3, 1]
    assert share(8, [3, 3, 3], 0, least=[3, 3, 2]) == [3, 3, 2]


def test_where_maps_failed_the_failures_have_a_row_on_the_smallest_screen() -> None:
    frame = frame_at(STALL, SHOWN_NS)
    lines = drawn(frame, 80, 24).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("─ FAILURES"))
    assert lines[at + 2].startswith("0.0s    498  0000:00:04.0")


@pytest.mark.parametrize(
    ("map_failures", "says"),
    [(0, "no failed map was recorded"), (2600, "2,600 failed maps counted, none of them recorded")],
)
def test_that_no_failure_was_recorded_does_not_say_that_there_was_none(map_failures: int, says: str) -> None:
    frame = Frame(replace(QUIET, map_failures=map_failures))
    assert any(line.startswith(f"─ FAILURES: {says}") for line in drawn(frame).splitlines())


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60)])
def test_what_is_used_now_does_not_contradict_why_maps_fail(width: int, height: int) -> None:
    text = drawn(frame_at(STALL, SHOWN_NS), width, height)
    assert "why      needs 128 slots, 127 of 256 are free" in text
    assert "0 of 256 used (0.0%) now, 129 at a failure 1.0s ago" in text
    assert "longest free 128 now, 127 then" in text


def test_a_gauge_is_there_also_where_much_is_said_beside_the_peak() -> None:
    own = replace(STALLED, hiwater_is_own=True, used_hiwater_slots=1_143)
    slots, peak = (line for line in drawn(Frame(own, QUIET), 80).splitlines() if line.startswith(("slots", "peak")))
    assert "memory 5 MiB" in slots
    assert peak.startswith("peak     \N{MEDIUM SHADE}")
    assert peak.endswith("since attaching \N{MIDDLE DOT} transient 40")


def test_where_nothing_fails_nothing_is_said_of_then() -> None:
    text = drawn(frame_at(GROWING, 3 * SECOND_NS), 120, 40)
    assert "126 of 2,560 used (4.9%) \N{MIDDLE DOT} memory 5 MiB\n" in text
    assert " then" not in text


def test_of_a_recording_the_advice_is_how_to_learn_the_size_and_then_the_size() -> None:
    frame = frame_at(STALL, SHOWN_NS)
    assert "advice   If it is load, a larger pool helps: S says which swiotlb= is enough" in drawn(frame, 120)
    answer = "boot with at least swiotlb=512,1 (1 MiB; 512 KiB more than today)"
    assert f"advice   {answer}" in drawn(frame, 120, view=View(sized=(answer, "how sure: ...")))
    assert "advice   If it is load" in drawn(frame, 120, view=View(sized=("nothing can be said: ...",)))
    live = Noticing()(STARVED)
    assert "advice   If it is load, a larger pool helps: swiotlb-top record -o FILE" in drawn(
        live, 120, view=View(sized=(answer,))
    )


def test_of_a_recording_nobody_is_told_to_record_first() -> None:
    disputed = VerdictView("6.6", 10, 9, 1, 0, 0, "not slot 10")
    shown = replace(PLAYED, verdict=disputed)
    assert "advice   swiotlb-top replay FILE has the evidence" in drawn(Noticing()(Frame(shown, QUIET)), 120)
    live = replace(STALLED, verdict=disputed)
    assert "advice   swiotlb-top record -o FILE; then swiotlb-top replay" in drawn(Noticing()(Frame(live, QUIET)), 120)


def test_what_is_cut_off_ends_with_an_ellipsis() -> None:
    for glyphs in (UNICODE, ASCII):
        (line,) = (line for line in drawn(frame_at(STALL, SHOWN_NS), 60, 40, glyphs).splitlines() if "MOMENT" in line)
        assert line.endswith(glyphs.ellipsis)


def test_a_demonstration_has_a_bar_of_its_own_colour() -> None:
    for demo, style in ((True, styles.WARN), (False, styles.BAR)):
        title = render(Frame(replace(PLAYED, demo=demo), QUIET), PLAIN, UNICODE, 80, 24)[0]
        assert [(span.start, span.end) for span in title.spans if span.style == style] == [(0, 80)]


@given(st.integers(-5, 100), st.lists(st.integers(1, 200), min_size=1, max_size=6), st.data())
def test_no_panel_gets_more_than_it_wants_and_all_together_no_more_than_there_is(
    room: int, wanted: list[int], data: st.DataObject
) -> None:
    given_out = share(room, wanted, data.draw(st.integers(0, len(wanted) - 1)))
    assert sum(given_out) <= max(room, 0)
    assert all(0 <= lines <= most for lines, most in zip(given_out, wanted, strict=True))


def test_a_failing_device_is_named_with_rate_and_cause_in_words() -> None:
    text = drawn(STALLING)
    assert "FAILING  0000:00:04.0 (virtio-pci, vda): 230 failed maps/s" in text
    assert "needs 128 contiguous slots, longest free run 126" in text


def test_of_several_failing_devices_the_worst_is_named_with_its_own_rate_and_the_rest_counted() -> None:
    other = replace(DISK, dev=1, name="0000:00:06.0", map_failures=1000, last_failure="longer than 128 slots")
    text = drawn(Frame(replace(STALLED, map_failures=1230, devices=(DISK, other, NVME)), QUIET))
    assert "FAILING  0000:00:06.0 (virtio-pci, vda): 1000 failed maps/s; 1 more device" in text
    assert "why      longer than 128 slots" in text


def test_failures_that_ended_are_not_called_failing() -> None:
    later = replace(STALLED, time_ns=STALLED.time_ns + SECOND_NS)
    text = drawn(Frame(later, STALLED))
    assert "FAILING" not in text
    assert "failed   0000:00:04.0 (virtio-pci, vda): 230 maps failed in the 3.0s watched" in text


def test_failures_of_no_known_device_are_still_headlined() -> None:
    assert "unknown device: 230 failed" in drawn(Frame(replace(STALLED, devices=()), QUIET))


def test_a_source_that_fails_is_said_above_its_last_numbers() -> None:
    text = drawn(replace(STALLING, failure="no permission to read /sys/kernel/debug: run as root"))
    assert "stale    the source fails: no permission" in text
    assert "415 of 2,600" in text


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (
            VerdictView("6.6", 10, 9, 1, 0, 0, "not slot 10"),
            ("disagree", "1 disagree", "not slot 10"),
        ),
        (VerdictView("6.6", 10, 10, 0, 0, 2), ("disagree", "2 unsafe")),
        (VerdictView("6.6", 10, 9, 0, 1, 0), ("inconclusive", "1 inconclusive")),
        (VerdictView("6.6", 0, 0, 0, 0, 0), ("inconclusive", "0 compared")),
    ],
)
def test_the_verdict_is_a_word_before_it_is_a_colour(verdict: VerdictView, words: tuple[str, ...]) -> None:
    line = drawn(Frame(replace(STALLED, verdict=verdict))).split("verdict  ")[1]
    assert line.startswith(words[0])
    for word in words:
        assert word in line


def test_what_is_wrong_is_loud_and_says_so_without_its_colour() -> None:
    lines = render(STALLING, PLAIN, UNICODE, 80, 24)
    loud = [line.plain[span.start : span.end] for line in lines for span in line.spans if span.style == styles.BAD]
    assert loud == ["0000:00:04.0 (virtio-pci, vda): 230 failed maps/s", "failed 230/s", "230", "failing"]


def test_names_cannot_reach_the_terminal_with_escape_codes_or_markup() -> None:
    evil = replace(DISK, name="\x1b]0;x\x07[red]n", driver="\udcff\n\x9b", last_failure="\x1b[2J")
    text = printed(Frame(replace(STALLED, devices=(evil,), kernel_release="6\r\n"), QUIET))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", text)
    assert "[red]n" in text


def test_who_fails_and_who_holds_stand_in_one_line_under_the_headline() -> None:
    lines = drawn(Noticing()(STARVED), 120).splitlines()
    assert lines[1].startswith("FAILING  0000:00:04.0")
    (found,) = (line for line in lines if line.startswith("found"))
    assert found == (
        "found    full: 0000:00:04.0 fails; 0000:00:05.0 holds 210 of 256 slots \N{MIDDLE DOT} also nearly_full"
    )


def test_what_a_small_screen_leaves_out_is_not_what_is_found_nor_that_the_source_fails() -> None:
    lines = drawn(replace(Noticing()(STARVED), failure="gone away"), 80, 16).splitlines()
    assert "stale    the source fails: gone away" in lines
    assert any(line.startswith("found    full: 0000:00:04.0 fails; 0000:00:05.0 holds 210") for line in lines)


def test_the_page_of_findings_has_all_that_check_says() -> None:
    watched = Watched()
    watched.add(STARVED)
    frame = Noticing()(STARVED)
    shown = " ".join(drawn(frame, 200, 100, view=View(page=Page.FINDINGS)).split())
    report = CheckReport.of(watched)
    assert len(report.findings) == 2
    for finding in report.findings:
        for said in (finding.meaning, finding.sentence, *finding.evidence, *finding.advice):
            assert " ".join(said.split()) in shown


def test_names_in_findings_cannot_reach_the_terminal_either() -> None:
    hostile = replace(STARVED.now, devices=tuple(replace(d, name=f"{d.name}\x1b[2J") for d in STARVED.now.devices))
    frame = Noticing()(replace(STARVED, now=hostile))
    for view in (PLAIN, View(page=Page.FINDINGS)):
        assert "\x1b" not in drawn(frame, 200, 60, view=view)


def test_an_encoding_without_the_characters_gets_ascii() -> None:
    name = replace(DISK, name="gerät-" * 20)
    frame = Frame(replace(STALLED, devices=(name,)), QUIET, history=STALLING.history, journal=STALLING.journal)
    text = drawn(frame, glyphs=ASCII) + printed(frame, glyphs=ASCII)
    assert text.isascii()
    assert "#" in text


@pytest.mark.parametrize(
    ("encoding", "glyphs"),
    [("utf-8", UNICODE), ("UTF8", UNICODE), ("ascii", ASCII), ("latin-1", ASCII), ("nonsense", ASCII), (None, ASCII)],
)
def test_the_encoding_decides_the_characters(encoding: str | None, glyphs: Glyphs) -> None:
    assert for_encodings(encoding) is glyphs


def test_output_and_locale_must_agree_on_utf_8() -> None:
    assert for_encodings("utf-8", "UTF-8") is UNICODE
    assert for_encodings("utf-8", "ANSI_X3.4-1968") is ASCII


def test_a_paused_screen_says_so_and_how_to_go_on() -> None:
    assert "PAUSED, p goes on" in drawn(STALLING, view=View(paused=STALLING)).splitlines()[0]


def test_a_recording_says_where_it_is_and_how_fast() -> None:
    assert "▶ 2x at 1.5s of 8.0s" in drawn(Frame(PLAYED)).splitlines()[0]
    stopped = replace(PLAYED, playback=Playback(1_500_000_000, -1, 1.0, stopped=True))
    assert "stopped at 1.5s" in drawn(Frame(stopped)).splitlines()[0]
    ended = replace(PLAYED, playback=Playback(8_000_000_000, 8_000_000_000, 1.0, stopped=False))
    assert "ended at 8.0s" in drawn(Frame(ended)).splitlines()[0]


def test_a_filter_that_leaves_nothing_says_what_it_was() -> None:
    assert "none match 'nothing'" in drawn(STALLING, view=View(filters={"devices": "nothing"}))
