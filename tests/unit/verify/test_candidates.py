"""Which of several kernels it is, is told by what it does: all are judged by, side by side, until one is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.allocator import REVISIONS, Allocator, Pool, Revision, choose
from swiotlb_top.constants import NOT_FOUND
from swiotlb_top.errors import Exit
from swiotlb_top.events import Event, Find, Gap
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.records import Kind
from swiotlb_top.reports.replay import ReplayReport, replay
from swiotlb_top.state import KernelInfo
from swiotlb_top.trace import Header
from swiotlb_top.verify import Doubt, SideBySide, Verdict, candidates
from tests.support.doctoring import FOUR_AREAS, change, find, load, record_at, save, succeeded, with_no_call_under_way
from tests.support.histories import DEV, KERNEL, LIMITS, POOL, START, device, found, machine, searched_in_vain, state_of

SHOWN: Final = ("areas", "pools", "dynamic", "total_used", "alloc_size", "search_area")
UBUNTU: Final = replace(KERNEL, release="6.8.0-31-generic", features=SHOWN)
CHOICE: Final = choose(UBUNTU.features, UBUNTU.release)
NAMES: Final = ["6.8 as Ubuntu ships it", "stable 6.8 since 6.8.3", "6.8"]
UNEXPLAINED: Final = replace(UBUNTU, release="6.8.0", features=(*SHOWN, "pad_slots", "cc_shared"))
"""7.3's counters, and padding, but the argument that went in 6.10."""
DEBIAN_6_1: Final = Path(__file__).parents[2] / "traces" / "debian-6.1.swtrace"
PAGE: Final = 4096


class Asked(NamedTuple):
    """A mapping to be made."""

    orig_addr: int
    size_bytes: int
    alloc_align_mask: int = 0


ODD_PAGE: Final = Asked(0x20_0800, PAGE)
"""Its first slot is odd in mainline's 6.8 alone: there a page has the bits of its buffer."""
SLOT: Final = Asked(0x20_0000, 2048)
SECOND_OF_PAGE: Final = (SLOT, Asked(0x20_0000, PAGE))
"""After a slot is taken, Ubuntu's page begins a page; stable 6.8 goes on by two slots from the next."""


def done_by(revision: Revision, asked: Sequence[Asked]) -> list[Event]:
    """What a kernel of this revision does when it is asked, one call after the other."""
    kernel = Allocator(revision, [Pool(POOL, START, 512, 1, rule=revision.rule)], 512, 1, can_grow=False, dynamic=True)
    events: list[Event] = [device()]
    for number, (orig_addr, size_bytes, alloc_align_mask) in enumerate(asked):
        request = revision.request(size_bytes, orig_addr, alloc_align_mask, LIMITS)
        place = kernel.find_slots(0, request)
        if place:
            place.pool.take(place.slot, request, DEV)
        entry_ns = 1000 + 100 * number
        where = (place.pool.address, place.slot) if place else (0, NOT_FOUND)
        sizes = orig_addr, request.alloc_size_bytes, alloc_align_mask
        events.append(Find(entry_ns, entry_ns + 50, 0, False, DEV, where[0], *sizes, where[1]))
    return events


def judged(kernel: KernelInfo, events: Sequence[Event], revision: str | None = None) -> Pipeline:
    pipeline = Pipeline(kernel, revision)
    pipeline.state(machine())
    pipeline.feed(events)
    pipeline.finish()
    return pipeline


def left(pipeline: Pipeline) -> list[str]:
    return [candidate.name for candidate in pipeline.judge.left]


def named(name: str) -> Revision:
    return next(candidate.revision for candidate in CHOICE.candidates if candidate.name == name)


# ---- until one is left ---------------------------------------------------------


def test_what_no_candidate_does_otherwise_leaves_them_all_and_the_kernel_agrees() -> None:
    pipeline = judged(UBUNTU, done_by(REVISIONS["6.8"], [SLOT, SLOT]))
    assert left(pipeline) == NAMES
    assert pipeline.judge.name == "6.8 as Ubuntu ships it or stable 6.8 since 6.8.3 or 6.8"
    assert (pipeline.judge.findings.verdict, pipeline.judge.findings.agree) == (Verdict.AGREE, 2)


