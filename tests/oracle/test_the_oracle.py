"""The oracle itself: which revision it compares with, what it sees, and what it says of a difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from swiotlb_top.allocator import Allocator, Hazard, Ledger, Limits, Pool, Request, adopt
from swiotlb_top.allocator.adopt import Flaw
from swiotlb_top.constants import IO_TLB_SIZE
from swiotlb_top.state import AreaState, PoolState
from tests.oracle.cases import CASES, REVISION_OF, Case, case_named
from tests.oracle.compare import DisagreementError, ask, compare
from tests.oracle.compiled import Compiled, compile_source
from tests.oracle.operations import Mode, Scenario
from tests.oracle.reference import Reference

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_types_symbols_and_release_of_what_is_compiled_choose_the_revision(case: Case, kernel: Compiled) -> None:
    choice = kernel.choice()
    assert (choice.revision.name, choice.note) == (REVISION_OF[case.source.name], "")


@every_case
def test_nothing_that_is_done_is_undefined_behaviour(case: Case, kernel: Compiled) -> None:
    sanitized = compile_source(case.source, dynamic=case.mode.dynamic, sanitize=True)
    compare(sanitized, kernel.choice().revision, case.mode, operations=10_000, seed=1)


@every_case
def test_the_kernel_s_slots_are_adopted_as_they_were_meant(case: Case, kernel: Compiled) -> None:
    adopted = 0
    for seed in range(12):
        revision = kernel.choice().revision
        scenario = Scenario(seed, revision, case.mode, 400)
        reference = Reference(revision, dynamic=case.mode.dynamic)
        for command, state in zip(scenario.commands, ask(kernel, scenario.commands), strict=True):
            reference.perform(command)
            if command.startswith("state"):
                adopted += _adopted_alike(_state(state), reference)
    assert adopted


def _adopted_alike(state: PoolState, reference: Reference) -> bool:
    """Whether that can be said: slots behind a pool, which stable 6.1 gives out, are not in its state."""
    meant = next(pool for pool in reference.allocator.pools if pool.start == state.start)
    pool, problems = adopt(state, rule=reference.revision.rule)
    if any(mapping.slot + mapping.nslots > meant.nslabs for mapping in meant.mappings()):
        assert not reference.revision.bounds_list
        assert {problem.flaw for problem in problems} == {Flaw.AREA_USED, Flaw.ALLOC_SIZE}
        return False
    assert problems == ()
    assert pool.free_list() == meant.free_list()
    assert (pool.area_used, pool.area_index) == (meant.area_used, meant.area_index)
    assert _buffers(pool) == _buffers(meant)
    return True


def _buffers(pool: Pool) -> list[tuple[int, int]]:
    return [(mapping.slot, mapping.nslots) for mapping in pool.mappings()]


def _state(line: str) -> PoolState:
    start, *words = line.split()
    nslabs, nareas, area_nslabs, *numbers = map(int, words)
    areas, slots = numbers[: 2 * nareas], numbers[2 * nareas :]
    return PoolState(
        address=1,
        start=int(start, 16),
        nslabs=nslabs,
        nareas=nareas,
        area_nslabs=area_nslabs,
        transient=False,
        begin_ns=0,
        end_ns=0,
        areas=tuple(AreaState(used, index) for used, index in zip(areas[::2], areas[1::2], strict=True)),
        list_=tuple(slots[::4]),
        orig_addr=tuple(slots[1::4]),
        alloc_size=tuple(slots[2::4]),
        pad_slots=tuple(slots[3::4]),
    )


@pytest.mark.parametrize("case", [case_named("6.1-restricted")], ids=lambda case: case.name)
def test_that_a_kernel_gives_out_slots_it_does_not_have_is_no_difference_and_harm(case: Case, kernel: Compiled) -> None:
    # Stable 6.1 lacks 53c87e846e33 ("swiotlb: fix out-of-bounds TLB allocations with CONFIG_SWIOTLB_DYNAMIC", 6.7):
    # `list` of a restricted pool's last slots counts on to the end of the slot set. The reference has that as it is.
    start, nslabs, size_bytes = 0x2000_0000, 140, 8 * IO_TLB_SIZE
    commands = ["init 256 1 1 10000000 0", f"restricted {nslabs} {start:x}", "dev 0 0 ffffffffffffffff ffffffff 0"]
    commands += [f"map 0 0 {0x100000 + number * size_bytes:x} {size_bytes} 0" for number in range(17)]
    commands += [f"unmap 0 {start:x} {size_bytes}", f"map 0 0 f00000 {size_bytes} 0"]
    *_, last = ask(kernel, commands)
    assert int(last.split()[0], 16) + size_bytes > start + nslabs * IO_TLB_SIZE
    compare(kernel, kernel.choice().revision, Mode(restricted=True), operations=10_000, seed=1, minimise=False)
    ledger = Ledger()
    ledger.add_pool("restricted", start, nslabs)
    slot = (int(last.split()[0], 16) - start) // IO_TLB_SIZE
    (harm,) = ledger.mapped("restricted", slot, Request(0xF00000, size_bytes, 0, Limits()))
    assert harm.hazard is Hazard.OUT_OF_BOUNDS
    bounded = replace(kernel.choice().revision, bounds_list=True)
    with pytest.raises(DisagreementError, match="kernel:"):
        compare(kernel, bounded, Mode(restricted=True), operations=10_000, seed=1, minimise=False)


@pytest.mark.parametrize("case", [case_named("6.12-dynamic")], ids=lambda case: case.name)
def test_a_difference_is_told_in_few_commands_the_same_each_time(
    case: Case, kernel: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Allocator, "total_used", property(lambda self: 7))
    told = [_told(case, kernel) for _ in range(2)]
    assert told[0] == told[1]
    head, *lines = told[0]
    assert "6.12" in head
    assert "seed 5" in head
    *_, command, of_reference, of_kernel = lines
    assert command.split() == ["sum"]
    assert of_reference.split()[:3] == ["reference:", of_kernel.split()[1], "7"]
    assert of_kernel.split()[:3] == ["kernel:", of_kernel.split()[1], "0"]
    assert len(lines) < 20


def _told(case: Case, kernel: Compiled) -> Sequence[str]:
    with pytest.raises(DisagreementError) as difference:
        compare(kernel, kernel.choice().revision, case.mode, operations=1000, seed=5)
    return str(difference.value).splitlines()
