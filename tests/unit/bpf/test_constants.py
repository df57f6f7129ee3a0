"""swiotlb_top/constants.py and bpf/ have the same numbers: the C is compiled, and run, in this process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from swiotlb_top import constants
from swiotlb_top.constants import IO_TLB_SEGSIZE, IO_TLB_SIZE, SIZE_BUCKETS_SLOTS
from swiotlb_top.events import Direction
from swiotlb_top.probes.read.in_flight import ELSEWHERE_BYTES, NEST_BYTES
from tests.support.bpf_in_userspace import BPF, BpfInUserspace

DEFINITION: Final = re.compile(r"^#define (\w+)\s+(0x[0-9a-fA-F]+|[0-9]+)U?L*$", re.MULTILINE)


def defined() -> dict[str, int]:
    """The numbers that the C defines, by name."""
    text = "".join((BPF / name).read_text() for name in ("swiotlb_top.c", "attach.h", "record.h"))
    return {name: int(value, 0) for name, value in DEFINITION.findall(text)}


def test_what_c_defines_has_python_s_value() -> None:
    in_c = defined()
    assert {name: value for name, value in in_c.items() if hasattr(constants, name)} == {"IO_TLB_SIZE": IO_TLB_SIZE}
    assert in_c["LARGEST_REQUEST"] == len(SIZE_BUCKETS_SLOTS)
    assert in_c["DMA_NONE"] == Direction.NONE
    assert 8 + 16 * in_c["NESTING"] == NEST_BYTES
    assert 2 * 16 * in_c["CELLS"] + 8 == ELSEWHERE_BYTES


def test_a_mapping_is_counted_in_the_bucket_that_ends_with_what_it_asks_for(tmp_path: Path) -> None:
    bpf = BpfInUserspace(tmp_path, spares=True)
    for bucket, nslots in enumerate((*SIZE_BUCKETS_SLOTS, IO_TLB_SEGSIZE + 1)):
        dev = bpf.device()
        bpf.found(dev, nslots * IO_TLB_SIZE)
        counted = [0] * (len(SIZE_BUCKETS_SLOTS) + 1)
        counted[bucket] = 1
        assert bpf.totals()[dev].requests == tuple(counted)