@pytest.mark.parametrize(
    ("kernel", "asked", "those"),
    [
        ("6.8", [ODD_PAGE], ["6.8"]),
        ("6.8 as Ubuntu ships it", [ODD_PAGE], NAMES[:2]),
        ("6.8 as Ubuntu ships it", [ODD_PAGE, *SECOND_OF_PAGE], NAMES[:1]),
        ("stable 6.8 since 6.8.3", [ODD_PAGE, *SECOND_OF_PAGE], NAMES[1:2]),
    ],
)
def test_a_candidate_that_the_kernel_disagrees_with_is_dropped_and_it_agrees_with_those_that_are_left(
    kernel: str, asked: list[Asked], those: list[str]
) -> None:
    pipeline = judged(UBUNTU, done_by(named(kernel), asked))
    assert left(pipeline) == those
    assert pipeline.judge.name == " or ".join(those)
    findings = pipeline.judge.findings
    assert (findings.verdict, findings.agree, findings.disagree) == (Verdict.AGREE, len(asked), 0)


ASKED: Final = st.builds(
    Asked,
    st.integers(0, 63).map(lambda slot: 0x20_0000 + 0x200 * slot),
    st.sampled_from([1, 2048, 3000, PAGE, 6000, 16384]),
    st.sampled_from([0, 0, 0xFFF, 0x3FFF]),
)


@given(st.sampled_from(NAMES), st.lists(ASKED, max_size=30), st.integers(1, 30))
def test_the_kernel_that_it_is_is_never_dropped(name: str, asked: list[Asked], at_once: int) -> None:
    events = done_by(named(name), asked)
    pipeline = Pipeline(UBUNTU)
    pipeline.state(machine())
    for begin in range(0, len(events), at_once):
        pipeline.feed(events[begin : begin + at_once])
        pipeline.advance(1000 + 100 * (begin + at_once) + 2_000_000_000)
    findings = pipeline.finish()
    assert name in left(pipeline)
    assert (findings.agree, findings.disagree, findings.inconclusive) == (len(asked), 0, 0)


def test_what_was_dropped_does_not_come_back_when_calls_were_lost() -> None:
    pipeline = judged(UBUNTU, done_by(REVISIONS["6.8"], [ODD_PAGE]))
    pipeline.gap(Gap(0, 3000, 1, "no room"))
    pipeline.state(machine())
    pipeline.feed([Find(5000, 5050, 0, False, DEV, POOL, ODD_PAGE.orig_addr, PAGE, 0, 0)])
    assert pipeline.finish().disagree == 1
    assert left(pipeline) == ["6.8"]


# ---- where not all can be tried ----------------------------------------------------


def with_slots_in_use(nslots: int) -> Pool:
    """A pool in which so many mappings of one slot are from before."""
    pool = Pool(POOL, START, 512, 1)
    for slot in range(nslots):
        pool.take(slot, REVISIONS["6.8"].request(2048, 0x40_0000, 0, LIMITS), DEV)
    return pool


@pytest.mark.parametrize(("nslots", "those"), [(0, NAMES), (2, NAMES), (3, NAMES[:2]), (7, NAMES[:1]), (9, NAMES[:1])])
def test_the_less_likely_are_not_tried_if_all_models_together_would_have_too_many_slots_in_use(
    monkeypatch: pytest.MonkeyPatch, nslots: int, those: list[str]
) -> None:
    monkeypatch.setattr(candidates, "_MOST_SLOTS", 7)
    judges = SideBySide(CHOICE)
    judges.state(machine(state_of(with_slots_in_use(nslots))))
    assert [one.name for one in judges.left] == those
    assert [one.name for one in judges.not_tried] == NAMES[len(those) :]
    told = f"not tried, as so many slots are in use: {', '.join(NAMES[len(those) :])}"
    assert judges.note == (told if len(those) < 3 else "")


@pytest.mark.parametrize(("slot", "verdict"), [(1, Verdict.AGREE), (300, Verdict.INCONCLUSIVE)])
def test_a_kernel_agrees_with_those_that_were_tried_and_disagrees_with_none_while_others_were_not(
    monkeypatch: pytest.MonkeyPatch, slot: int, verdict: Verdict
) -> None:
    monkeypatch.setattr(candidates, "_MOST_SLOTS", 1)
    judges = SideBySide(CHOICE)
    judges.state(machine(state_of(with_slots_in_use(1))))
    judges.feed([device(), found(70_000, 70_050, slot)])
    findings = judges.finish()
    assert findings.verdict is verdict
    if verdict is Verdict.INCONCLUSIVE:
        assert findings.doubts == {Doubt.NOT_TRIED: 1}
        assert judges.note.startswith("this kernel does what none does that was tried")


