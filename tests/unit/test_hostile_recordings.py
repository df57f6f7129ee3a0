"""A recording comes from strangers: what no kernel can have recorded is refused, in one line, by all that take one.

The files under tests/traces/hostile are real recordings with values changed and every checksum made right again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from swiotlb_top.allocator import REVISIONS
from swiotlb_top.cli import main
from swiotlb_top.constants import MAX_ALLOC_BYTES, NOT_FOUND
from swiotlb_top.errors import Exit, UnreadableError
from swiotlb_top.events import Event, Map
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.records import Kind
from swiotlb_top.reports.replay import replay
from swiotlb_top.state import MemState
from swiotlb_top.trace import Records, TraceReader
from swiotlb_top.verify import Doubt
from tests.fuzz.mutate import put_together, taken_apart
from tests.fuzz.run import READERS
from tests.support.doctoring import FOUR_CPUS, GROWING, STALL

HOSTILE: Final = STALL.parent / "hostile"
REFUSED: Final = {
    "cpus-of-a-header": "is damaged at byte 16: field 'cpus' is not within 1..8192; copy it again, or record anew",
    "alloc-size-of-6.10": "record 1 of a block: physical address 0x5a00ff01ff0000d9; record anew",
    "slots-behind-the-last-area": "record 6 of a block: a pool of 128 slots in 2147483648 areas; record anew",
    "slots-beyond-the-pool": "record 15 of a block: time runs back, by 137439 s; record anew",
}
MOST_MOVES: Final = 600_000
"""Of the judge, for some 10,000 operations of which thousands overlap. Where 32 operations that are looked at count as
one, the same work is 250,000, and where 16 do, 480,000."""

EVERY_RECORDING: Final = (GROWING, *sorted(STALL.parent.rglob("*.swtrace")))
FIRST_EVENTS: Final = 150
"""Of each recording: its kinds of calls all come early."""


def path_of(name: str) -> Path:
    return HOSTILE / f"{name}.swtrace"


TAKEN: Final = (
    "a-map-fails-and-no-pool-is-left",
    "more-releases-than-mappings",
    "searches-behind-the-last-area",
    "thousands-of-areas",
    "transient-pools-of-any-size",
)

EVERY: Final = tuple(name for name, reader in READERS.items() if reader.one_in == 1)


@pytest.mark.parametrize("reader", EVERY)
@pytest.mark.parametrize("name", TAKEN)
def test_what_a_kernel_may_have_done_is_taken_by_all(name: str, reader: str) -> None:
    READERS[reader](path_of(name))


@pytest.mark.parametrize("reader", [name for name in EVERY if name != "anonymise"])
def test_a_static_kernel_that_adds_a_pool_is_judged(reader: str) -> None:
    """A copy without addresses is refused: what it says of them would not be kept."""
    READERS[reader](path_of("a-static-kernel-adds-a-pool"))


@pytest.mark.parametrize("name", ["more-releases-than-mappings", "transient-pools-of-any-size"])
def test_and_by_what_replays_it_once_for_each_revision(name: str) -> None:
    READERS["replay-by-all"](path_of(name))


@pytest.mark.parametrize(("name", "says"), REFUSED.items())
def test_what_cannot_be_is_refused_in_one_line(name: str, says: str) -> None:
    with pytest.raises(UnreadableError) as refused:
        list(TraceReader(path_of(name)))
    assert str(refused.value).startswith(str(path_of(name)))
    assert says in str(refused.value)


@pytest.mark.parametrize("name", ["cpus-of-a-header", "alloc-size-of-6.10"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", "FILE"],
        ["replay", "--json", "FILE"],
        ["size", "FILE"],
        ["size", "--json", "FILE"],
        ["-n", "1", "-d", "0", "--trace", "FILE", "--start", "3600"],
        ["-n", "1", "-d", "0", "--json", "--trace", "FILE", "--start", "3600"],
    ],
    ids=["replay", "replay --json", "size", "size --json", "screen", "screen --json"],
)
def test_every_command_refuses_it_with_the_same_line_and_status(
    name: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(path_of(name))

    status = main([path if argument == "FILE" else argument for argument in arguments])

    assert status == Exit.UNREADABLE
    assert capsys.readouterr().err.startswith(f"swiotlb-top: {path} ")


def test_what_comes_before_it_is_reported() -> None:
    report = replay(path_of("slots-beyond-the-pool"))

    assert report.exit_code == Exit.UNREADABLE
    assert report.pipeline.account.events == 14
    assert report.damage.endswith(REFUSED["slots-beyond-the-pool"])


def test_a_search_for_an_order_of_thousands_ends() -> None:
    """All operations of a pool overlap, and one is wrong."""
    report = replay(path_of("never-ends"))

    assert report.findings.compared > 9_000
    assert report.pipeline.judge.steps < MOST_MOVES


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_recording_can_be_judged_by_every_revision(revision: str) -> None:
    """Also by one whose ``swiotlb_tbl_map_single()`` has no ``alloc_size``, where calls were recorded that have it."""
    for path in EVERY_RECORDING:
        try:
            kernel = TraceReader(path).header.kernel
        except UnreadableError:
            continue
        pipeline = Pipeline(kernel, revision)
        feed_the_beginning(path, pipeline)
        findings = pipeline.finish()
        assert pipeline.account.events == 0 or findings.compared + findings.inconclusive + findings.elsewhere > 0


def told_what_to_allocate(event: Event) -> Event:
    """The call, as kernels up to 6.9 make it."""
    return event._replace(alloc_size_bytes=event.mapping_size_bytes) if isinstance(event, Map) else event


def feed_the_beginning(path: Path, pipeline: Pipeline) -> None:
    left = FIRST_EVENTS
    try:
        for item in TraceReader(path):
            if isinstance(item, MemState):
                pipeline.state(item)
            elif isinstance(item, Records):
                events = [told_what_to_allocate(event) for event in item.events()][:left]
                pipeline.feed(events)
                left -= len(events)
            if not left:
                return
    except UnreadableError:
        return  # what came before the damage was fed


def test_failed_searches_of_a_million_areas_are_given_up_as_inconclusive(tmp_path: Path) -> None:
    """Each takes a quarter of a second."""
    pools, areas, searches = 250, 4096, 100
    frames = taken_apart(FOUR_CPUS)
    state, records = frames[1], next(frame for frame in frames if frame.records)
    state.meta["default_nareas"] = areas
    state.arrays[:4] = b"\1\1\1\1"  # of each area one slot is in use: too many for what is asked
    device, find = records.records
    now_ns, mem, pool, start = device[0], state.meta["address"], 0xFFFF_8880_7000_0000, 0x2_0000_0000
    new_pools = [
        [now_ns, 0, 0, Kind.POOL_ADD, 0, mem, pool + 64 * at, start + (at << 24), areas, 0, areas, 1]
        for at in range(pools)
    ]
    failed = [
        [now_ns + 10_000 * at, 1000, *find[2:6], 0, find[7], MAX_ALLOC_BYTES, NOT_FOUND, 0, 0]
        for at in range(1, searches)
    ]
    records.records = [device, *new_pools, *failed]
    path = tmp_path / "searches.swtrace"
    path.write_bytes(put_together([frames[0], state, records, frames[-1]]))

    report = replay(path)

    assert report.findings.doubts[Doubt.TOO_MANY_AREAS] > 0
    assert report.exit_code == Exit.INCONCLUSIVE


def test_a_cpu_that_the_header_does_not_name_is_refused(tmp_path: Path) -> None:
    frames = taken_apart(FOUR_CPUS)
    frames[0].meta["kernel"] |= {"page_size_bytes": 4096, "byte_order": "little", "cpus": 9, "cpu_numbers": "0-3,8"}
    next(frame for frame in frames if frame.records).records[-1][2] = 7
    path = tmp_path / "cpus.swtrace"
    path.write_bytes(put_together(frames))

    assert "CPU 7, which the kernel does not have" in replay(path).damage
