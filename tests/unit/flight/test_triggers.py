"""When a file is written: at the first failure, or where there are many, or little is left; and once an episode."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.errors import UsageError
from swiotlb_top.flight.triggers import KINDS, Alarm, Sight, Trigger, form

SECOND_NS = 1_000_000_000
LOOK_NS = 50_000_000
FAILURE = (Trigger("failure"),)


def look(time_ns: int, failures: int = 0, used: int = -1, of_all: int = -1) -> Sight:
    return Sight(time_ns, failures, used, of_all)


def test_the_first_failure_is_a_reason() -> None:
    alarm = Alarm(FAILURE, SECOND_NS)
    assert alarm.reason(look(0)) == ""
    assert alarm.reason(look(LOOK_NS, failures=1)) == "failure"


def test_more_than_so_many_failures_in_a_second_are_one_and_as_many_are_none() -> None:
    alarm = Alarm((Trigger("failures", 10),), SECOND_NS)
    assert [alarm.reason(look(n * SECOND_NS // 2, failures=5)) for n in range(4)] == ["", "", "", ""]
    assert alarm.reason(look(2 * SECOND_NS, failures=6)) == "failures"


def test_failures_of_long_ago_do_not_count() -> None:
    alarm = Alarm((Trigger("failures", 10),), SECOND_NS)
    assert [alarm.reason(look(n * SECOND_NS, failures=10)) for n in range(9)] == [""] * 9


def test_more_than_a_share_of_all_slots_in_use_is_one() -> None:
    alarm = Alarm((Trigger("use", 90),), SECOND_NS)
    assert alarm.reason(look(0, used=90, of_all=100)) == ""
    assert alarm.reason(look(1, used=91, of_all=100)) == "use"


def test_a_disagreement_is_one_and_only_who_asks_for_it_needs_a_judge() -> None:
    alarm = Alarm((Trigger("disagreement"),), SECOND_NS)
    assert alarm.reason(look(0, failures=9)) == ""
    assert alarm.reason(look(1)._replace(disagreements=1)) == "disagreement"
    assert alarm.needs_judge
    assert not Alarm(FAILURE, 1).needs_judge


def test_what_was_not_looked_at_is_no_reason() -> None:
    assert Alarm((Trigger("use", 0),), SECOND_NS).reason(look(0)) == ""


def test_only_who_asks_for_it_has_the_use_looked_at() -> None:
    assert Alarm((Trigger("use", 50), *FAILURE), 1).watches_use
    assert not Alarm(FAILURE, 1).watches_use


@given(st.lists(st.integers(1, 60), min_size=1, max_size=200), st.integers(61, 600))
def test_a_storm_of_any_length_is_one_reason(pauses: list[int], quiet: int) -> None:
    alarm, now_ns = Alarm(FAILURE, quiet * LOOK_NS), 0
    reasons = []
    for pause in pauses:
        now_ns += pause * LOOK_NS
        reasons.append(alarm.reason(look(now_ns, failures=1)))
    assert [reason for reason in reasons if reason] == ["failure"]
    assert alarm.reason(look(now_ns + quiet * LOOK_NS, failures=1)) == "failure"


def test_another_trigger_belongs_to_the_same_episode() -> None:
    alarm = Alarm((*FAILURE, Trigger("use", 90)), SECOND_NS)
    assert alarm.reason(look(0, failures=1)) == "failure"
    assert alarm.reason(look(LOOK_NS, used=99, of_all=100)) == ""


@pytest.mark.parametrize(
    ("text", "trigger"),
    [("failure", Trigger("failure")), ("failures=0.5", Trigger("failures", 0.5)), ("use=90", Trigger("use", 90.0))],
)
def test_a_trigger_is_a_name_and_its_number(text: str, trigger: Trigger) -> None:
    assert Trigger.parse(text) == trigger


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fail",
        "disagreement=1",
        "failure=1",
        "failures",
        "failures=",
        "use=100",
        "use=-1",
        "use=nan",
        "use=x",
        "use=inf",
        "=",
    ],
)
def test_what_is_none_is_refused_in_a_line_that_says_what_there_is(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Trigger.parse(text)
    assert "\n" not in str(refused.value)
    assert all(form(name) in str(refused.value) for name in KINDS) or "is a number from 0 to below" in str(
        refused.value
    )