# ---- and if none is left -------------------------------------------------------


def test_a_known_kernel_that_no_candidate_explains_disagrees_with_the_one_that_explains_most() -> None:
    events = done_by(REVISIONS["6.8"], [ODD_PAGE, ODD_PAGE, ODD_PAGE])
    events.append(found(9000, 9050, 300))
    pipeline = judged(UBUNTU, events)
    assert left(pipeline) == ["6.8"]
    findings = pipeline.judge.findings
    assert (findings.verdict, findings.agree, findings.disagree) == (Verdict.DISAGREE, 3, 1)
    assert pipeline.judge.note == ""


def test_harm_that_every_candidate_sees_is_the_kernels() -> None:
    events = done_by(REVISIONS["6.8"], [SLOT])
    twice = events[-1]
    assert isinstance(twice, Find)
    pipeline = judged(UBUNTU, [*events, twice._replace(entry_ns=2000, exit_ns=2050)])
    assert pipeline.judge.findings.verdict is Verdict.DISAGREE
    assert pipeline.judge.findings.safety_violations


@pytest.mark.parametrize(
    "kernel",
    [replace(KERNEL, release="7.9.1"), replace(KERNEL, release="mainline"), replace(KERNEL, features=SHOWN)],
    ids=["newer than all", "no release", "shows what no kernel of its name has"],
)
def test_a_kernel_that_is_not_known_and_does_what_no_candidate_does_is_unknown(kernel: KernelInfo) -> None:
    """It may be a kernel that nobody here has seen: nothing is claimed of it, not even that it agrees."""
    agreeing: list[Event] = [device(), *(found(1000 + 10 * n, 1005 + 10 * n, n) for n in range(3))]
    pipeline = judged(kernel, agreeing)
    assert pipeline.judge.findings.verdict is Verdict.AGREE
    pipeline = judged(kernel, [*agreeing, found(2000, 2050, 300)])
    assert (left(pipeline), pipeline.judge.name) == ([], "unknown")
    findings = pipeline.judge.findings
    assert (findings.verdict, findings.compared, findings.first) == (Verdict.INCONCLUSIVE, 0, None)
    assert findings.doubts == {Doubt.UNKNOWN_KERNEL: 4}
    assert pipeline.judge.note.endswith("it is unknown, and nothing is claimed of it")


@pytest.mark.parametrize("slot", [0, 300])
def test_a_kernel_that_no_row_explains_is_unknown_whatever_it_does(slot: int) -> None:
    pipeline = judged(UNEXPLAINED, [device(), found(1000, 1050, slot)])
    findings = pipeline.judge.findings
    assert (findings.verdict, findings.doubts) == (Verdict.INCONCLUSIVE, {Doubt.UNKNOWN_KERNEL: 1})
    assert pipeline.judge.note == "no kernel that is known here has all that 6.8.0 shows: this one is unknown"
    assert pipeline.judge.name == "unknown"


def test_a_revision_that_is_asked_for_is_the_only_one_whatever_the_kernel_is() -> None:
    pipeline = judged(UNEXPLAINED, done_by(REVISIONS["6.8"], [ODD_PAGE]), "6.9")
    assert (pipeline.judge.name, pipeline.judge.findings.verdict) == ("6.9", Verdict.DISAGREE)


# ---- what it tells of the one ----------------------------------------------------


def test_failures_are_told_once_whoever_explains_them_and_not_of_an_unknown_kernel() -> None:
    asked = [Asked(0x20_0000, 256 << 10)] * 4
    failed = [*done_by(REVISIONS["6.8"], asked), searched_in_vain(9000, 9050)]
    for choice, times in ((CHOICE, 1), (choose(UNEXPLAINED.features, UNEXPLAINED.release), 0)):
        judges = SideBySide(choice)
        judges.state(machine())
        judges.feed(failed)
        judges.finish()
        assert len(judges.take_failures()) == times
        assert judges.take_failures() == []


