"""Which source is looked through, and what is said about it."""

from __future__ import annotations

import json

import pytest

from swiotlb_top.cli import main
from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.no_pool import NoPool, NoPoolError
from swiotlb_top.sources import Source, select
from swiotlb_top.sources.select import first_that_opens
from tests.support.doctoring import STALL
from tests.support.snapshots import QUIET, STALLED, ScriptedSource


def refuse(reason: str) -> Source:
    raise CannotError(reason)


def test_the_first_that_opens_is_taken_as_it_is() -> None:
    best = ScriptedSource([QUIET])
    assert first_that_opens({"live": lambda: best, "debugfs": lambda: ScriptedSource([STALLED])}) is best


def test_the_reason_says_why_the_better_one_was_refused() -> None:
    source = first_that_opens(
        {
            "live": lambda: refuse("needs root"),
            "debugfs": lambda: ScriptedSource([STALLED]),
        }
    )
    assert source.snapshot().reason == "live: needs root; so: fexit on swiotlb_tbl_map_single"


def test_closing_reaches_the_source_that_was_chosen() -> None:
    chosen = ScriptedSource([QUIET])
    first_that_opens({"live": lambda: refuse("needs root"), "debugfs": lambda: chosen}).close()
    assert chosen.closed


def test_where_none_opens_the_best_one_s_reason_is_the_one_that_counts() -> None:
    with pytest.raises(CannotError, match=r"^needs root$"):
        first_that_opens({"live": lambda: refuse("needs root"), "debugfs": lambda: refuse("not mounted")})


def test_live_comes_before_debugfs_and_no_recording_stands_in_for_this_machine() -> None:
    assert list(select.KERNEL_SOURCES) == ["live", "debugfs"]


def test_a_recording_is_shown_from_where_one_asks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--trace", str(STALL), "--start", "2", "-n", "1", "-d", "0", "--json"]) == 1
    frame = json.loads(capsys.readouterr().out)
    assert frame["playback"]["position_ns"] >= 2e9
    assert frame["map_failures"] > 200


def test_a_recording_is_shown_as_fast_as_one_asks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--trace", str(STALL), "--speed", "8", "-n", "1", "-d", "0.2", "--json"]) == 1
    frame = json.loads(capsys.readouterr().out)
    assert frame["playback"]["speed"] == 8.0
    assert frame["playback"]["position_ns"] == 1_600_000_000
    assert 1.0 <= frame["interval_seconds"] < 1.1, "rates are of the recorded second before"


def test_ascii_is_enough_where_one_asks_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--trace", str(STALL), "--start", "1", "-n", "1", "-d", "0", "--ascii"]) == 1
    assert capsys.readouterr().out.isascii()


def test_the_exporter_never_serves_a_recording(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(select.KERNEL_SOURCES):
        monkeypatch.setitem(select.KERNEL_SOURCES, name, lambda: refuse("needs root"))
    assert main(["export", "--exit-if-blind", "--web.listen-address", "127.0.0.1:0"]) == 3
    assert capsys.readouterr().err == "swiotlb-top: needs root\n"


def test_that_swiotlb_has_no_memory_is_said_alone_whatever_other_sources_lack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> Source:
        raise NoPoolError(NoPool.NOFORCE)

    monkeypatch.setitem(select.KERNEL_SOURCES, "live", lambda: refuse("needs root"))
    monkeypatch.setitem(select.KERNEL_SOURCES, "debugfs", none)
    assert main(["-n", "1"]) == 3
    assert capsys.readouterr().err == f"swiotlb-top: {NoPoolError(NoPool.NOFORCE)}\n"


def test_a_bug_in_a_source_is_not_taken_for_a_refusal() -> None:
    def bug() -> Source:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        first_that_opens({"live": bug, "debugfs": lambda: ScriptedSource([QUIET])})
