"""The command that lists revisions: how it reads, and what it says of a kernel."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest

from swiotlb_top.allocator import DIFFERENCES, REVISIONS
from swiotlb_top.allocator.revision import ASPECTS
from swiotlb_top.cli import main
from swiotlb_top.errors import CannotError, Exit
from swiotlb_top.kernel import layout
from tests.kernels import layout_of

DEBIAN_7_3 = layout_of("debian-7.3")

KNOWN = """\
order
  6.0      20347fca71a3  all areas of a pool are searched, from the CPU's on, then those of the next pool
  6.8      55c543865b76  the CPU's area is searched in every pool, then the next area in every pool
alignment
  6.0      20347fca71a3  the search starts at a multiple of its stride, steps by it, and ends only where it began
  6.1.84   51b30ecb73b4  as before, but the device's mask does not apply to bits that alloc_align_mask has
  6.3      0eee5ae10256  slot and buffer are equal in the bits of all masks; slots looked at are counted
  6.6.24   04867a7a3332  alloc_align_mask aligns the slot itself; a page or more steps by two slots
  6.9      14cebf689a78  alloc_align_mask aligns the slot itself; a page or more gets a page where nobody asks for more
pads slots
  6.0      20347fca71a3  the buffer begins in the first slot: higher bits, up to alloc_align_mask, are lost
  6.9      af133562d5af  the buffer may begin slots later, so that its bits up to alloc_align_mask are kept
rounds size
  6.0      20347fca71a3  the caller says how much to allocate, and rounds it up to alloc_align_mask
  6.10     327e2c97c46e  swiotlb itself rounds the size, with padding before the buffer, up to alloc_align_mask
refuses oversize
  6.0      20347fca71a3  more than 256 KiB is searched for like any other size and never found; pools may grow for it
  6.8      3dc2f209208d  a dynamic kernel refuses more than 256 KiB at once and does not grow for it
largest nslabs
  seed-v4  1aaa736815eb  growth first asks for the default size, however large
  6.6      d5090484b021  growth asks for no more than the page allocator's largest block (4 MiB)
used
  6.0      20347fca71a3  io_tlb_used sums over the areas of the pools on the list
  6.6      8b0977ecc8b3  io_tlb_used is a counter that includes transient pools
  7.3      121f9fd1c308  io_tlb_used sums over listed pools again, unless booted with swiotlb=...,track_hiwater
hiwater
  6.0      20347fca71a3  no high water mark
  6.4      8b0977ecc8b3  io_tlb_used_hiwater is kept, and includes transient pools
  7.3      121f9fd1c308  io_tlb_used_hiwater reads 0 unless booted with swiotlb=...,track_hiwater
aligns alloc
  6.0      20347fca71a3  swiotlb_alloc() asks for no alignment; by 6.3's rule it can get half a page (CVE-2024-35814)
  6.9      cbf53074a528  swiotlb_alloc() asks for the alignment of the size, rounded up to a power of two of pages
checks page
  6.0      20347fca71a3  swiotlb_alloc() does not look at the address it got
  6.9      823353b7cf0e  swiotlb_alloc() gives slots back that do not begin a page
frees misfit at once
  seed-v4  1aaa736815eb  a transient pool without a fitting slot is freed at once (one that was used, by call_rcu)
  7.3      e13d4d9a4915  every transient pool is freed by RCU work, also one without a fitting slot
checks kind
  6.0      20347fca71a3  any device may map from any pool
  7.3      d5fd03cdd6c0  where memory is encrypted, a map is refused at once whose device needs the other kind of pool
bounds list
  6.0      20347fca71a3  if a pool ends inside a slot set, its free list runs on past its end (CVE-2023-52790)
  6.7      53c87e846e33  the free list ends with the pool