def test_model_and_revision_are_those_of_the_likeliest_that_is_left() -> None:
    pipeline = judged(UBUNTU, done_by(REVISIONS["6.8"], [SLOT]))
    assert pipeline.judge.revision == named("6.8 as Ubuntu ships it")
    pipeline = judged(UBUNTU, done_by(REVISIONS["6.8"], [ODD_PAGE]))
    assert pipeline.judge.revision is REVISIONS["6.8"]
    assert pipeline.judge.model is not None
    assert pipeline.judge.model.revision is REVISIONS["6.8"]
    assert pipeline.judge.steps == 0


def test_a_snapshot_names_them_and_says_if_the_kernel_is_unknown() -> None:
    shown = judged(UBUNTU, done_by(REVISIONS["6.8"], [ODD_PAGE])).snapshot(2000, "replay", "")
    assert shown.verdict
    assert (shown.verdict.revision, shown.verdict.word) == ("6.8", "agree")
    shown = judged(UNEXPLAINED, [device(), *done_by(REVISIONS["6.8"], [SLOT])]).snapshot(2000, "replay", "")
    assert shown.verdict
    assert (shown.verdict.revision, shown.verdict.word) == ("unknown", "inconclusive")
    assert shown.notes[-1].endswith("this one is unknown")


def test_uname_v_tells_what_the_release_does_not() -> None:
    kernel = replace(UBUNTU, release="6.1.0-7.3-x", features=("areas", "alloc_size"))
    assert len(Pipeline(kernel).judge.left) == 2
    told = replace(kernel, version="#1 SMP PREEMPT_DYNAMIC Debian 6.1.55-1 (2023-09-29)")
    assert left(Pipeline(told)) == ["6.1"]


# ---- what a report says ----------------------------------------------------------


def retold(path: Path, recording: Path, **kernel: Any) -> ReplayReport:
    """A recording, of a kernel that says something else of itself."""
    header, *entries = load(recording)
    assert isinstance(header, Header)
    return replay(save([replace(header, kernel=replace(header.kernel, **kernel)), *entries], path))


def test_a_report_names_the_kernels_that_it_may_be_and_those_that_are_left(tmp_path: Path) -> None:
    report = retold(tmp_path / "retold.swtrace", DEBIAN_6_1, release="6.1.0-7.3-x")
    assert report.as_json()["may_be"] == ["stable 6.1 since 6.1.84", "6.1"]
    told = "it may be stable 6.1 since 6.1.84 or 6.1; what it did leaves stable 6.1 since 6.1.84 or 6.1"
    assert f"judged as revision 6.1 or 6.0\n  {told}\n" in report.as_text()
    assert report.exit_code is Exit.OK


def test_a_report_says_that_a_kernel_is_unknown(tmp_path: Path) -> None:
    shown = ("areas", "pools", "total_used", "alloc_size", "pad_slots", "cc_shared")
    report = retold(tmp_path / "retold.swtrace", DEBIAN_6_1, release="6.7.0", features=shown)
    assert (report.exit_code, report.as_json()["revision"], report.as_json()["may_be"]) == (
        Exit.INCONCLUSIVE,
        "unknown",
        [],
    )
    text = report.as_text()
    assert "judged as revision unknown\n  no kernel that is known here has all that 6.7.0 shows" in text
    assert f"inconclusive {Doubt.UNKNOWN_KERNEL.value}: " in text


def test_a_recording_of_a_newer_kernel_that_does_something_else_is_inconclusive(tmp_path: Path) -> None:
    """Some day the search changes again, and no feature tells."""
    report = retold(tmp_path / "retold.swtrace", FOUR_AREAS, release="7.9.0")
    assert report.exit_code is Exit.OK
    entries = load(FOUR_AREAS)
    at = find(entries, Kind.FIND, succeeded, nth=100)
    doctored = change(entries, at, result=record_at(entries, at).result + 1)
    further = save(with_no_call_under_way(doctored), tmp_path / "further.swtrace")
    assert replay(further).exit_code is Exit.DISAGREE
    report = retold(tmp_path / "retold.swtrace", further, release="7.9.0")
    assert (report.exit_code, report.as_json()["first_disagreement"]) == (Exit.INCONCLUSIVE, None)
    assert "this kernel does what none does that is known here" in report.as_text()
