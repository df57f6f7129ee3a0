"""The native core counts what is rare among the common as Python counts it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias
from unittest.mock import patch

import pytest

from swiotlb_top import native
from swiotlb_top.accounting.account import Account
from swiotlb_top.allocator import named
from swiotlb_top.events import Event, Find
from swiotlb_top.state import DeviceName
from swiotlb_top.stream import Batch
from tests.fuzz.native import of_account
from tests.support.histories import DEV, LIMITS, device, found, machine, released
from tests.support.native_builds import HAVE_COMPILER, build
from tests.support.packed import packed

pytestmark = pytest.mark.skipif(not HAVE_COMPILER, reason="gcc is not installed")

REACH = LIMITS.phys_limit
Step: TypeAlias = DeviceName | Sequence[Event]


@pytest.fixture(autouse=True, scope="module")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The core as it is here now, whatever was installed."""
    directory: Path = tmp_path_factory.mktemp("core")
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(native, "LIBRARY", str(build(directory / "core.so", "-O2")))
        native.loaded.cache_clear()
        yield
    native.loaded.cache_clear()


def counted(steps: Sequence[Step], switch: str) -> object:
    """What an account knows that was told names, and was fed events, as many at once as can be."""
    account = Account(named("6.10"))
    account.state(machine())
    with (
        patch.dict("os.environ", {native.SWITCH: switch}),
        patch("swiotlb_top.accounting.account.cost_of", lambda *_: 0),
    ):
        for step in steps:
            if isinstance(step, DeviceName):
                account.name(step)
            else:
                account.feed(Batch(packed(step)))
    return of_account(account)


def buffers(*places: tuple[int, int]) -> list[Find]:
    """Maps of buffers at these addresses, of so many bytes."""
    return [
        found(1000 + 100 * slot, 1010 + 100 * slot, slot)._replace(orig_addr=address, alloc_size_bytes=size_bytes)
        for slot, (address, size_bytes) in enumerate(places)
    ]


def test_a_buffer_counts_by_where_it_lies_and_how_large_it_is() -> None:
    edges = [(REACH - size + 1 + by, size) for size in (255, 256, 257, 2048) for by in (-1, 0, 1)]
    steps: list[Step] = [[device()], buffers(*edges, (0, 2048), (1 << 51, 2048))]
    assert counted(steps, "") == counted(steps, "0")


def test_nothing_is_told_of_the_buffers_of_a_device_that_did_not_introduce_itself() -> None:
    steps: list[Step] = [buffers((0x20_0000, 2048)), buffers((0x20_0000, 100))]
    assert counted(steps, "") == counted(steps, "0")


def test_how_long_a_device_held_what_another_at_its_address_had_mapped_is_not_told() -> None:
    mapped = [found(1000 + 100 * slot, 1010 + 100 * slot, slot) for slot in range(4)]
    given_back = [released(9000 + 100 * slot, 9010 + 100 * slot, slot) for slot in range(4)]
    steps: list[Step] = [DeviceName(DEV, "old", ""), [device()], mapped, DeviceName(DEV, "new", ""), given_back]
    assert counted(steps, "") == counted(steps, "0")


def test_mappings_are_as_old_as_their_maps_whoever_counted_them() -> None:
    mapped = [found(1000 + 100 * slot, 1010 + 100 * slot, slot) for slot in range(8)]
    steps: list[Step] = [
        [device(), *mapped],
        [released(9000, 9010, 3), released(9100, 9090 + 20, 0)],
        [found(9200, 9210, 8)],
    ]
    assert counted(steps, "") == counted(steps, "0")


def test_more_latencies_than_are_kept_leave_the_latest() -> None:
    calls: list[Event] = []
    for at in range(1000):
        begin_ns = 1000 + 10_000 * at
        calls += [found(begin_ns, begin_ns + 10 + at, 0), released(begin_ns + 5000, begin_ns + 5010 + 3 * at, 0)]
    steps: list[Step] = [[device()], calls[:700], calls[700:]]
    assert counted(steps, "") == counted(steps, "0")
