"""A page on a terminal is folded under its columns and coloured; anywhere else a line is a line."""

from __future__ import annotations

import io
import pty
import sys

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.cli.page import coloured, folded, show
from tests.support.terminals import written_on

CHECK = "MISSING   kernel config  CONFIG_BPF_EVENTS and CONFIG_KPROBES are not set"


def test_what_does_not_fit_stands_under_the_last_column() -> None:
    assert folded(CHECK, 50).splitlines() == [
        "MISSING   kernel config  CONFIG_BPF_EVENTS and",
        "                         CONFIG_KPROBES are not",
        "                         set",
    ]


def test_a_line_without_columns_goes_on_further_in() -> None:
    assert folded("  miscount: maps is 1 by the events, 2 by the kernel", 30).splitlines() == [
        "  miscount: maps is 1 by the",
        "      events, 2 by the kernel",
    ]


def test_columns_that_leave_no_room_are_none() -> None:
    assert folded(CHECK, 30).splitlines()[1] == "    CONFIG_BPF_EVENTS and"


@given(st.text(st.sampled_from("ab -.[>"), max_size=200), st.integers(20, 120))
def test_folding_loses_and_breaks_no_word(line: str, width: int) -> None:
    assert folded(line, width).split() == line.split()
    assert all(len(part) <= width or len(part.split()) == 1 for part in folded(line, width).splitlines())


@pytest.mark.parametrize(
    ("line", "marked"),
    [
        ("ok        kernel", "ok"),
        (CHECK, "MISSING"),
        ("degraded  plan", "degraded"),
        ("verdict: DISAGREE - 7 operations compared", "DISAGREE"),
        ("verdict: AGREE - 7 operations compared", "AGREE"),
        ("verdict: INCONCLUSIVE - 7 operations compared", "INCONCLUSIVE"),
        ("hook      map  fentry+fexit swiotlb_map", ""),
        ("okay", ""),
    ],
)
def test_the_word_that_says_how_it_is_has_a_colour(line: str, marked: str) -> None:
    found = coloured(line)
    assert click.unstyle(found) == line
    assert (found != line) == bool(marked)
    if marked:
        assert f"m{marked}\x1b[0m" in found


@pytest.mark.parametrize(
    ("environment", "colours"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({}, False)],
)
def test_on_a_terminal_it_is_folded_and_coloured_unless_that_is_not_wanted(
    environment: dict[str, str], colours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**environment, "COLUMNS": "50"}.items():
        monkeypatch.setenv(name, value)
    ours, terminal = pty.openpty()
    with open(ours, "rb", buffering=0) as reader, open(terminal, "w") as writer, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", writer)
        show(CHECK)
        writer.flush()
        shown = written_on(terminal, reader.fileno())
    assert ("\x1b[" in shown) == colours
    assert max(map(len, click.unstyle(shown).splitlines())) <= 50


def test_elsewhere_a_line_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TERM": "xterm", "COLUMNS": "50"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", kept := io.StringIO())
    show(CHECK)
    assert kept.getvalue() == f"{CHECK}\n"
