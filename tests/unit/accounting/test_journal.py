"""What is worth a line in the log: changes between snapshots, told once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swiotlb_top.accounting.journal import entries
from swiotlb_top.accounting.past import Past
from swiotlb_top.accounting.snapshot import Snapshot, VerdictView
from tests.support.snapshots import DEFAULT_POOL, DISK, GROWN_POOL, NVME, QUIET, STALLED, TRANSIENT_POOL

CALM = replace(STALLED, pools=(DEFAULT_POOL,), growths=0, devices=(replace(DISK, map_failures=0), NVME))


def told(*snapshots: Snapshot) -> list[tuple[str, str]]:
    return [(entry.word, entry.sentence) for entry in entries(Past.of(snapshots[0]), *snapshots[-2:])]


def test_nothing_that_stays_is_told() -> None:
    assert told(CALM, CALM) == []
    assert told(STALLED, STALLED) == []


def test_growth_and_the_pools_it_brings() -> None:
    grown = replace(CALM, growths=2, pools=(GROWN_POOL, DEFAULT_POOL))
    assert told(CALM, grown) == [
        ("growth", "swiotlb_dyn_alloc() ran 2 times"),
        ("pool added", "0x100000000: 2048 slots in 4 areas"),
    ]
    assert told(grown, replace(grown, pools=(DEFAULT_POOL,))) == [("pool freed", "0x100000000: 2048 slots in 4 areas")]


def test_transient_pools_come_and_go_untold() -> None:
    assert told(CALM, replace(CALM, pools=(DEFAULT_POOL, TRANSIENT_POOL))) == []


def test_pools_seen_for_the_first_time_were_not_added() -> None:
    assert told(QUIET, replace(QUIET, pools=(GROWN_POOL, DEFAULT_POOL))) == []


def test_a_device_begins_to_fail_once_and_again_after_it_was_quiet_for_long() -> None:
    failing = replace(CALM, devices=(replace(DISK, map_failures=3), NVME))
    still = replace(CALM, devices=(replace(DISK, map_failures=9), NVME))
    sentence = "0000:00:04.0 (virtio-pci): needs 128 contiguous slots, longest free run 126"
    assert told(CALM, failing) == [("failing", sentence)]
    assert told(CALM, failing, still) == []
    assert told(failing, failing, still) == [("failing", sentence)]


def test_a_thousand_devices_do_not_flood_the_log() -> None:
    many = tuple(replace(DISK, dev=number) for number in range(1000))
    assert len(told(CALM, replace(CALM, devices=many))) == 20


def test_losses_are_counted() -> None:
    assert told(CALM, replace(CALM, lost=7)) == [("gap", "7 events lost")]


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        (
            VerdictView("6.10", 10, 9, 1, 0, 0, "operation 10: slot 3; expected slot 2"),
            "operation 10: slot 3; expected slot 2",
        ),
        (VerdictView("6.10", 10, 10, 0, 0, 1), "the kernel broke an invariant"),
    ],
)
def test_a_disagreement_is_told_when_it_comes(verdict: VerdictView, sentence: str) -> None:
    disputed = replace(CALM, verdict=verdict)
    assert told(CALM, disputed) == [("disagreement", sentence)]
    assert told(replace(CALM, verdict=None), disputed) == [("disagreement", sentence)]
    assert told(disputed, disputed) == []
