"""Waiting for tasks that were preempted in the kernel, by the trampoline of a function that nobody calls."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from threading import Event

import pytest

from swiotlb_top.kernel import symbols
from swiotlb_top.probes.attach import grace, libbpf
from swiotlb_top.probes.attach.grace import TaskGrace
from swiotlb_top.probes.attach.libbpf import RefusedError

FUNCTION = 70


class Kernel:
    """Frees a trampoline so many looks after its program was detached, which takes until ``detaches``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, looks_until_free: int = 2) -> None:
        self.refuses = False
        self.shows = True
        self.looks_until_free = looks_until_free
        self.detaches = Event()
        self.detaches.set()
        self.links: list[int] = []
        self.programs: list[int] = []
        self.somebody_s = 0
        self._left: int | None = None
        close = os.close

        def close_link(descriptor: int) -> None:
            if descriptor in self.links:
                self.detaches.wait()
                self._left = self.looks_until_free
            close(descriptor)

        monkeypatch.setattr(os, "close", close_link)
        monkeypatch.setattr(libbpf, "load_program", self.load)
        monkeypatch.setattr(libbpf, "attach_tracing", self.attach)
        monkeypatch.setattr(symbols, "trampolines", self.trampolines)

    def load(self, *_: object) -> int:
        if self.refuses:
            raise RefusedError(errno.EINVAL, "")
        self.programs.append(os.open(os.devnull, os.O_RDONLY))
        return self.programs[-1]

    def attach(self, program: int) -> int:
        if self.refuses:
            raise RefusedError(errno.EBUSY, "")
        self._left = None
        self.links.append(os.open(os.devnull, os.O_RDONLY))
        return self.links[-1]

    def trampolines(self, function_id: int) -> int:
        assert function_id == FUNCTION
        if self._left is not None:
            self._left -= 1
        ours = bool(self.links) and (self._left is None or self._left > 0)
        return self.somebody_s + (ours and self.shows)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    monkeypatch.setattr(grace, "_LOOK_S", 0.0)
    made = Kernel(monkeypatch)
    yield made
    made.detaches.set()


def is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


def test_it_is_known_when_the_trampoline_is_gone(kernel: Kernel) -> None:
    kernel.looks_until_free = 4
    looks: list[int] = []
    task_grace = TaskGrace(FUNCTION)
    assert task_grace.wait(lambda: looks.append(1))
    assert len(looks) >= 3
    assert is_closed(kernel.links[0])
    task_grace.close()
    assert is_closed(kernel.programs[0])


def test_it_can_be_waited_for_again(kernel: Kernel) -> None:
    task_grace = TaskGrace(FUNCTION)
    assert [task_grace.wait(int), task_grace.wait(int)] == [True, True]
    assert len(kernel.links) == 2


def test_a_trampoline_that_stays_is_not_waited_for_for_ever(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grace, "_MOST_S", 0.0)
    kernel.looks_until_free = 1_000_000
    assert not TaskGrace(FUNCTION).wait(int)


def test_nor_is_a_kernel_that_detaches_for_ever(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grace, "_MOST_S", 0.0)
    kernel.detaches.clear()
    assert not TaskGrace(FUNCTION).wait(int)


def test_while_the_last_one_is_there_or_somebody_else_s_nothing_is_known(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grace, "_MOST_S", 0.05)
    kernel.somebody_s = 1
    assert not TaskGrace(FUNCTION).wait(int)


def test_where_kallsyms_shows_no_trampolines_nothing_is_known_and_nothing_stays_attached(kernel: Kernel) -> None:
    kernel.shows = False
    assert not TaskGrace(FUNCTION).wait(int)
    assert is_closed(kernel.links[0])


def test_where_there_is_no_such_function_nothing_is_known(kernel: Kernel) -> None:
    task_grace = TaskGrace(None)
    assert not task_grace.wait(int)
    assert kernel.programs == []
    task_grace.close()


@pytest.mark.parametrize("loads", [False, True])
def test_where_the_kernel_refuses_nothing_is_known(kernel: Kernel, loads: bool) -> None:
    kernel.refuses = not loads
    task_grace = TaskGrace(FUNCTION)
    kernel.refuses = True
    assert not task_grace.wait(int)
    task_grace.close()


def test_what_fails_while_kallsyms_is_read_leaves_nothing_attached(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: Iterator[int] = iter(())
    monkeypatch.setattr(symbols, "trampolines", lambda _: next(answers))
    closed = Event()
    close = os.close

    def close_and_tell(descriptor: int) -> None:
        close(descriptor)
        closed.set()

    monkeypatch.setattr(os, "close", close_and_tell)
    with pytest.raises(StopIteration):
        TaskGrace(FUNCTION).wait(int)
    assert closed.wait(60)
    assert is_closed(kernel.links[0])
