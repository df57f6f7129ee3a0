"""docs/sizing.md shows what the commands print."""

from __future__ import annotations

import pytest

from tests.support.sizing_docs import PAGE, anew, commands


def test_what_the_page_shows_is_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PAGE.parents[1])
    page = PAGE.read_text()
    assert anew(page) == page


def test_the_page_goes_from_the_failures_of_the_stalled_disk_to_its_size() -> None:
    assert commands(PAGE.read_text())[:2] == [
        "replay tests/traces/stall.swtrace --explain",
        "size tests/traces/stall.swtrace",
    ]


def test_another_output_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PAGE.parents[1])
    page = PAGE.read_text().replace(" 257 ", " 256 ")
    assert anew(page) != page
