"""The whole screen and every panel, character by character, at the widths they are made for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.findings.noticing import Noticing
from swiotlb_top.sizing.chart import Ink
from swiotlb_top.sizing.report import answer
from swiotlb_top.sizing.sized import Question
from swiotlb_top.tui.glyphs import ASCII, UNICODE
from swiotlb_top.tui.pages import device_page, findings_page, help_page, size_page
from swiotlb_top.tui.panels import PANELS
from swiotlb_top.tui.screen import plain, render
from swiotlb_top.tui.view import Order, Page, View
from tests.support.doctoring import STALL
from tests.support.drawn import assert_golden, plain_text
from tests.support.screen_docs import PICTURES
from tests.support.snapshots import DEBUGFS, DISK, NVME, PLAYED, QUIET, STALLED, STALLING, STARVED

EMPTY = Frame(QUIET)
ALWAYS = [name for name, panel in PANELS.items() if not panel.optional]
CHOSEN = View(selected={"devices": DISK.dev})


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 50), (300, 60)])
def test_a_stalling_disk_on_the_screen(width: int, height: int) -> None:
    assert_golden(f"screen-{width}", plain_text(render(STALLING, View(), UNICODE, width, height)))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_stalling_disk_as_plain_text(width: int) -> None:
    assert_golden(f"plain-{width}", plain_text(plain(STALLING, UNICODE, width)))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60)])
@pytest.mark.parametrize("name", ["screen", "slots"])
def test_the_recordings_of_the_pictures_on_screens_of_other_sizes(name: str, width: int, height: int) -> None:
    picture = PICTURES[name]._replace(width=width, height=height)
    assert_golden(f"recorded-{name}-{width}", plain_text(picture.lines()))


def test_a_recording_on_the_screen() -> None:
    assert_golden("recording-80", plain_text(render(Frame(PLAYED, QUIET), View(), UNICODE, 80, 24)))


def test_debugfs_alone_where_only_ascii_can_be_shown() -> None:
    assert_golden("debugfs-80-ascii", plain_text(render(Frame(DEBUGFS), View(), ASCII, 80, 24)))


def test_debugfs_alone_as_plain_text() -> None:
    assert_golden("debugfs-plain", plain_text(plain(Frame(DEBUGFS), UNICODE, 200)))


def test_a_machine_on_which_nothing_happened() -> None:
    assert_golden("quiet-80", plain_text(render(EMPTY, View(), UNICODE, 80, 24)))


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("name", ALWAYS)
def test_each_panel(name: str, width: int) -> None:
    drawn = PANELS[name].draw(STALLING, View(focus=name), UNICODE, width, 12)
    assert_golden(f"panel-{name}-{width}", plain_text(drawn))


@pytest.mark.parametrize("name", ALWAYS)
def test_each_panel_with_nothing_in_it(name: str) -> None:
    assert_golden(f"panel-{name}-empty", plain_text(PANELS[name].draw(EMPTY, View(), UNICODE, 80, 12)))


@pytest.mark.parametrize("name", PANELS)
def test_each_panel_with_its_reason_where_the_source_cannot_see_it(name: str) -> None:
    drawn = PANELS[name].draw(Frame(DEBUGFS), View(), UNICODE, 120, 12)
    assert plain_text(drawn).splitlines()[1] == DEBUGFS.unseen
    assert drawn[1].style == "dim"


@pytest.mark.parametrize("width", [80, 200])
def test_a_thousand_devices_sorted_by_what_they_hold(width: int) -> None:
    many = tuple(replace(NVME, dev=number, name=f"device-{number:03}", held_slots=number) for number in range(1000))
    view = View(orders={"devices": Order("held_slots")}, selected={"devices": 900})
    drawn = PANELS["devices"].draw(Frame(replace(STALLED, devices=many), QUIET), view, UNICODE, width, 12)
    assert_golden(f"panel-devices-thousand-{width}", plain_text(drawn))


@pytest.mark.parametrize("width", [80, 200])
def test_all_that_is_known_of_one_device(width: int) -> None:
    assert_golden(f"device-{width}", plain_text(device_page(STALLING, CHOSEN, UNICODE, width)))


@pytest.mark.parametrize("width", [60, 120, 200])
def test_all_durations_of_one_device(width: int) -> None:
    """As a device has them whose every call is recorded: latencies, hold times, and what it held over time."""
    timed = replace(DISK, latencies=(3, 900, 120, 0, 0, 4, 0, 0, 0, 1), holds=(0, 0, 12, 800, 40, 0, 0, 0, 1, 0))
    frame = Frame(replace(QUIET, devices=(timed,)))
    for held_slots in (0, 40, 412, 90):
        later_ns = frame.now.time_ns + 1_000_000_000
        frame = frame.then(replace(frame.now, time_ns=later_ns, devices=(replace(timed, held_slots=held_slots),)))
    assert_golden(f"device-timed-{width}", plain_text(device_page(frame, CHOSEN, UNICODE, width)))


def test_of_a_device_that_holds_nobody_knows_what_no_chart_is_drawn() -> None:
    frame = Frame(replace(QUIET, devices=(replace(DISK, held_slots=-1),)))
    (held,) = (line for line in device_page(frame.then(frame.now), CHOSEN, UNICODE, 80) if "SLOTS" in line.plain)
    assert held.plain.split() == ["SLOTS", "-"]


@pytest.mark.parametrize("width", [80, 200])
def test_the_help(width: int) -> None:
    assert_golden(f"help-{width}", plain_text(help_page(Frame(PLAYED), UNICODE, width)))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60)])
def test_what_is_found_on_the_screen(width: int, height: int) -> None:
    found = Noticing()(STARVED)
    assert_golden(f"found-{width}", plain_text(render(found, View(), UNICODE, width, height)))


@pytest.mark.parametrize("width", [80, 200])
def test_all_that_is_found(width: int) -> None:
    assert_golden(f"findings-{width}", plain_text(findings_page(Noticing()(STARVED), UNICODE, width)))


def test_all_that_is_found_where_nothing_is_wrong() -> None:
    assert_golden("findings-none", plain_text(findings_page(Noticing()(EMPTY), UNICODE, 80)))


def test_all_that_is_found_as_plain_text() -> None:
    assert_golden("found-plain", plain_text(plain(Noticing()(STARVED), UNICODE, 120)))


def sized(recording: Path) -> View:
    """The page of sizes of a recording, when they are known."""
    report = answer([recording.relative_to(Path.cwd())], Question(), None)
    ink = Ink(UNICODE.full, UNICODE.empty, UNICODE.pointer)
    return View(page=Page.SIZE, sized=tuple(report.answer_first(ink)))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
@pytest.mark.parametrize("name", ["stall", "unaligned"])
def test_how_large_it_must_be(name: str, width: int, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(STALL.parents[2])
    view = sized(STALL.parent / f"{name}.swtrace")
    assert_golden(f"size-{name}-{width}", plain_text(render(Frame(PLAYED, QUIET), view, UNICODE, width, height)))


def test_how_large_it_must_be_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(STALL.parents[2])
    assert_golden("size-80-whole", plain_text(size_page(Frame(PLAYED), sized(STALL), UNICODE, 80)))


def test_sizes_while_they_are_computed() -> None:
    computing = render(Frame(PLAYED, QUIET), View(page=Page.SIZE), UNICODE, 80, 24)
    assert_golden("size-computing-80", plain_text(computing))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_of_a_kernel_that_runs_no_size_is_claimed(width: int, height: int) -> None:
    assert_golden(f"size-live-{width}", plain_text(render(STALLING, View(page=Page.SIZE), UNICODE, width, height)))


def test_help_and_device_take_the_panels_place() -> None:
    helped = plain_text(render(STALLING, View(page=Page.HELP), UNICODE, 80, 24))
    assert "KEYS" in helped
    assert "POOLS" not in helped
    device = plain_text(render(STALLING, replace(CHOSEN, page=Page.DEVICE), UNICODE, 80, 24))
    assert "FAILING" in device
    assert "DEVICE 0000:00:04.0 (virtio-pci, vda)" in device
    assert "POOLS" not in device