known by name: 6.1, seed-v4, 6.6, 6.8, 6.9, 6.10, 7.3, 6.10 in 6.6's order; \
the trees 6.8 as Ubuntu ships it, stable 6.8 since 6.8.3, stable 6.7.12, 6.6 as openEuler 24.03 ships it, \
stable 6.6 since 6.6.35, stable 6.6.24 to 6.6.34, stable 6.6.3 to 6.6.23, 6.4 as SLES 15 SP6 ships it, \
stable 6.1 since 6.1.84, 5.14 as RHEL 9 ships it; releases from 6.0 to 7.3, as 6.12, v6.6.30 or 6.1.0-42-amd64
"""

OF_DEBIAN_6_1 = """\
this kernel (6.1.0-42-amd64) has 6.1
  order                 as of 6.0      by release
  alignment             as of 6.1.84   taken over by stable 6.1 since 6.1.84
  pads slots            as of 6.0      shown by no pad_slots
  rounds size           as of 6.0      shown by alloc_size
  refuses oversize      as of 6.0      by release
  largest nslabs        as of seed-v4  by release
  used                  as of 6.0      by release
  hiwater               as of 6.0      by release
  aligns alloc          as of 6.0      by release
  checks page           as of 6.0      by release
  frees misfit at once  as of seed-v4  by release
  checks kind           as of 6.0      by release
  bounds list           as of 6.0      by release
"""


@pytest.fixture
def run_by(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Set which kernel runs the command."""
    found = layout_of("debian-6.1")
    monkeypatch.setattr(layout, "load", lambda: found)
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release="6.1.0-42-amd64", version=""))
    return monkeypatch


@pytest.mark.usefixtures("run_by")
def test_all_that_is_known_is_listed_and_then_this_kernels_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["revisions"]) == Exit.OK
    assert capsys.readouterr().out == f"{KNOWN}\n{OF_DEBIAN_6_1}"


@pytest.mark.usefixtures("run_by")
def test_as_json_it_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["revisions", "--json"]) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"schema", "differences", "revisions", "kernel"}
    assert [row["what"] for row in told["differences"]] == [row.sentence for row in DIFFERENCES]
    assert told["differences"][0] == {
        "aspect": "order",
        "value": "each_pool_every_area",
        "since": "6.0",
        "commit": "20347fca71a3",
        "subject": "swiotlb: split up the global swiotlb lock",
        "taken_over_by": [],
        "shown_by": ["pool_find_slots"],
        "what": DIFFERENCES[0].sentence,
    }
    assert [row["taken_over_by"] for row in told["differences"] if row["since"] == "6.1.84"] == [
        ["stable 6.1 since 6.1.84"]
    ]
    assert list(told["revisions"]) == list(REVISIONS)
    assert set(told["revisions"]["7.3"]) == set(ASPECTS)
    assert told["revisions"]["7.3"]["used"] == "pools on the list"
    assert told["revisions"]["6.10"]["largest_nslabs"] == 2048
    assert (told["kernel"]["release"], told["kernel"]["revision"]) == ("6.1.0-42-amd64", "6.1")
    assert told["kernel"]["may_be"] == ["stable 6.1 since 6.1.84"]
    assert told["kernel"]["reasons"]["rounds_size"] == {"since": "6.0", "why": "shown by alloc_size"}


def test_a_kernel_of_the_future_is_told_to_be_one(
    run_by: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_by.setattr(os, "uname", lambda: SimpleNamespace(release="9.1.0", version=""))
    run_by.setattr(layout, "load", lambda: DEBIAN_7_3)
    assert main(["revisions"]) == Exit.OK
    assert (
        "this kernel (9.1.0) has 7.3\n"
        "  9.1.0 is newer than all that is known here: taken for 7.3 where no feature decides\n"
    ) in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [False, True])
def test_where_there_is_no_swiotlb_that_is_one_line_and_the_list_is_there_all_the_same(
    run_by: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    def nothing() -> layout.Layout:
        raise CannotError("this kernel has no swiotlb (CONFIG_SWIOTLB=n): there is nothing to watch")

    run_by.setattr(layout, "load", nothing)
    assert main(["revisions", *["--json"] * as_json]) == Exit.OK
    out = capsys.readouterr().out
    why = "this kernel has no swiotlb (CONFIG_SWIOTLB=n): there is nothing to watch"
    if as_json:
        assert json.loads(out)["kernel"] == {
            "release": "6.1.0-42-amd64",
            "revision": None,
            "may_be": [],
            "note": why,
            "reasons": {},
        }
    else:
        assert out == f"{KNOWN}\nthis kernel (6.1.0-42-amd64) cannot be told: {why}\n"


def test_arguments_it_has_not_are_a_usage_error() -> None:
    assert main(["revisions", "6.1"]) == Exit.USAGE
