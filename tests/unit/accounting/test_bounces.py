"""Why mappings bounce: each reason where it holds, and where it nearly does."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import product
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting.bounces import RULES, Reason, because, questions
from swiotlb_top.accounting.evidence import Evidence, Tried
from swiotlb_top.allocator import Limits
from swiotlb_top.kernel.around import Around

GIB: Final = 1 << 30
PLAIN: Final = Around(
    asked_for=False,
    encrypted=False,
    encryption_forces=True,
    xen_pv=False,
    bounces_small=False,
    memory_end=2 * GIB - 1,
    translated=False,
    untrusted=False,
    reach=(1 << 64) - 1,
    maps=None,
)
"""A machine on which nothing has to bounce."""
IDLE: Final = Evidence(limits=Limits(), restricted=False, forced=False, around=PLAIN)


def evidence(tried: Tried | None = None, forced: bool | None = False, **around: Any) -> Evidence:
    return replace(IDLE, forced=forced, tried=tried or Tried(), around=replace(PLAIN, **around))


REACHING_4_GIB: Final = replace(evidence(memory_end=8 * GIB - 1), limits=Limits(dma_mask=4 * GIB - 1))
TRANSLATED: Final = evidence(Tried(translated=5), translated=True, untrusted=True)
SMALL: Final = evidence(Tried(small=5), bounces_small=True)

HOLDS: Final = [
    (Reason.NEVER, evidence(maps=False)),
    (Reason.OWN_POOL, replace(IDLE, restricted=True)),
    (Reason.ASKED_FOR, evidence(forced=True, asked_for=True)),
    (Reason.ASKED_FOR, evidence(forced=None, asked_for=True)),
    (Reason.ASKED_FOR, evidence(Tried(within=1), forced=True, asked_for=True, translated=None)),
    (Reason.ENCRYPTED, evidence(forced=True, encrypted=True)),
    (Reason.ENCRYPTED, evidence(forced=True, encrypted=None)),
    (Reason.ENCRYPTED, evidence(forced=False, encrypted=True, encryption_forces=False)),
    (Reason.FORCED, evidence(forced=True, asked_for=None, encrypted=None)),
    (Reason.OUT_OF_REACH, REACHING_4_GIB),
    (Reason.OUT_OF_REACH, replace(evidence(reach=4 * GIB - 1, memory_end=4 * GIB), limits=None)),
    (Reason.OUT_OF_REACH, evidence(Tried(beyond=3, within=0))),
    (Reason.UNTRUSTED, TRANSLATED),
    (Reason.UNTRUSTED, evidence(Tried(translated=5), translated=None, untrusted=None)),
    (Reason.UNTRUSTED, evidence(translated=True, untrusted=True)),
    (Reason.UNALIGNED, SMALL),
    (Reason.XEN, evidence(xen_pv=True)),
]
NEARLY: Final = [
    (Reason.NEVER, evidence(maps=True)),
    (Reason.NEVER, evidence(Tried(within=1), maps=False)),
    (Reason.OWN_POOL, IDLE),
    (Reason.ASKED_FOR, evidence(forced=True, asked_for=False)),
    (Reason.ASKED_FOR, evidence(forced=False, asked_for=True)),
    (Reason.ASKED_FOR, evidence(Tried(translated=1), forced=True, asked_for=True)),
    (Reason.ASKED_FOR, evidence(forced=True, asked_for=True, translated=True)),
    (Reason.ASKED_FOR, replace(evidence(forced=True, asked_for=True), restricted=True)),
    (Reason.ENCRYPTED, evidence(forced=False, encrypted=None)),
    (Reason.ENCRYPTED, evidence(forced=True, encrypted=None, asked_for=True)),
    (Reason.ENCRYPTED, evidence(forced=True, encrypted=True, translated=True)),
    (Reason.ENCRYPTED, evidence(forced=True, encrypted=None, encryption_forces=False)),
    (Reason.FORCED, evidence(forced=True, asked_for=True, encrypted=None)),
    (Reason.FORCED, evidence(forced=False, asked_for=None, encrypted=None)),
    (Reason.OUT_OF_REACH, replace(REACHING_4_GIB, around=replace(PLAIN, memory_end=4 * GIB - 1))),
    (Reason.OUT_OF_REACH, replace(REACHING_4_GIB, tried=Tried(within=9))),
    (Reason.OUT_OF_REACH, replace(REACHING_4_GIB, around=replace(REACHING_4_GIB.around, translated=True))),
    (Reason.OUT_OF_REACH, evidence(Tried(beyond=3), xen_pv=True)),
    (Reason.UNTRUSTED, evidence(translated=False, untrusted=True)),
    (Reason.UNTRUSTED, evidence(Tried(beyond=1), translated=None, untrusted=True)),
    (Reason.UNTRUSTED, evidence(Tried(translated=5), translated=True, untrusted=False, bounces_small=True)),
    (Reason.UNALIGNED, replace(SMALL, around=PLAIN)),
    (Reason.UNALIGNED, replace(SMALL, tried=Tried(small=5, within=1))),
    (Reason.UNALIGNED, replace(SMALL, forced=None)),
    (Reason.UNALIGNED, replace(SMALL, around=replace(SMALL.around, xen_pv=None))),
    (Reason.XEN, evidence(xen_pv=None)),
]


@pytest.mark.parametrize(("reason", "shown"), HOLDS)
def test_a_reason_that_holds_is_told(reason: Reason, shown: Evidence) -> None:
    assert [told.reason for told in because(shown)] == [reason]
    assert questions(shown) == ()


@pytest.mark.parametrize(("reason", "shown"), NEARLY)
def test_a_reason_that_nearly_holds_is_not_told(reason: Reason, shown: Evidence) -> None:
    assert reason not in [told.reason for told in because(shown)]


def test_each_reason_is_tried_both_ways() -> None:
    assert {rule.reason for rule in RULES} == {*Reason} == {reason for reason, _ in HOLDS}
    assert {reason for reason, _ in NEARLY} == {*Reason}


def test_where_all_is_known_and_no_reason_holds_nothing_is_asked() -> None:
    assert (because(IDLE), questions(IDLE)) == ((), ())


def test_what_is_not_known_is_asked_with_the_command_that_tells() -> None:
    old_recording = Evidence(Limits(), False, None, Tried(within=9), Around(bounces_small=False))
    assert because(old_recording) == ()
    assert tuple(map(str, questions(old_recording))) == (
        "whether the kernel was booted with swiotlb=force is not known (cat /proc/cmdline tells)",
        "whether memory is encrypted is not known (dmesg | grep -i 'memory encryption' tells)",
        "whether Xen moves its pages is not known (cat /sys/hypervisor/guest_type tells)",
    )


def test_what_is_out_of_reach_leaves_open_why_other_buffers_bounce() -> None:
    shown = replace(IDLE, limits=Limits(dma_mask=4 * GIB - 1), tried=Tried(beyond=1200, within=34), forced=None)
    (told,) = because(shown)
    assert told.sentence == (
        "1,200 of 1,234 recorded maps had a buffer that ends above 0xffffffff, the highest address that the device "
        "reaches"
    )
    assert questions(replace(shown, around=replace(PLAIN, asked_for=None)))
    assert not questions(replace(shown, tried=Tried(beyond=1200), around=replace(PLAIN, asked_for=None)))


def test_where_a_bus_may_shift_addresses_that_is_said() -> None:
    limits = Limits(bus_dma_limit=GIB - 1)
    (told,) = because(replace(IDLE, limits=limits, tried=Tried(beyond=1)))
    assert told.sentence.endswith("(if its bus does not shift addresses: it has a bus_dma_limit)")


def test_of_nothing_no_reason_is_claimed() -> None:
    assert because(Evidence()) == ()
    assert len(questions(Evidence())) == sum(bool(rule.question) for rule in RULES)


KNOWN_OR_NOT: Final = st.none() | st.booleans()
AROUND: Final = st.builds(
    Around,
    **{
        field.name: st.none() | st.integers(1, (1 << 64) - 1) if "int" in str(field.type) else KNOWN_OR_NOT
        for field in fields(Around)
    },
)
TRIED: Final = st.builds(Tried, *[st.integers(0, 3)] * 4)
UNTRIED: Final = st.builds(Evidence, st.none(), KNOWN_OR_NOT, KNOWN_OR_NOT, st.just(Tried()), AROUND)
EVIDENCE: Final = UNTRIED | st.builds(Evidence, st.just(Limits()), KNOWN_OR_NOT, KNOWN_OR_NOT, TRIED, AROUND)
"""Maps are sorted only after the device's limits are known."""


@given(EVIDENCE)
def test_any_evidence_has_an_answer_and_force_is_no_reason_behind_an_iommu(shown: Evidence) -> None:
    told = {one.reason for one in because(shown)}
    if shown.is_direct is False:
        assert not told & {Reason.ASKED_FOR, Reason.ENCRYPTED, Reason.FORCED, Reason.OUT_OF_REACH, Reason.XEN}
    if shown.is_direct:
        assert Reason.UNTRUSTED not in told
    if Reason.NEVER in told:
        assert told <= {Reason.NEVER, Reason.OWN_POOL}
    assert all(one.sentence for one in because(shown))


@given(EVIDENCE)
def test_to_know_less_never_adds_a_claim_about_force(shown: Evidence) -> None:
    """What is claimed without a fact is not refuted by either value of it."""
    for name, value in product(("asked_for", "encrypted"), (True, False)):
        without = replace(shown, around=replace(shown.around, **{name: None}))
        claimed = {one.reason for one in because(without)} & {Reason.ASKED_FOR, Reason.OWN_POOL, Reason.NEVER}
        having = replace(shown, around=replace(shown.around, **{name: value}))
        assert claimed <= {one.reason for one in because(having)}
