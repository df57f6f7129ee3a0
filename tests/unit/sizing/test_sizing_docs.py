"""docs/sizing.md and docs/why.md show what the commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sizing_docs import PAGE, PAGES, anew, commands


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_what_the_page_shows_is_what_is_printed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PAGE.parents[1])
    page = path.read_text()
    assert commands(page)
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
