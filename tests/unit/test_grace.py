"""Waiting for calls under way: the kernel waits, or this thread visits every CPU, or it says that it could not."""

from __future__ import annotations

import os
import platform

import pytest

from swiotlb_top.kernel import grace, settings


@pytest.fixture
def visited(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """Where this thread was sent, on a machine whose CPUs 0, 2 and 3 are online."""
    went: list[set[int]] = []
    monkeypatch.setattr(settings, "text", lambda path: "0,2-3")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 3})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cpus: went.append(cpus))
    return went


def test_where_the_kernel_waits_nobody_goes_anywhere(monkeypatch: pytest.MonkeyPatch, visited: list[set[int]]) -> None:
    monkeypatch.setattr(grace, "_wait_in_kernel", lambda: True)
    assert grace.wait_for_calls_under_way()
    assert visited == []


def test_where_the_kernel_refuses_every_cpu_that_is_online_is_visited(
    monkeypatch: pytest.MonkeyPatch, visited: list[set[int]]
) -> None:
    """It answers EINVAL where some CPUs have no tick."""
    monkeypatch.setattr(grace, "_GLOBAL", 1 << 30)
    assert not grace._wait_in_kernel()
    assert grace.wait_for_calls_under_way()
    assert visited == [{0}, {2}, {3}, {0, 2, 3}]


def test_a_machine_whose_system_calls_are_not_known_has_its_cpus_visited(
    monkeypatch: pytest.MonkeyPatch, visited: list[set[int]]
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert grace.wait_for_calls_under_way()
    assert len(visited) == 4


def test_a_cpu_that_is_out_of_bounds_may_have_a_call_under_way(
    monkeypatch: pytest.MonkeyPatch, visited: list[set[int]]
) -> None:
    monkeypatch.setattr(grace, "_wait_in_kernel", lambda: False)

    def confined(_: int, cpus: set[int]) -> None:
        if cpus == {2}:
            raise OSError("EINVAL")
        visited.append(cpus)

    monkeypatch.setattr(os, "sched_setaffinity", confined)
    assert not grace.wait_for_calls_under_way()
    assert visited == [{0}, {0, 2, 3}]


def test_where_it_is_not_told_which_cpus_are_online_nothing_is_promised(
    monkeypatch: pytest.MonkeyPatch, visited: list[set[int]]
) -> None:
    monkeypatch.setattr(grace, "_wait_in_kernel", lambda: False)
    monkeypatch.setattr(settings, "text", lambda path: "")
    assert not grace.wait_for_calls_under_way()


def test_a_process_that_may_go_nowhere_stays_and_says_so(
    monkeypatch: pytest.MonkeyPatch, visited: list[set[int]]
) -> None:
    """As under the exporter's systemd unit, which filters system calls."""
    monkeypatch.setattr(grace, "_wait_in_kernel", lambda: False)

    def filtered(_: int, cpus: set[int]) -> None:
        raise PermissionError("sched_setaffinity")

    monkeypatch.setattr(os, "sched_setaffinity", filtered)
    assert not grace.wait_for_calls_under_way()
