"""What stands in a pipe: greppable text without escape codes, or JSON."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from swiotlb_top.accounting import fields
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.findings.noticing import Noticing
from swiotlb_top.tui.console import open_console
from swiotlb_top.tui.glyphs import UNICODE
from swiotlb_top.tui.json_frames import write_frames
from swiotlb_top.tui.plain import print_frames
from tests.support.snapshots import DEBUGFS, DISK, QUIET, STALLED, STALLING, STARVED


def printed(*frames: Frame) -> str:
    output = io.StringIO()
    print_frames(frames, open_console(output), UNICODE)
    return output.getvalue()


@pytest.fixture(autouse=True)
def no_terminal_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)


def test_no_escape_codes_even_where_colours_are_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b" not in printed(STALLING)


def test_a_sentence_is_one_line_however_long() -> None:
    sentence = "needs 128 contiguous slots, " * 20
    text = printed(Frame(replace(STALLED, devices=(replace(DISK, last_failure=sentence),)), QUIET))
    told = f"why      {sentence} \N{MIDDLE DOT} fragmented 228, too_large 2"
    assert [line for line in text.splitlines() if line.startswith("why")] == [told]


def test_lines_are_wrapped_only_where_columns_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    above_the_tables = printed(STALLING).split("DEVICES")[0]
    assert max(len(line) for line in above_the_tables.splitlines()) <= 40


def test_no_trailing_blanks_and_an_empty_line_between_frames() -> None:
    text = printed(STALLING, STALLING)
    assert all(line == line.rstrip() for line in text.splitlines())
    assert text.count("swiotlb-top") == 2
    assert "\n\nswiotlb-top" in text
    assert not text.startswith("\n")


def test_of_tens_of_thousands_of_pools_a_thousand_are_shown_and_the_others_counted() -> None:
    pool = replace(STALLED.pools[0], transient=True, default=False)
    pools = tuple(replace(pool, start=pool.start + (at << 24)) for at in range(20_000))
    lines = printed(Frame(replace(QUIET, pools=pools), QUIET)).splitlines()
    assert sum(" transient " in f" {line} " for line in lines) < 1100
    assert f"{UNICODE.ellipsis} 19001 more" in lines


def as_json(*frames: Frame) -> list[dict[str, object]]:
    output = io.StringIO()
    write_frames(frames, output)
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_a_frame_is_one_json_object_a_line() -> None:
    first, second = as_json(STALLING, STALLING)
    assert first == second
    assert first["map_failures_per_second"] == 230.0
    assert first["verdict"] == {
        "word": "agree",
        "revision": "6.10",
        "compared": 14_400,
        "agree": 14_400,
        "disagree": 0,
        "inconclusive": 0,
        "safety_violations": 0,
        "first_disagreement": "",
    }


def test_json_devices_have_rates_and_causes() -> None:
    (frame,) = as_json(STALLING)
    devices = frame["devices"]
    assert isinstance(devices, list)
    disk = devices[1]
    assert (disk["maps_per_second"], disk["held_maps"], disk["held_slots"]) == (14_000.0, 4, 412)
    assert (disk["map_p99_ns"], disk["sizes"][7]) == (21_000, 1_230)
    assert disk["causes"] == {"fragmented": 228, "too_large": 2}
    assert disk["askers"][0]["functions"][:2] == ["virtqueue_add_sgs", "virtblk_add_req"]
    assert [asker["failures"] for asker in disk["askers"]] == [229, 1]


def test_json_findings_say_whose_it_is_and_who_holds() -> None:
    (frame,) = as_json(Noticing()(STARVED))
    findings = frame["findings"]
    assert isinstance(findings, list)
    assert [finding["kind"] for finding in findings] == ["full", "nearly_full"]
    assert findings[0]["sentence"] == "0000:00:04.0 fails; 0000:00:05.0 holds 210 of 256 slots"
    assert (findings[0]["holder"]["device"], findings[0]["holder"]["oldest_open_ns"]) == ("0000:00:05.0", 3_000_000_000)


def test_json_failures_say_why_and_what_the_reference_says() -> None:
    (frame,) = as_json(STALLING)
    failures = frame["failures"]
    assert isinstance(failures, list)
    assert [(f["times"], f["needed_slots"], f["cause"], f["reference"]) for f in failures] == [
        (228, 128, "fragmented", "agrees"),
        (2, 256, None, "not asked"),
    ]


def test_json_pools_have_every_field_of_the_table() -> None:
    (frame,) = as_json(STALLING)
    pools = frame["pools"]
    assert isinstance(pools, list)
    assert {field.name for field in fields.POOLS} <= pools[1].keys()
    assert (pools[1]["fragmentation_percent"], pools[1]["area_used_slots"]) == (50.0, [128, 128, 78, 78])


def test_json_says_null_for_what_is_not_known() -> None:
    (frame,) = as_json(Frame(DEBUGFS))
    assert {frame[name] for name in ("maps", "growths", "maps_per_second", "verdict")} == {None}
    assert frame["used_slots"] == 3


def test_json_gives_where_a_pool_is_but_no_address_of_a_kernel_object() -> None:
    (frame,) = as_json(STALLING)
    text = json.dumps(frame)
    assert "0x7bf00000" in text
    for address in (STALLED.pools[0].address, DISK.dev):
        assert str(address) not in text
        assert f"{address:x}" not in text
