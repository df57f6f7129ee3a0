"""What the screen promises beyond its golden frames: any size, any snapshot, any name."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rich.console import Console

from swiotlb_top.accounting.snapshot import VerdictView
from swiotlb_top.sources.frame import Frame
from swiotlb_top.tui.glyphs import ASCII, UNICODE, Glyphs, for_encoding
from swiotlb_top.tui.screen import render, split_rows
from tests.unit.snapshots import DISK, NVME, QUIET, SECOND_NS, STALLED, STALLING


def drawn(
    frame: Frame, width: int = 80, height: int | None = None, glyphs: Glyphs = UNICODE, colours: bool = False
) -> str:
    console = Console(
        width=width,
        force_terminal=colours,
        color_system="standard" if colours else None,
        highlight=False,
        markup=False,
    )
    with console.capture() as capture:
        console.print(render(frame, glyphs, width, height, "q quits"))
    return capture.get()


def test_nothing_known_is_still_a_screen() -> None:
    empty = replace(QUIET, nslabs=0, kernel_release="", reason="")
    text = drawn(Frame(empty))
    assert "0 of 0 used (-%)" in text
    assert "POOL" not in text
    assert "DEVICE" not in text


@pytest.mark.parametrize("width", [1, 8, 9, 10, 20, 39])
def test_no_width_is_too_narrow(width: int) -> None:
    assert "q" in drawn(STALLING, width)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_screen_whatever_the_names_and_numbers(width: int) -> None:
    huge = replace(
        DISK, name="wireless-" * 9, driver="driver-" * 9, maps=10**13, mapped_bytes=10**18, map_failures=10**9
    )
    pools = tuple(replace(pool, start=(1 << 52) - 1, nslabs=1 << 20, used_slots=1 << 20) for pool in STALLED.pools)
    frame = Frame(replace(STALLED, devices=(huge,), pools=pools), QUIET)
    table = drawn(frame, width).split("POOL START")[1]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= width
    assert "100" in table


def test_a_thousand_devices_fit_the_height_and_the_failing_one_is_first() -> None:
    many = tuple(replace(NVME, dev=number, name=f"device-{number}") for number in range(999))
    text = drawn(Frame(replace(STALLED, devices=(*many, DISK)), QUIET), height=40)
    lines = text.splitlines()
    assert len(lines) <= 40
    assert lines[next(i for i, line in enumerate(lines) if line.startswith("DEVICE")) + 1].startswith("0000:00:04.0")
    hidden = re.search(r"… (\d+) more", text)
    assert hidden is not None
    assert int(hidden[1]) + text.count("device-") + 1 == 1000


def test_plain_frames_hide_no_device() -> None:
    many = tuple(replace(NVME, dev=number, name=f"device-{number:03}") for number in range(1000))
    assert drawn(Frame(replace(STALLED, devices=many), QUIET)).count("device-") == 1000


@pytest.mark.parametrize(
    ("free", "pools", "devices", "shares"),
    [
        (30, 3, 5, (3, 27)),  # both fit
        (12, 100, 100, (4, 8)),  # a third for the pools
        (12, 100, 2, (10, 2)),  # devices need little
        (-5, 3, 3, (1, 1)),  # no room at all: a row each
        (10, 0, 50, (0, 10)),
    ],
)
def test_rows_that_one_table_does_not_need_go_to_the_other(
    free: int, pools: int, devices: int, shares: tuple[int, int]
) -> None:
    assert split_rows(free, pools, devices) == shares


def test_a_failing_device_is_named_with_rate_and_cause_in_words() -> None:
    text = drawn(STALLING)
    assert "FAILING  0000:00:04.0 (virtio-pci): 230 failed maps/s" in text
    assert "needs 128 contiguous slots, longest free run 126" in text


def test_of_several_failing_devices_the_worst_is_named_with_its_own_rate_and_the_rest_counted() -> None:
    other = replace(DISK, dev=1, name="0000:00:06.0", map_failures=1000, last_failure="longer than 128 slots")
    text = drawn(Frame(replace(STALLED, map_failures=1230, devices=(DISK, other, NVME)), QUIET))
    assert "FAILING  0000:00:06.0 (virtio-pci): 1000 failed maps/s; 1 more device below" in text
    assert "why      longer than 128 slots" in text


def test_failures_that_ended_are_not_called_failing() -> None:
    later = replace(STALLED, time_ns=STALLED.time_ns + SECOND_NS)
    text = drawn(Frame(later, STALLED))
    assert "FAILING" not in text
    assert "failed   0000:00:04.0 (virtio-pci): 230 maps since the start" in text


def test_failures_of_no_known_device_are_still_headlined() -> None:
    assert "unknown device: 230 failed" in drawn(Frame(replace(STALLED, devices=()), QUIET))


def test_a_source_that_fails_is_said_above_its_last_numbers() -> None:
    text = drawn(replace(STALLING, failure="no permission to read /sys/kernel/debug: run as root"))
    assert "stale    the source fails: no permission" in text
    assert "415 of 2,560" in text


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


def test_colours_add_nothing_that_words_do_not_say() -> None:
    coloured = re.sub(r"\x1b\[[0-9;]*m", "", drawn(STALLING, colours=True))
    assert "\x1b[1;31m" in drawn(STALLING, colours=True)
    assert coloured == drawn(STALLING)


def test_names_cannot_reach_the_terminal_with_escape_codes_or_markup() -> None:
    evil = replace(DISK, name="\x1b]0;x\x07[red]n", driver="\udcff\n\x9b", last_failure="\x1b[2J")
    text = drawn(Frame(replace(STALLED, devices=(evil,), kernel_release="6\r\n"), QUIET))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", text)
    assert "[red]n" in text


def test_an_encoding_without_the_characters_gets_ascii() -> None:
    name = replace(DISK, name="gerät-" * 20)
    text = drawn(Frame(replace(STALLED, devices=(name,)), QUIET), height=20, glyphs=ASCII)
    assert text.isascii()
    assert "#" in text


@pytest.mark.parametrize(
    ("encoding", "glyphs"),
    [("utf-8", UNICODE), ("UTF8", UNICODE), ("ascii", ASCII), ("latin-1", ASCII), ("nonsense", ASCII), (None, ASCII)],
)
def test_the_encoding_decides_the_characters(encoding: str | None, glyphs: Glyphs) -> None:
    assert for_encoding(encoding) is glyphs


def test_a_little_use_is_never_drawn_as_none() -> None:
    assert "█" in drawn(Frame(replace(QUIET, used_slots=1)))
    assert "█" not in drawn(Frame(QUIET))
