"""``swiotlb-top anonymise``: nothing that tells of the machine is left, and the verdict on every call is the same."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swiotlb_top
from swiotlb_top.cli import main
from swiotlb_top.errors import CannotError, Exit
from swiotlb_top.recording.anonymous import anonymise
from swiotlb_top.recording.info import inspect
from swiotlb_top.recording.resettled import Resettled
from swiotlb_top.recording.rows import Mapping
from swiotlb_top.records import Kind
from swiotlb_top.reports.replay import replay
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.trace import Header
from tests.support.corpus import path_of
from tests.support.doctoring import FOUR_AREAS, FOUR_CPUS, STALL, Record, known_as, load, save

TRACES = STALL.parent
RECORDINGS = [
    *(FOUR_AREAS, FOUR_CPUS, STALL, TRACES / "debian-6.1-stall.swtrace", TRACES / "unaligned.swtrace"),
    *(TRACES / "faulty/cve-2023-52790.swtrace", path_of("lost-and-told")),
]
PAGE = 4096


@cache
def without_names(path: Path) -> tuple[Mapping, ...]:
    return tuple(row._replace(device="", pool=None) for row in swiotlb_top.open(path).mappings())


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_it_is_judged_as_the_other_call_by_call(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.swtrace"
    anonymise(path, copy)
    assert tuple(row._replace(device="", pool=None) for row in swiotlb_top.open(copy).mappings()) == without_names(path)
    own, other = replay(copy).as_json(), replay(path).as_json()
    assert {name for name in own if own[name] != other[name]} <= {
        *("devices", "first_failure_by_cause", "first_disagreement", "first_disagreement_by_kind")
    }


def told(path: Path) -> set[object]:
    """The addresses and names in a recording."""
    found: set[object] = set()
    for entry in load(path):
        if isinstance(entry, Record):
            found |= {entry.object} | ({entry.pool} if entry.kind != Kind.MAP else set())
            found |= {entry.address} if entry.kind != Kind.DEVICE else set()
        elif isinstance(entry, MemState):
            found.add(entry.address)
            for pool in entry.pools:
                found |= {pool.address, pool.start, *pool.orig_addr}
        elif isinstance(entry, DeviceName):
            found |= {entry.dev, entry.name, entry.known_as}
        elif isinstance(entry, Header):
            found |= {entry.host, entry.kernel.boot_id}
    return found - {0, "", (1 << 64) - 1}


@pytest.mark.parametrize("recorded", [FOUR_CPUS, STALL], ids=lambda path: path.stem)
def test_no_address_and_no_name_is_in_both(recorded: Path, tmp_path: Path) -> None:
    path, copy = save(known_as("vda", load(recorded)), tmp_path / "known.swtrace"), tmp_path / "copy.swtrace"
    anonymise(path, copy)
    assert "vda" in told(path)
    assert not told(path) & told(copy)
    reveals = inspect(copy).as_json()["reveals"]
    assert isinstance(reveals, list)
    assert reveals[:2] == [
        "low bits of addresses, and how pools follow each other; it was anonymised",
        "drivers of devices",
    ]


def test_a_cut_recording_is_refused_and_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = tmp_path / "cut.swtrace"
    cut.write_bytes(STALL.read_bytes()[:-10])
    assert main(["anonymise", str(cut), "-o", str(tmp_path / "copy.swtrace")]) == Exit.UNREADABLE
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [cut]


POOLS = st.lists(
    st.tuples(st.integers(0, 1 << 22), st.integers(1, 1 << 10)).map(lambda at: (at[0] * PAGE, (at[0] + at[1]) * PAGE)),
    min_size=1,
    max_size=8,
)
BOUNDARIES = st.sets(st.sampled_from([(1 << bits) - 1 for bits in (32, 64)]))


@given(POOLS, st.sets(st.sampled_from([0, 0x7FF, 0xFFF, 0xFFFF])), BOUNDARIES)
def test_pools_keep_their_low_bits_order_and_neighbours(
    pools: list[tuple[int, int]], masks: set[int], boundaries: set[int]
) -> None:
    try:
        settled = Resettled(pools, {0, *masks}, boundaries)
    except CannotError:
        assert any(begin & ~mask != (end - 1) & ~mask for begin, end in pools for mask in boundaries)
        return
    low = max(PAGE - 1, *masks, 0)
    begins = sorted({begin for begin, _ in pools})
    placed = [settled.place(begin) for begin in begins]
    assert placed == sorted(placed)
    for begin, end in pools:
        to = settled.place(begin)
        assert to & low == begin & low
        assert settled.place(end - 1) - to == end - 1 - begin
        for mask in boundaries:
            assert to & ~mask == settled.place(end - 1) & ~mask
        for other, _ in pools:
            if begin <= other < end:
                assert settled.place(other) - to == other - begin


def test_a_pool_is_not_moved_across_a_boundary() -> None:
    settled = Resettled([(0, 8 << 20), (32 << 20, 40 << 20)], [0], [(16 << 20) - 1])
    assert settled.place(0) == 16 << 20
    assert settled.place(32 << 20) == 32 << 20


def test_where_more_of_addresses_would_have_to_be_kept_it_is_refused() -> None:
    with pytest.raises(CannotError, match="32 bits of addresses"):
        Resettled([((1 << 32) - PAGE, (1 << 32) + PAGE)], [0], [(1 << 32) - 1])


def test_an_address_in_no_pool_goes_where_there_is_none() -> None:
    settled = Resettled([(1 << 30, (1 << 30) + PAGE)], [0xFFF], [])
    assert settled.place(0) == 0
    assert settled.place(0x1234_5678) == 0x678
    assert settled.place((1 << 30) + PAGE) == 0
