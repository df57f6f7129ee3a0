"""What was done in a child process comes back, and the child is gone whatever happened in it."""

from __future__ import annotations

import os
import signal
import time

import pytest

from swiotlb_top.errors import CannotError, SwiotlbTopError, UnreadableError
from swiotlb_top.probes.child import in_child

LONG_S = 60.0


def children() -> list[int]:
    """This process's, those that ended among them."""
    with open(f"/proc/self/task/{os.getpid()}/children") as listed:
        return [int(pid) for pid in listed.read().split()]


def test_the_result_is_another_process_s() -> None:
    before = children()
    assert in_child(os.getpid) != os.getpid()
    assert children() == before


def test_an_answer_may_be_long() -> None:
    assert len(in_child(lambda: bytes(1 << 22))) == 1 << 22


def test_what_it_allocates_stays_there() -> None:
    def resident_kb() -> int:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

    def work() -> int:
        at_first_kb = resident_kb()
        kept = bytearray(b"x") * (256 << 20)
        return (resident_kb() - at_first_kb, len(kept))[0]

    before_kb = resident_kb()
    assert in_child(work) > 200_000
    assert resident_kb() - before_kb < 100_000


def test_an_error_is_raised_here() -> None:
    def work() -> None:
        raise UnreadableError("no such thing")

    with pytest.raises(UnreadableError, match="no such thing"):
        in_child(work)


def test_a_bug_is_raised_here_with_where_it_was() -> None:
    def work() -> None:
        raise KeyError("a bug of ours")

    with pytest.raises(RuntimeError, match="a bug of ours"):
        in_child(work)


@pytest.mark.parametrize(
    ("ending", "said"),
    [(lambda: os.kill(os.getpid(), signal.SIGKILL), "signal 9"), (lambda: os._exit(7), "status 7")],
    ids=["killed", "exited"],
)
def test_a_child_that_ends_without_an_answer_is_said(ending: object, said: str) -> None:
    def work() -> None:
        assert callable(ending)
        ending()

    with pytest.raises(CannotError, match=said):
        in_child(work)
    assert issubclass(CannotError, SwiotlbTopError)


def test_who_is_told_to_stop_meanwhile_leaves_no_child() -> None:
    before = children()

    class ToldError(Exception):
        pass

    def told(number: int, frame: object) -> None:
        raise ToldError

    def work() -> None:
        time.sleep(0.5)  # by then it waits
        os.kill(os.getppid(), signal.SIGUSR1)
        time.sleep(LONG_S)

    previous = signal.signal(signal.SIGUSR1, told)
    try:
        with pytest.raises(ToldError):
            in_child(work)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert children() == before
