"""A session that cannot begin: one line says why, and nothing is left in the kernel."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from swiotlb_top.cpus import Cpus
from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import layout as kernel_layout
from swiotlb_top.kernel import preemption, refusals, settings
from swiotlb_top.kernel.no_pool import NoPool, NoPoolError
from swiotlb_top.kernel.preemption import Preemption
from swiotlb_top.kernel.symbols import Symbols
from swiotlb_top.probes import session as sessions
from swiotlb_top.probes.read.program import Mode, Window
from swiotlb_top.probes.session import Session
from swiotlb_top.records import RECORD, Kind
from swiotlb_top.state import HookPlace, How
from tests.kernels import KERNELS, layout_of
from tests.unit.probes.read.test_reader import MEM, Memory, static_swiotlb


class LoadedProgram:
    """Stands in for the BPF program, over memory that is laid out as a kernel's."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.open = True
        self.plan = self
        self.waited = 0
        self.waited_for_tasks = 0
        self.has_every_entry = False
        self.modes: list[Mode] = []
        self.ring = SimpleNamespace(drain=bytes, drain_what_is_there=lambda: (True, b""))

    def read(self, *asked: int) -> Window | None:
        return self.memory.read(*asked)

    def places(self) -> tuple[HookPlace, ...]:
        return (HookPlace("map", How.FENTRY, "fentry+fexit", "swiotlb_tbl_map_single"),)

    def set_mode(self, mode: Mode) -> None:
        self.modes.append(mode)

    def wait(self) -> None:
        self.waited += 1

    def wait_for_tasks(self, meanwhile: Callable[[], object]) -> None:
        meanwhile()
        self.waited_for_tasks += 1
        self.has_every_entry = True

    def none_under_way_before(self, now_ns: int) -> int:
        return now_ns

    def close(self) -> None:
        self.open = False


def kernel_with(monkeypatch: pytest.MonkeyPatch, kernel: str, **mem_members: int) -> LoadedProgram:
    """Let sessions begin on a kernel whose allocator holds these numbers."""
    layout = layout_of(kernel)
    layout = replace(layout, symbols=Symbols({**layout.symbols.addresses, "io_tlb_default_mem": MEM}))
    program = LoadedProgram(static_swiotlb(layout, **mem_members))
    monkeypatch.setattr(refusals, "here", refusals.Circumstances)
    monkeypatch.setattr(settings, "text", lambda path: "1")
    monkeypatch.setattr(preemption, "here", lambda: Preemption.NONE)
    monkeypatch.setattr(kernel_layout, "load", lambda: layout)
    monkeypatch.setattr(sessions, "Program", lambda *_, **__: program)
    return program


@pytest.mark.parametrize("kernel", KERNELS)
def test_swiotlb_without_memory_is_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch, kernel: str) -> None:
    program = kernel_with(monkeypatch, kernel, nslabs=0)
    for region in program.memory.regions.values():
        region[:] = bytes(len(region))
    monkeypatch.setattr(NoPoolError, "here", lambda: NoPoolError(NoPool.ALL_WITHIN_REACH))
    with pytest.raises(NoPoolError, match="needs none"):
        Session()
    assert not program.open


def test_a_session_that_cannot_learn_its_kernel_leaves_no_program_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    program = kernel_with(monkeypatch, "debian")
    monkeypatch.setattr(program, "places", lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        Session()
    assert not program.open


def test_a_big_endian_machine_is_refused_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel_with(monkeypatch, "debian")
    monkeypatch.setattr(sys, "byteorder", "big")
    with pytest.raises(CannotError, match="little-endian machines only"):
        Session()


def test_a_session_tells_the_possible_cpus_and_the_machine_s_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel_with(monkeypatch, "debian")
    monkeypatch.setattr(sessions, "possible_cpus", lambda: Cpus.parse("0,2,4,6"))
    kernel = Session().kernel
    assert kernel.cpus.numbers() == (0, 2, 4, 6)
    assert (kernel.page_size_bytes, kernel.byte_order) == (os.sysconf("SC_PAGE_SIZE"), "little")
    assert kernel.version == os.uname().version


def test_a_session_begins_when_the_calls_are_over_that_its_probes_did_not_see_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = kernel_with(monkeypatch, "debian")
    session = Session()
    assert program.waited == 1
    state, _, _ = session.settle()
    assert state.settled


def test_while_a_record_is_being_written_no_more_is_known_than_before(monkeypatch: pytest.MonkeyPatch) -> None:
    program = kernel_with(monkeypatch, "debian")
    session = Session()
    _, known_ns = session.drain_to_what_is_known()
    program.ring.drain_what_is_there = lambda: (False, b"")
    assert session.drain_to_what_is_known() == (b"", known_ns)
    program.ring.drain_what_is_there = lambda: (True, b"")
    assert session.drain_to_what_is_known()[1] > known_ns


def test_two_readers_of_the_same_probes_get_the_same_records_and_the_second_only_if_it_wants_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = kernel_with(monkeypatch, "debian")
    recorder = Session()
    screen = recorder.another()
    unmaps = [RECORD.pack(number, 0, 0, Kind.UNMAP, *[0] * 8) for number in range(4)]
    came = iter(unmaps[:3])
    program.ring.drain = lambda: next(came, b"")
    assert (recorder.drain(), screen.drain()) == (unmaps[0], unmaps[1])
    assert recorder.drain() == unmaps[1] + unmaps[2]
    came = iter(unmaps[3:])
    screen.set_mode(Mode.RECORD)
    assert (recorder.drain(), screen.drain()) == (unmaps[3], unmaps[3])
    screen.set_mode(Mode.COUNT)
    assert program.modes == [Mode.RECORD, Mode.RECORD]
    assert screen.settle()[0].settled


def test_a_state_is_not_settled_where_a_call_is_under_way_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    program = kernel_with(monkeypatch, "debian")
    session = Session()
    monkeypatch.setattr(program, "none_under_way_before", lambda now_ns: 1)
    assert not session.settle()[0].settled


def test_on_a_kernel_that_does_not_preempt_every_call_has_its_entry_once_it_was_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = kernel_with(monkeypatch, "debian")
    session = Session()
    session.wait_for_older_calls(int)
    assert (program.waited, program.waited_for_tasks) == (2, 0)
    assert session.has_every_entry()


def test_on_one_that_does_tasks_are_waited_for_while_records_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    program = kernel_with(monkeypatch, "debian")
    session = Session()
    monkeypatch.setattr(preemption, "here", lambda: Preemption.PREEMPTED)
    assert not session.has_every_entry()
    taken: list[bool] = []
    session.wait_for_older_calls(lambda: taken.append(True))
    assert (program.waited, program.waited_for_tasks, taken) == (2, 1, [True])
    assert session.has_every_entry()


def test_where_locks_sleep_waiting_for_tasks_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    program = kernel_with(monkeypatch, "debian")
    session = Session()
    monkeypatch.setattr(preemption, "here", lambda: Preemption.REAL_TIME)
    session.wait_for_older_calls(int)
    assert program.waited_for_tasks == 0
    assert not session.has_every_entry()


def test_a_state_is_not_settled_while_a_call_may_be_under_way_that_was_not_seen_to_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel_with(monkeypatch, "debian")
    session = Session()
    monkeypatch.setattr(preemption, "here", lambda: Preemption.PREEMPTED)
    assert not session.settle()[0].settled
    session.wait_for_older_calls(int)
    assert session.settle()[0].settled
