"""Who asked for maps that failed: stacks of the probes with the names of functions, ways that are the same together."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from swiotlb_top.accounting.snapshot import Asker
from swiotlb_top.kernel.functions import Functions
from swiotlb_top.probes.read.askers import Asked
from swiotlb_top.probes.read.program import Program
from swiotlb_top.sources import askers
from swiotlb_top.sources.askers import Askers
from tests.support.live_session import FakeProgram

DISK = 0xFFFF_8880_0123_4000
BASE = 0xFFFF_FFFF_8100_0000
NAMES = ("swiotlb_map", "virtblk_add_req", "virtio_queue_rq", "worker_thread", "do_softirq")
SWIOTLB, ADD, QUEUE, WORKER, SOFTIRQ = (BASE + 0x100 * at + 8 for at in range(len(NAMES)))


@pytest.fixture(autouse=True)
def kallsyms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kallsyms"
    path.write_text("".join(f"{BASE + 0x100 * at:016x} t {name}\n" for at, name in enumerate(NAMES)))
    monkeypatch.setattr(askers, "Functions", lambda: Functions(path))


def of(*asked: Asked) -> tuple[Asker, ...]:
    program = FakeProgram(asked={DISK: list(asked)})
    return Askers(cast(Program, program)).of_devices(sum(each.failures for each in asked))[DISK]


def test_a_way_begins_with_the_function_that_asked_and_goes_outwards() -> None:
    assert of(Asked((SWIOTLB, ADD, QUEUE, WORKER), 3)) == (
        Asker(("virtblk_add_req", "virtio_queue_rq", "worker_thread"), 3),
    )


def test_stacks_of_the_same_functions_are_one_way_and_the_commonest_is_first() -> None:
    assert of(Asked((ADD, SOFTIRQ), 3), Asked((ADD, QUEUE), 2), Asked((SWIOTLB, ADD + 4, QUEUE + 4), 2)) == (
        Asker(("virtblk_add_req", "virtio_queue_rq"), 4),
        Asker(("virtblk_add_req", "do_softirq"), 3),
    )


def test_a_stack_that_the_kernel_did_not_give_is_counted_and_has_no_functions() -> None:
    assert of(Asked((), 2)) == (Asker((), 2),)


def test_stacks_are_read_again_only_when_more_has_failed() -> None:
    program = FakeProgram(asked={DISK: [Asked((ADD,), 1)]})
    source = Askers(cast(Program, program))
    assert source.of_devices(0) == {}
    assert source.of_devices(1) == {DISK: (Asker(("virtblk_add_req",), 1),)}
    program.asked = {DISK: [Asked((ADD,), 2)]}
    assert source.of_devices(1)[DISK][0].failures == 1
    assert source.of_devices(2)[DISK][0].failures == 2
