"""docs/glossary.md has every label of the report, and two sentences for each term.

Those of the screen: tests/unit/tui/test_docs.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from swiotlb_top.events import Gap
from swiotlb_top.records import Kind
from swiotlb_top.reports.replay import ReplayReport, replay
from swiotlb_top.verify import Findings
from tests.support.doctoring import FOUR_AREAS, STALL, drop, find, insert, load, record_at, save, succeeded
from tests.support.glossary import Entry, entries, explained

FAULTY = STALL.parent / "faulty" / "no-min-alignment.swtrace"
TERMS = """
    slot, slot set, area, pool, nslabs, transient pool, growth, bounce, high water, slot search, boundary,
    alignment masks, padding, history, operation, invocation, response, linearization, witness, cluster, group, domain,
    agree, disagree, inconclusive, safety violation, miscount, gap, lost, burst, share compared, revision, candidate
"""
"""What a reader needs to read a report, whether or not a label has the word."""


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.term)
def test_a_term_is_explained_in_two_sentences(entry: Entry) -> None:
    assert len(entry.sentences) == 2, entry.sentences


def test_no_term_is_explained_twice() -> None:
    terms = [entry.term for entry in entries()]
    assert len(terms) == len(set(terms))


def test_the_terms_of_the_kernel_and_of_the_judge_are_there() -> None:
    assert {" ".join(term.split()) for term in TERMS.split(",")} <= {entry.term for entry in entries()}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[ReplayReport]:
    """Reports that have every line between them."""
    directory = tmp_path_factory.mktemp("recordings")
    gapped = load(FOUR_AREAS)
    at = find(gapped, Kind.FIND, succeeded, nth=100)
    time_ns = record_at(gapped, at).exit_ns
    gap = Gap(time_ns, time_ns + 1, 1, "ring buffer full")
    short = directory / "short.swtrace"
    short.write_bytes(STALL.read_bytes()[:-300])
    stalled = replay(STALL)
    return [
        stalled,
        replace(stalled, findings=Findings(elsewhere=1), miscounts=("maps is 1 by the events, 2 by the kernel",)),
        replay(FAULTY),
        replay(short),
        replay(save(insert(drop(gapped, at), at, gap), directory / "gap.swtrace")),
    ]


def labels(report: str) -> Iterator[str]:
    """What a report calls what it tells: the words before a line's colon, and those after a number."""
    for line in report.splitlines():
        if named := re.match(r" *([a-z]+(?:,? [a-z]+)*):(?: |$)", line):
            yield named[1].removesuffix(" after a gap")
        if line.startswith(("verdict: ", "pools: ")) or " events in " in line:
            yield from re.findall(r"\d%? ([a-z]+(?: (?!in |used |at )[a-z]+)*)(?= in |[,;]|$)", line)
            yield from re.findall(r"; ([a-z][a-z ]+)$", line)
        yield from re.findall(r"^  ([a-z_ ]*[a-z_]) +\d+$", line)


def test_the_report_has_the_labels_that_are_looked_for(reports: list[ReplayReport]) -> None:
    found = {label for report in reports for label in labels(report.as_text(explain=True))}
    assert found >= {
        *("events", "maps", "unmaps", "failed maps", "lost", "pools", "added", "transient", "freed", "last failure"),
        *("verdict", "operations compared", "agree", "disagree", "inconclusive", "safety violations", "areas audited"),
        *("compared", "share compared unknown", "not judged, in other allocators", "miscount", "first disagreement"),
        *("kernel", "reference", "harm", "orders", "event", "why maps failed", "exhausted", "first"),
    }


def test_every_label_of_the_report_is_in_the_glossary(reports: list[ReplayReport]) -> None:
    found = {label for report in reports for label in labels(report.as_text(explain=True))}
    assert found - explained() == set()
