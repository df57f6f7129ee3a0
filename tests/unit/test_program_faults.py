"""What the kernel side knows it could not tell, in words."""

from __future__ import annotations

from swiotlb_top.probes.program import Faults


def test_every_kind_of_loss_is_a_lost_event() -> None:
    assert Faults(lost_records=1, lost_calls=2, missed_calls=4).lost_events == 7


def test_counters_that_are_inexact_are_said_to_be() -> None:
    assert Faults(lost_records=1).notes() == ()
    assert Faults(uncounted_calls=3).notes() == (
        "3 calls are not counted: there are more devices than the probes have room for",
    )
