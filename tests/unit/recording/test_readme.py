"""What the README shows of a recording is what is made of it: the timeline, and a notebook's cell with its answer."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest

from swiotlb_top.cli import main
from swiotlb_top.errors import Exit
from tests.support.doctoring import FOUR_CPUS
from tests.support.timeline_docs import BEGIN_NS, DOCS, END_NS, picture, tracks

ROOT = DOCS.parent
README = (ROOT / "README.md").read_text()


def test_the_notebooks_answer_is_the_real_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("duckdb")
    (command,) = re.findall(r"`swiotlb-top (convert tests/traces/[^`]*mappings\.parquet)`", README)
    (cell,) = re.findall(r"```python\n(>>> .*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    assert main(shlex.split(command)) == Exit.OK
    test = doctest.DocTestParser().get_doctest(cell, {}, "README.md", None, 0)
    assert len(test.examples) == 2
    said: list[str] = []
    assert doctest.DocTestRunner().run(test, out=said.append).failed == 0, "".join(said)


def test_the_picture_of_the_timeline_is_what_is_drawn_of_its_tracks() -> None:
    found = tracks(FOUR_CPUS)
    drawn = picture(found)
    assert (DOCS / "timeline.svg").read_text() == drawn
    assert drawn.count('class="slice"') == sum(len(track.slices) for track in found.values()) > 100
    assert drawn.count('class="instant"') == 2
    assert "docs/timeline.svg" in README


def test_only_what_lies_in_the_part_is_drawn() -> None:
    for track in tracks(FOUR_CPUS).values():
        for begin_ns, end_ns, _ in track.slices:
            assert BEGIN_NS <= begin_ns <= end_ns <= END_NS
        assert all(BEGIN_NS <= time_ns < END_NS for time_ns, _ in (*track.instants, *track.levels))
