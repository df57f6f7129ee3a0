"""Each rule: what it finds, and what is nearly the same and no finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from swiotlb_top.accounting.finding import ADVICE, MEANINGS, Finding, Kind
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import Asker, DeviceView, Earlier, Snapshot, Starved, VerdictView
from swiotlb_top.allocator import Cause
from swiotlb_top.findings.rules import KIND_OF_CAUSE, findings
from swiotlb_top.findings.watched import MOST_READINGS, SLOPE_LEAST_NS, Watched
from swiotlb_top.kernel_log.watch import KernelLog
from tests.support import snapshots
from tests.support.logs import EARLIER, FULL, POOL, found
from tests.support.snapshots import DEBUGFS, NVME, QUIET, SECOND_NS, STARVED

DISK = replace(snapshots.DISK, askers=())
SOUND = replace(QUIET, nslabs=1000, verdict=VerdictView("6.10", 10, 10, 0, 0, 0), maps=40, unmaps=40)


def watched(*snapshots: Snapshot, every_ns: int = SECOND_NS) -> Watched:
    """Frames of these snapshots, so far apart."""
    seen = Watched()
    for at, snapshot in enumerate(snapshots):
        seen.add(Frame(replace(snapshot, time_ns=(at + 1) * every_ns)))
    return seen


def kinds(seen: Watched) -> list[Kind]:
    return [finding.kind for finding in findings(seen)]


def one(seen: Watched) -> Finding:
    (finding,) = findings(seen)
    return finding


def holding(held: Sequence[int], mean_slots: int = 1, device: DeviceView = NVME) -> list[Snapshot]:
    """A snapshot for each number of mappings that the device holds; each is of so many slots."""
    return [
        replace(
            SOUND,
            used_slots=maps * mean_slots,
            devices=(
                replace(device, maps=5000 + maps, unmaps=5000, map_failures=0, asked_slots=(5000 + maps) * mean_slots),
            ),
        )
        for maps in held
    ]


def failing(cause: Cause | None, *others: DeviceView) -> Watched:
    device = replace(DISK, causes=((cause, 3),) if cause else (), map_failures=3, held_slots=-1, maps=97, unmaps=97)
    return watched(replace(SOUND, map_failures=3, devices=(device, *others), used_slots=250))


# ---- nothing ------------------------------------------------------------------


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert kinds(watched(SOUND, SOUND)) == []


def test_nothing_is_found_where_nothing_is_known() -> None:
    unknown = replace(DEBUGFS, nslabs=-1, used_slots=-1, used_hiwater_slots=-1)
    assert kinds(watched(*[unknown] * 50)) == []


# ---- what the reference says ----------------------------------------------------


def test_harm_is_found_before_all_else() -> None:
    harmed = replace(SOUND, verdict=VerdictView("6.10", 10, 8, 2, 0, 1, "operation 3: it"), map_failures=1)
    first, *_ = findings(watched(harmed))
    assert first.kind is Kind.HARM
    assert first.evidence == ("1 safety violation in 10 operations compared", "operation 3: it")


def test_a_disagreement_without_harm_is_one() -> None:
    differs = replace(SOUND, verdict=VerdictView("6.10", 10, 8, 2, 0, 0))
    assert one(watched(differs)).evidence == ("2 of 10 operations differ",)


# ---- failed maps ------------------------------------------------------------------


@pytest.mark.parametrize("cause", Cause)
def test_a_failing_device_is_found_by_its_commonest_cause(cause: Cause) -> None:
    finding = one(failing(cause))
    assert (finding.kind, finding.device, finding.driver) == (KIND_OF_CAUSE[cause], DISK.name, DISK.driver)
    asked = 97 if cause is Cause.UNREACHABLE else 100  # what was given back at once is counted as a map, too
    assert finding.evidence[:2] == (f"3 of {asked} maps failed: {cause.value} 3", f"the latest {DISK.last_failure}")


def test_failures_that_nobody_explained_are_told_as_such() -> None:
    assert one(failing(None)).kind is Kind.UNEXPLAINED


def test_failures_of_unknown_devices_are_told() -> None:
    assert one(watched(replace(SOUND, map_failures=2))).evidence == ("2 maps failed, of which device is not known",)


def test_beside_who_fails_stands_who_holds_most() -> None:
    holder = replace(NVME, maps=210, unmaps=0, asked_slots=210)
    evidence = one(failing(Cause.EXHAUSTED, holder)).evidence
    assert evidence[2:] == (
        "when 250 of 1,000 slots were in use, nvme 0000:00:05.0 (nvme0n1) held most: about 210 slots in 210 mappings",
        "about 40 of them were held since before this began to watch: nobody can tell by whom",
    )


def test_a_device_with_a_pool_of_its_own_holds_nothing_of_the_pools_that_are_full() -> None:
    own = replace(NVME, maps=210, unmaps=0, asked_slots=210, evidence=replace(NVME.evidence, restricted=True))
    assert one(failing(Cause.EXHAUSTED, own)).holder is None


def test_victim_and_holder_are_told_in_one_line() -> None:
    holder = replace(NVME, maps=210, unmaps=0, asked_slots=210)
    finding = one(failing(Cause.EXHAUSTED, holder))
    assert finding.sentence == "0000:00:04.0 failed; 0000:00:05.0 holds about 210 of 1,000 slots"
    assert finding.holder is not None
    assert finding.as_json()["holder"] == {
        "device": "0000:00:05.0",
        "driver": "nvme",
        "known_as": "nvme0n1",
        "held_slots": 210,
        "older_slots": 0,
        "is_exact": False,
        "held_maps": 210,
        "oldest_open_ns": None,
        "used_slots": 250,
        "all_slots": 1000,
        "is_now": True,
    }


OLDER = replace(NVME, maps=0, unmaps=0, asked_slots=0, held_slots=0, earlier=Earlier(105, 210, 0))
"""It made nothing since this began to watch, and has shown that it holds what was there before."""


def test_who_has_held_most_since_before_this_began_to_watch_stands_beside_who_fails() -> None:
    device = replace(DISK, causes=((Cause.EXHAUSTED, 3),), map_failures=3, held_slots=40)
    finding = one(watched(replace(SOUND, map_failures=3, devices=(device, OLDER), used_slots=250, unowned_slots=0)))
    assert finding.sentence == "0000:00:04.0 failed; 0000:00:05.0 holds 210 of 1,000 slots"
    assert finding.evidence[2:] == (
        "when 250 of 1,000 slots were in use, nvme 0000:00:05.0 (nvme0n1) held most: 210 slots in 105 mappings, all of "
        "them from before this began to watch",
    )
    assert finding.holder is not None
    assert (finding.holder.older_slots, finding.holder.is_exact) == (210, True)


def test_of_what_it_holds_only_a_part_may_be_older() -> None:
    device = replace(DISK, causes=((Cause.EXHAUSTED, 3),), map_failures=3, held_slots=10)
    card = replace(OLDER, maps=2, held_slots=30)
    finding = one(watched(replace(SOUND, map_failures=3, devices=(device, card), used_slots=250, unowned_slots=0)))
    assert "240 slots in 107 mappings, 210 of them from before this began to watch" in finding.evidence[2]


def test_who_shows_itself_later_held_it_already_when_most_slots_were_in_use() -> None:
    device = replace(DISK, causes=((Cause.EXHAUSTED, 3),), map_failures=3, held_slots=40)
    then = replace(SOUND, map_failures=3, devices=(device,), used_slots=250, unowned_slots=210)
    later = replace(then, devices=(replace(device, held_slots=0), OLDER), used_slots=210, unowned_slots=0)
    assert one(watched(then)).holder is None, "somebody holds more than the disk"
    finding = one(watched(then, later))
    assert finding.sentence == "0000:00:04.0 failed; 0000:00:05.0 held 210 of 1,000 slots"
    assert len(finding.evidence) == 3, "nothing of it is nobody's any more"


def test_what_nobody_has_shown_to_hold_is_told_exactly_where_that_is_known() -> None:
    device = replace(DISK, causes=((Cause.EXHAUSTED, 3),), map_failures=3, held_slots=40)
    finding = one(watched(replace(SOUND, map_failures=3, devices=(device,), used_slots=250, unowned_slots=210)))
    assert finding.evidence[-1] == (
        "210 of 250 slots in use were held since before this began to watch: nobody can tell by whom"
    )


def test_who_fails_now_comes_before_who_failed_more_often_and_is_told_as_now() -> None:
    old = replace(NVME, dev=1, name="0000:00:09.0", map_failures=1000)
    before = replace(STARVED.now, devices=(*STARVED.now.devices, old))
    failing_more = tuple(
        replace(device, map_failures=device.map_failures + 2 * (device.dev == DISK.dev)) for device in before.devices
    )
    seen = Watched()
    seen.add(Frame(replace(before, time_ns=before.time_ns + SECOND_NS, devices=failing_more), before))
    told = [finding.sentence for finding in findings(seen)]
    assert told[0] == "0000:00:04.0 fails; 0000:00:05.0 holds 210 of 256 slots"
    assert told[1] == "0000:00:09.0 failed; 0000:00:05.0 holds 210 of 256 slots"


def test_who_holds_most_may_be_who_fails() -> None:
    device = replace(DISK, causes=((Cause.EXHAUSTED, 3),), map_failures=3, held_slots=200)
    seen = watched(replace(SOUND, map_failures=3, devices=(device,), used_slots=200))
    assert one(seen).sentence == "0000:00:04.0 failed; it holds 200 of 1,000 slots itself"


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        (130, "0000:00:04.0 failed; it held 130 of 256 slots itself"),
        (20, "0000:00:04.0 failed; 0000:00:05.0 holds about 210 of 1,000 slots"),
    ],
)
def test_when_the_map_failed_the_device_may_have_held_most_itself(held: int, sentence: str) -> None:
    """A disk that maps and gives back all of a request at once holds nothing at any reading."""
    holder = replace(NVME, maps=210, unmaps=0, asked_slots=210)
    device = replace(DISK, causes=((Cause.EXHAUSTED, 3),), starved=Starved(held, 250, 256), held_slots=0)
    finding = one(watched(replace(SOUND, map_failures=3, devices=(device, holder), used_slots=250)))
    assert finding.sentence == sentence
    assert (
        f"when its latest map failed, 250 of 256 slots were in use; it held {held} of them itself" in finding.evidence
    )


def test_who_held_most_some_time_ago_does_not_hold_it_now() -> None:
    holder = replace(NVME, maps=210, unmaps=0, asked_slots=210)
    then = replace(SOUND, devices=(holder,), used_slots=250)
    now = replace(SOUND, map_failures=3, devices=(replace(DISK, causes=((Cause.EXHAUSTED, 3),), held_slots=0),))
    assert one(watched(then, now)).sentence == "0000:00:04.0 failed; 0000:00:05.0 held about 210 of 1,000 slots"


def test_who_asked_for_most_of_what_failed_is_evidence() -> None:
    ways = (Asker(("virtblk_add_req", "virtio_queue_rq", "a", "b", "c", "d"), 2), Asker(("scsi_queue_rq",), 1))
    device = replace(DISK, causes=((Cause.EXHAUSTED, 3),), askers=ways)
    found = one(watched(replace(SOUND, map_failures=3, devices=(device,))))
    assert "2 of them were asked for by virtblk_add_req < virtio_queue_rq < a < b < c" in found.evidence


def test_who_is_not_known_did_not_ask() -> None:
    device = replace(DISK, causes=((Cause.EXHAUSTED, 3),), askers=(Asker((), 3),))
    found = one(watched(replace(SOUND, map_failures=3, devices=(device,))))
    assert not [sentence for sentence in found.evidence if "asked for by" in sentence]


def test_the_age_of_the_holders_oldest_mapping_is_evidence() -> None:
    (finding, *_) = findings(watched(STARVED.now, every_ns=6 * SECOND_NS))
    assert "210 slots in 210 mappings, the oldest for 3.0s" in finding.evidence[2]


def test_so_is_that_of_whoever_leaks() -> None:
    leaking = [
        replace(one, devices=(replace(one.devices[0], oldest_ns=SECOND_NS),)) for one in holding(range(100, 200, 2))
    ]
    assert one(watched(*leaking)).evidence[2] == "its oldest mapping has been open for 49s"


def test_what_is_nearly_full_now_is_found_whatever_was_in_use_before() -> None:
    """More slots were in use before, and there were still more of them."""
    then = replace(SOUND, used_slots=1300, transient_slots=800)
    assert one(watched(then, replace(SOUND, used_slots=950))).evidence[0] == "950 of 1,000 slots (95.0%) are in use now"


def test_who_holds_slots_does_not_matter_where_none_would_do() -> None:
    holder = replace(NVME, maps=210, unmaps=0, asked_slots=210)
    assert len(one(failing(Cause.TOO_LARGE, holder)).evidence) == 2


def test_fragmented_says_how_many_are_free() -> None:
    assert "750 slots are free now, in pieces" in one(failing(Cause.FRAGMENTED)).evidence


# ---- before ---------------------------------------------------------------------


def test_maps_that_failed_before_are_told() -> None:
    finding = one(watched(replace(SOUND, kernel_log=EARLIER)))
    assert finding.kind is Kind.FAILED_BEFORE
    assert "before this began to look, as the kernel's log has it" in finding.evidence[0]


def test_failures_that_are_counted_are_not_told_twice() -> None:
    log = KernelLog(since=found(FULL))
    assert kinds(watched(replace(SOUND, kernel_log=log, map_failures=1))) == [Kind.UNEXPLAINED]
    assert kinds(watched(replace(DEBUGFS, kernel_log=log))) == [Kind.FAILED_BEFORE]


def test_other_trouble_in_the_log_is_no_failed_map() -> None:
    assert kinds(watched(replace(SOUND, kernel_log=KernelLog(before=found(POOL))))) == []


# ---- how full ---------------------------------------------------------------------


@pytest.mark.parametrize(("used", "nearly"), [(899, False), (900, True), (1000, True)])
def test_from_nine_tenths_on_the_pools_are_nearly_full(used: int, nearly: bool) -> None:
    assert (Kind.NEARLY_FULL in kinds(watched(replace(SOUND, used_slots=used), SOUND))) == nearly
    assert (Kind.NEARLY_FULL in kinds(watched(replace(SOUND, used_hiwater_slots=used)))) == nearly


# ---- leaks -----------------------------------------------------------------------


def test_what_rises_all_the_time_may_leak() -> None:
    finding = one(watched(*holding(range(100, 200, 2))))
    assert (finding.kind, finding.device) == (Kind.LEAK, NVME.name)
    assert finding.evidence == (
        "it holds 198 mappings, 80 more than 49s before",
        "about 120 slots more a minute; at this rate the pools are full in 6m41s",
    )


@pytest.mark.parametrize(
    "held",
    [
        [100] * 50,
        [*range(100, 150), 100],
        [100 + 40 * (at % 3) for at in range(50)],
        [*range(100, 140), *[140] * 20],
        range(100, 150),
        range(150, 50, -2),
    ],
    ids=["steady", "falls back", "comes and goes", "stays in the end", "rises by less than a twentieth", "falls"],
)
def test_what_does_not_is_no_leak(held: Sequence[int]) -> None:
    assert kinds(watched(*holding(held))) == []


def test_in_a_short_time_a_load_that_begins_looks_like_a_leak() -> None:
    assert kinds(watched(*holding(range(100, 200, 2)), every_ns=SLOPE_LEAST_NS // 60)) == []


# ---- runaways ------------------------------------------------------------------------


def test_who_takes_half_of_the_slots_within_a_second_runs_away() -> None:
    finding = one(watched(*holding([10, 10, 270], mean_slots=2)))
    assert (finding.kind, finding.device) == (Kind.RUNAWAY, NVME.name)
    assert finding.evidence == ("it took about 520 of 1,000 slots within 1.0s", "it holds 540 slots now")


@pytest.mark.parametrize(
    ("held", "every_ns"), [([10, 250], SECOND_NS), ([10, 270], 2 * SECOND_NS)], ids=["less", "in a longer time"]
)
def test_others_do_not(held: list[int], every_ns: int) -> None:
    assert kinds(watched(*holding(held, mean_slots=2), every_ns=every_ns)) == []


@pytest.mark.parametrize(
    ("held", "expected"),
    [([10, 270], [Kind.RUNAWAY]), ([10, 270, 270, 10], [Kind.RUNAWAY]), ([10, 270, 10], []), ([10, 270, 10, 10], [])],
    ids=["at this moment", "kept", "given back", "given back some time ago"],
)
def test_what_is_given_back_within_a_second_was_a_burst(held: list[int], expected: list[Kind]) -> None:
    assert kinds(watched(*holding(held, mean_slots=2))) == expected


def test_slots_that_others_gave_back_are_not_taken_twice() -> None:
    """What is in use did not rise: somebody else had as many before."""
    first, second = holding([10, 270], mean_slots=2)
    assert kinds(watched(replace(first, used_slots=540), second)) == []


# ---- growth --------------------------------------------------------------------------


@pytest.mark.parametrize(("growths", "added", "expected"), [(3, 0, [Kind.GROWTH_FAILS]), (2, 0, []), (3, 1, [])])
def test_growth_that_adds_nothing(growths: int, added: int, expected: list[Kind]) -> None:
    assert kinds(watched(replace(SOUND, growths=growths, pools_added=added))) == expected


@pytest.mark.parametrize(("seen", "expected"), [(5, [Kind.TRANSIENT]), (4, [])])
def test_transient_pools_at_most_times(seen: int, expected: list[Kind]) -> None:
    some = replace(SOUND, transient_slots=8)
    assert kinds(watched(*[some] * seen, *[SOUND] * (10 - seen))) == expected


# ---- all of them ------------------------------------------------------------------------


def test_every_kind_has_a_meaning_and_advice() -> None:
    assert set(MEANINGS) == set(ADVICE) == set(Kind)
    assert set(KIND_OF_CAUSE) == set(Cause)


def test_readings_of_a_long_time_are_thinned_out() -> None:
    seen = watched(*[SOUND] * (3 * MOST_READINGS))
    assert len(seen.readings) <= MOST_READINGS
    assert seen.readings[0].time_ns == SECOND_NS
    assert seen.duration_ns == pytest.approx(3 * MOST_READINGS * SECOND_NS, rel=0.01)


def test_a_frame_of_a_source_that_failed_is_no_reading() -> None:
    seen = watched(SOUND)
    seen.add(Frame(SOUND, failure="no answer"))
    assert len(seen.readings) == 1
    with pytest.raises(ValueError, match="nothing"):
        _ = Watched().now


def test_slots_that_were_in_use_are_a_share_of_those_that_there_were_then() -> None:
    """Transient pools have gone since."""
    then = replace(SOUND, used_slots=1300, transient_slots=400)
    assert one(watched(then, SOUND)).evidence[0] == "1,300 of 1,400 slots (92.8%) were in use while this watched"
