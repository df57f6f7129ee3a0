"""``replay --revision all``: which revisions explain a recording, and where the others fail."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.allocator import REVISIONS, Revision
from swiotlb_top.allocator.revision import ASPECTS, NOT_JUDGED, judged_apart
from swiotlb_top.errors import CannotError, Exit, UnreadableError
from swiotlb_top.reports import explained as module
from swiotlb_top.reports import explained as reporting
from swiotlb_top.reports.explained import ExplainedReport, Judged, explained
from swiotlb_top.reports.replay import replay
from swiotlb_top.reports.trials import tried
from swiotlb_top.state import KernelInfo
from swiotlb_top.trace import Header, TraceReader
from swiotlb_top.verify import Findings, Verdict
from tests.support.corpus import path_of
from tests.support.doctoring import FOUR_AREAS, GROWING, STALL, cut, load, save

TRACES = STALL.parent
NOBODY_EXPLAINS = TRACES / "faulty" / "no-min-alignment.swtrace"
NOTHING_COMPARED = TRACES / "format-1.swtrace"
DEBIAN_6_1 = TRACES / "debian-6.1.swtrace"


@pytest.fixture(scope="module")
def four_areas() -> ExplainedReport:
    """Of a dynamic kernel with several areas in each pool: the order of the search shows."""
    return explained(FOUR_AREAS)


def of(report: ExplainedReport, name: str) -> Judged:
    (found,) = (one for one in report.revisions if one.revision.name == name)
    return found


def test_each_revision_is_judged_as_replay_judges_by_it(four_areas: ExplainedReport) -> None:
    for one in four_areas.revisions:
        alone = replay(FOUR_AREAS, one.revision.name).findings
        assert one.verdict is alone.verdict
        assert one.findings.first == alone.first


def test_where_some_revision_explains_all_of_it_the_status_is_0(four_areas: ExplainedReport) -> None:
    assert four_areas.explained_by == ("6.8", "6.9", "6.10", "7.3")
    assert (four_areas.verdict, four_areas.exit_code) == (Verdict.AGREE, Exit.OK)
    assert four_areas.own == ("6.10",)
    assert "verdict: AGREE - explained by 6.8, 6.9, 6.10, 7.3\n" in four_areas.as_text()


def test_where_all_are_refuted_it_is_1_and_nobody_is_left_to_be_told_from() -> None:
    report = explained(NOBODY_EXPLAINS)
    assert (report.verdict, report.exit_code, report.explained_by) == (Verdict.DISAGREE, Exit.DISAGREE, ())
    assert {(one.told_from, one.told_by) for one in report.revisions} == {("", ())}
    assert "verdict: DISAGREE - no revision explains it\n" in report.as_text()


@pytest.mark.parametrize("path", [NOTHING_COMPARED, path_of("lost-and-told")])
def test_where_none_is_refuted_and_not_all_was_compared_it_is_5(path: Path) -> None:
    report = explained(path)
    assert (report.verdict, report.exit_code) == (Verdict.INCONCLUSIVE, Exit.INCONCLUSIVE)
    assert {one.verdict for one in report.revisions} == {Verdict.INCONCLUSIVE}
    assert "verdict: INCONCLUSIVE - not refuted, and not shown to explain all of it: 6.1, " in report.as_text()
    assert "; inconclusive: " in report.as_text()


def test_of_a_recording_that_is_cut_short_nothing_is_said_to_explain_it(tmp_path: Path) -> None:
    short = tmp_path / "short.swtrace"
    short.write_bytes(FOUR_AREAS.read_bytes()[:-300])
    report = explained(short)
    assert (report.exit_code, report.explained_by) == (Exit.UNREADABLE, ())
    assert report.as_json()["damage"] == report.damage != ""
    assert "  the recording cannot be read to its end, and this is what comes before\n" in report.as_text()


def test_of_one_that_is_refuted_it_is_told_where_and_what_each_side_did(four_areas: ExplainedReport) -> None:
    lines = four_areas.as_text().splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("DISAGREE      6.1 "))
    first = of(four_areas, "6.1").findings.first
    assert first is not None
    after_s = (first.time_ns - four_areas.begin_ns) / 1e9
    assert lines[at].endswith(
        f"  from operation {first.operation} on, which returned {after_s:.6f} s into the recording"
    )
    assert lines[at + 1 : at + 3] == [f"  kernel:    {first.observed}", f"  reference: {first.expected}"]


def test_and_which_aspect_tells_it_from_the_one_that_is_the_most_like_it(four_areas: ExplainedReport) -> None:
    """6.6 differs from 6.8 in the order, and in what it refuses: only the former came up."""
    told = of(four_areas, "6.6")
    assert told.told_from == "6.8"
    assert set(judged_apart(REVISIONS["6.6"], REVISIONS["6.8"])) == {"order", "refuses_oversize"}
    assert [(one.aspect, one.here.since, one.there.since, one.alone) for one in told.told_by] == [
        ("order", "6.0", "6.8", True)
    ]
    assert "  told from 6.8 by: order alone\n" in four_areas.as_text()


def test_an_aspect_that_is_told_to_be_enough_alone_makes_the_other_one_disagree(four_areas: ExplainedReport) -> None:
    told = of(four_areas, "seed-v4")
    (one,) = told.told_by
    values: dict[str, Any] = {one.aspect: one.here.value, "name": "mixed"}
    mixed = replace(REVISIONS[told.told_from], **values)
    findings = tried(FOUR_AREAS, TraceReader(FOUR_AREAS).header.kernel, [mixed])
    assert findings["mixed"].verdict is Verdict.DISAGREE


def test_where_no_aspect_is_enough_alone_all_are_told_of(
    monkeypatch: pytest.MonkeyPatch, four_areas: ExplainedReport
) -> None:
    def agreeable(path: Path, kernel: KernelInfo, revisions: Iterable[Revision]) -> dict[str, Findings]:
        """Refutes no mixture."""
        tried_by = list(revisions)
        if tried_by[0].name in REVISIONS:
            return tried(path, kernel, tried_by)
        return {revision.name: Findings() for revision in tried_by}

    monkeypatch.setattr(module, "tried", agreeable)
    told = of(explained(FOUR_AREAS), "6.6").told_by
    assert [(one.aspect, one.alone) for one in told] == [("order", False), ("refuses_oversize", False)]


def test_revisions_that_no_recording_tells_apart_are_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = replace(REVISIONS["6.10"], name="its twin", used=REVISIONS["7.3"].used)
    assert judged_apart(REVISIONS["6.10"], twin) == ()
    monkeypatch.setattr(reporting, "REVISIONS", {**REVISIONS, twin.name: twin})
    report = explained(FOUR_AREAS)
    assert of(report, "its twin").judged_as == "6.10"
    assert of(report, "its twin").findings is of(report, "6.10").findings
    assert report.as_text().splitlines()[-1] == "AGREE         its twin             as 6.8"


def test_a_revision_that_only_its_kernel_has_is_judged_too(tmp_path: Path) -> None:
    header, *rest = load(STALL)
    assert isinstance(header, Header)
    kernel = replace(header.kernel, release="6.6.30", features=())
    report = explained(save([replace(header, kernel=kernel), *rest], tmp_path / "stable.swtrace"))
    assert report.own == ("stable 6.6.24 to 6.6.34",)
    assert [one.revision.name for one in report.revisions] == [*REVISIONS, *report.own]


def test_a_kernel_nobody_knows_has_no_revision_and_is_judged_by_all(tmp_path: Path) -> None:
    header, *rest = load(STALL)
    assert isinstance(header, Header)
    kernel = replace(header.kernel, release="5.15.0", features=())
    report = explained(save([replace(header, kernel=kernel), *rest], tmp_path / "old.swtrace"))
    assert report.own == ()
    assert [one.revision.name for one in report.revisions] == list(REVISIONS)
    assert ", whose revision is not known\n" in report.as_text()


def test_that_its_own_revision_does_not_explain_it_is_said(tmp_path: Path) -> None:
    header, *rest = load(DEBIAN_6_1)
    assert isinstance(header, Header)
    kernel = replace(TraceReader(FOUR_AREAS).header.kernel, cpus=header.kernel.cpus)
    report = explained(save(cut([replace(header, kernel=kernel), *rest], 700), tmp_path / "said-to-be-6.12.swtrace"))
    assert report.own == ("6.10",)
    assert "verdict: AGREE - explained by 6.1; not by its own, 6.10\n" in report.as_text()


def test_a_machine_that_is_not_modelled_is_refused(tmp_path: Path) -> None:
    header, *rest = load(STALL)
    assert isinstance(header, Header)
    kernel = replace(header.kernel, machine="s390x", page_size_bytes=4096, byte_order="big")
    path = save([replace(header, kernel=kernel), *rest], tmp_path / "big.swtrace")
    with pytest.raises(CannotError, match="big endian"):
        explained(path)


def test_what_is_no_recording_is_no_report(tmp_path: Path) -> None:
    path = tmp_path / "a.swtrace"
    path.write_bytes(b"")
    with pytest.raises(UnreadableError):
        explained(path)


def test_json_has_what_the_page_has(four_areas: ExplainedReport) -> None:
    told = json.loads(json.dumps(four_areas.as_json()))
    assert told["explained_by"] == list(four_areas.explained_by)
    by_name = {one["name"]: one for one in told["revisions"]}
    first = of(four_areas, "6.6").findings.first
    assert first is not None
    assert by_name["6.6"]["first_disagreement"]["time_ns"] == first.time_ns
    assert by_name["6.6"]["first_disagreement"]["expected"] == first.expected
    assert [row["aspect"] for row in by_name["6.6"]["told_by"]] == ["order"]
    assert by_name["6.10"]["first_disagreement"] is by_name["6.10"]["told_from"] is None


# ---- what a recording can show ------------------------------------------------------


ASKED: set[str] = set()


class Asking(Revision):
    """Notes which of its aspects the judge asks for."""

    def __getattribute__(self, name: str) -> Any:
        ASKED.add(name)
        return super().__getattribute__(name)


@pytest.fixture
def asked() -> Iterator[set[str]]:
    ASKED.clear()
    yield ASKED
    ASKED.clear()


def test_the_judge_asks_for_all_aspects_but_those_that_are_said_not_to_be_judged(asked: set[str]) -> None:
    known = REVISIONS["6.9"]
    for path in (GROWING, FOUR_AREAS, DEBIAN_6_1, TRACES / "unaligned.swtrace"):
        revision = Asking(**{field.name: getattr(known, field.name) for field in fields(Revision)})
        tried(path, TraceReader(path).header.kernel, [revision])
    assert asked & set(ASPECTS) == set(ASPECTS) - NOT_JUDGED
