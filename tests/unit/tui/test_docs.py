"""What is written about the screen is what the screen is made of."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, get_args

import click
import pytest
from rich.text import Text

from swiotlb_top.accounting import fields, reach
from swiotlb_top.accounting.bounces import Reason
from swiotlb_top.accounting.fields import Field
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.headline import Level
from swiotlb_top.accounting.journal import entries
from swiotlb_top.accounting.past import Past
from swiotlb_top.accounting.snapshot import Answer, VerdictView, VerdictWord
from swiotlb_top.accounting.words import SECTIONS
from swiotlb_top.allocator import Cause, Limits
from swiotlb_top.cli.group import swiotlb_top
from swiotlb_top.cli.man import page as page_of_the_manual
from swiotlb_top.tui.glyphs import UNICODE
from swiotlb_top.tui.keys import KEYS, PLAY_KEYS
from swiotlb_top.tui.overview import notes, overview
from swiotlb_top.tui.pages import help_page
from swiotlb_top.tui.panels import ORDER
from swiotlb_top.tui.screen import plain
from tests.support import glossary
from tests.support.doctoring import GROWING, STALL
from tests.support.logs import EARLIER, with_log
from tests.support.screen_docs import DOCS, PICTURES, SHOWN_NS, frame_at, page, without_seams
from tests.support.snapshots import DEBUGFS, PLAYED, QUIET, STALLED, STALLING

TABLES: Final[tuple[tuple[Field[Any], ...], ...]] = (fields.TOTALS, fields.DEVICES, fields.POOLS, fields.FAILURES)
CALM = replace(STALLED, devices=(), pools=STALLED.pools[1:], growths=0, verdict=None)
README = Path(__file__).parents[3] / "README.md"


def test_every_key_and_field_is_in_the_docs_as_it_is_in_the_tables() -> None:
    """If not: python -m tests.support.screen_docs."""
    assert (DOCS / "screen.md").read_text() == page()


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_is_of_this_screen(name: str) -> None:
    """Its words, not its pixels: those are rich's. If not: python -m tests.support.screen_docs."""
    picture = html.unescape(re.sub(r"<[^>]*>", "", (DOCS / f"{name}.svg").read_text()))
    drawn = "".join(picture.split())
    lines = ["".join(without_seams(line).plain.split()) for line in PICTURES[name].lines()]
    assert [line for line in lines if line not in drawn] == []


def test_the_readme_shows_them_all_and_the_first_has_the_answer() -> None:
    """What fails, why, who holds the slots, what to do."""
    shown = [name for name in re.findall(r"!\[[^]]*\]\(docs/(\w+)\.svg\)", README.read_text()) if name in PICTURES]
    assert (shown[0], sorted(shown)) == ("screen", sorted(PICTURES))
    lines = [line.plain.rstrip() for line in PICTURES["screen"].lines()]
    assert lines[1:5] == [
        "FAILING  0000:00:04.0 (virtio-pci): 125 failed maps/s",
        "why      needs 128 slots, 127 of 256 are free \N{MIDDLE DOT} exhausted 498",
        "found    full: 0000:00:04.0 fails; it held 129 of 256 slots itself",
        "advice   boot with at least swiotlb=512,1 (1 MiB; 512 KiB more than today)",
    ]


def test_a_picture_without_seams_has_the_same_words_in_the_same_places() -> None:
    line = Text.assemble("a", ("\N{FULL BLOCK}" * 2, "red"), "b")
    solid = without_seams(line)
    assert solid.plain == "a  b"
    assert [(span.start, span.end, span.style) for span in solid.spans] == [
        (1, 3, "red"),
        (1, 2, "reverse"),
        (2, 3, "reverse"),
    ]


def test_every_picture_is_in_the_docs() -> None:
    assert [name for name in PICTURES if f"({name}.svg)" not in page()] == []


def test_the_readme_names_every_key() -> None:
    text = README.read_text()
    spoken = {"Up": "up", "Down": "down", "Left": "left", "Right": "right", "Shift-Tab": "Tab"}
    assert [key.shown for key in (*KEYS, *PLAY_KEYS) if spoken.get(key.shown, key.shown) not in text] == []


def test_the_readmes_answer_is_what_the_stall_looks_like() -> None:
    answer = README.read_text().split("## What the answer looks like\n")[1].split("\n```\n")[1].splitlines()
    drawn = [line.plain.rstrip() for line in plain(frame_at(STALL, SHOWN_NS), UNICODE, 120)]
    assert answer == [line for line in drawn if line in answer]
    assert len(answer) > 4


def words_that_can_be_shown() -> set[str]:
    """All that stands on some screen, from the types and tables it is made of, and from frames that show each line."""
    unchecked = replace(STALLED, verdict=None)
    disputed = replace(STALLED, verdict=VerdictView("6.10", 10, 9, 1, 0, 1, "slot 3; expected slot 2"))
    frames = [
        replace(STALLING, failure="gone"),
        Frame(QUIET),
        Frame(DEBUGFS),
        Frame(disputed, QUIET),
        Frame(unchecked, QUIET),
        with_log(EARLIER),
    ]
    labels = {line.label for frame in frames for line in (*overview(frame, UNICODE, 120), *notes(frame, UNICODE))}
    log = {entry.word for entry in frame_at(GROWING, SHOWN_NS).journal}
    return {
        *labels,
        *log,
        *(entry.word for entry in entries(Past.of(QUIET), replace(CALM, lost=0), replace(disputed, lost=9))),
        *(level.value for level in Level),
        *(cause.value for cause in Cause),
        *(reason.value for reason in Reason),
        *(label for label, _ in reach.in_words(Limits())),
        "not known",
        *get_args(VerdictWord),
        *get_args(Answer),
        *("unchecked", "compared", "unsafe", "events lost", "in bursts", "peak", "trend", "growths", "free runs"),
        *("longest free", "fragmentation", "transient", "memory", "high water", "p50", "p99"),
    }


def explained() -> set[str]:
    titles = {field.title.casefold() for table in TABLES for field in table}
    return titles | {word.casefold() for _, words in SECTIONS for word in words}


def test_every_word_that_can_be_shown_is_explained() -> None:
    assert {word for word in words_that_can_be_shown() if word.casefold() not in explained()} == set()


def test_every_label_of_the_screen_is_in_the_glossary() -> None:
    titles = {field.title for table in TABLES for field in table}
    labels = {word.casefold() for word in {*words_that_can_be_shown(), *titles, *ORDER}}
    assert labels - glossary.explained() == set()


def test_the_help_page_says_where_the_terms_are_explained() -> None:
    helped = " ".join(" ".join(line.plain.split()) for line in help_page(Frame(PLAYED), UNICODE, 200))
    assert str(glossary.PAGE.relative_to(DOCS.parent)) in helped


def test_help_and_manual_page_explain_every_word() -> None:
    helped = " ".join(" ".join(line.plain.split()) for line in help_page(Frame(PLAYED), UNICODE, 200))
    manual = "\n".join(page_of_the_manual(swiotlb_top, click.Context(swiotlb_top))).replace("\\-", "-")
    for _, words in SECTIONS:
        for word, meaning in words.items():
            assert f"{word} {meaning}" in helped
            assert meaning in manual
