"""bpf/record.h and swiotlb_top/records.py say the same: the C side is compiled and asked."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path
from typing import Final

import pytest

from swiotlb_top import events, records
from swiotlb_top.events import Direction
from swiotlb_top.records import Kind, RawRecord

BPF: Final = Path(__file__).parents[3] / "bpf"
MEMBERS: Final = RawRecord._fields
"""As Python names them."""

PRELUDE: Final = '#include <stddef.h>\n#include <stdio.h>\n#include "record.h"\n'


def run_c(body: str, directory: Path) -> bytes:
    """Compile ``int main`` around ``body`` together with record.h, and give what it prints."""
    source, binary = directory / "ask.c", directory / "ask"
    source.write_text(f"{PRELUDE}int main(void)\n{{\n{body}\nreturn 0;\n}}\n")
    subprocess.run(
        ["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{BPF}", "-o", binary, source],
        check=True,
    )
    return subprocess.run([binary], check=True, capture_output=True).stdout


def record_h() -> str:
    return (BPF / "record.h").read_text()


def test_members_have_the_offsets_and_sizes_that_records_unpacks(tmp_path: Path) -> None:
    ask = "\n".join(
        f'printf("{name} %zu %zu\\n", offsetof(struct record, {name}), sizeof(((struct record *)0)->{name}));'
        for name in MEMBERS
    )
    in_c = [line.split() for line in run_c(ask, tmp_path).decode().splitlines()]
    codes = records.RECORD.format.removeprefix("<")
    offsets = [struct.calcsize("<" + codes[:i]) for i in range(len(codes))]
    in_python = [
        [name, str(at), str(struct.calcsize(code))] for name, at, code in zip(MEMBERS, offsets, codes, strict=True)
    ]
    assert in_c == in_python


def test_a_record_has_one_size_everywhere(tmp_path: Path) -> None:
    sizes = run_c('printf("%zu %d", sizeof(struct record), RECORD_BYTES);', tmp_path).split()
    assert [int(size) for size in sizes] == [records.RECORD.size] * 2


def test_the_struct_has_no_member_that_records_does_not_know() -> None:
    body = record_h().split("struct record {")[1].split("};")[0]
    assert tuple(re.findall(r"(\w+);", body)) == MEMBERS


def test_kinds_have_the_same_numbers_and_neither_side_has_one_more(tmp_path: Path) -> None:
    names = re.findall(r"^\tRECORD_(\w+) = ", record_h(), re.MULTILINE)
    ask = "".join(f'printf("%d ", RECORD_{name});' for name in names)
    numbers = [int(number) for number in run_c(ask, tmp_path).split()]
    assert dict(zip(names, numbers, strict=True)) == {kind.name: kind.value for kind in Kind}


def test_an_unknown_duration_is_the_same_number(tmp_path: Path) -> None:
    assert int(run_c('printf("%u", DURATION_UNKNOWN);', tmp_path)) == records.DURATION_UNKNOWN


CASES: Final[dict[str, tuple[str, events.Event]]] = {
    "find": (
        ".exit_ns = 900, .duration_ns = 100, .cpu = 3, .kind = RECORD_FIND, .flags = FLAG_MIGRATED, .object = 11, "
        ".pool = 12, .address = 13, .size = 14, .result = 15, .align_mask = 16",
        events.Find(800, 900, 3, True, 11, 12, 13, 14, 16, 15),
    ),
    "find that failed": (
        ".exit_ns = 900, .duration_ns = DURATION_UNKNOWN, .kind = RECORD_FIND, .result = (unsigned long long)-1",
        events.Find(-1, 900, 0, False, 0, 0, 0, 0, 0, -1),
    ),
    "map": (
        ".exit_ns = 900, .duration_ns = 100, .cpu = 3, .kind = RECORD_MAP, .flags = FLAG_HAS_DIRECTION | 2, "
        ".object = 11, .address = 13, .size = 14, .result = 15, .align_mask = 16, .extra = 17",
        events.Map(800, 900, 3, False, 11, 13, 14, 16, Direction.FROM_DEVICE, 17, 15),
    ),
    "map that is told what to allocate": (
        ".exit_ns = 900, .duration_ns = 100, .kind = RECORD_MAP, .pool = 4096, .size = 14, .result = 15",
        events.Map(800, 900, 0, False, 0, 0, 14, 0, Direction.UNKNOWN, 0, 15, 4096),
    ),
    "unmap": (
        ".exit_ns = 900, .duration_ns = 100, .cpu = 3, .kind = RECORD_UNMAP, .flags = FLAG_HAS_DIRECTION | 1, "
        ".object = 11, .pool = 12, .address = 13, .size = 14, .extra = 17",
        events.Unmap(800, 900, 3, 11, 12, 13, 14, Direction.TO_DEVICE, 17),
    ),
    "unmap of what the device cannot reach": (
        ".kind = RECORD_UNMAP, .flags = FLAG_UNREACHABLE",
        events.Unmap(0, 0, 0, 0, 0, 0, 0, Direction.UNKNOWN, 0, True),
    ),
    "unmap, every direction bit": (
        ".kind = RECORD_UNMAP, .flags = FLAG_HAS_DIRECTION | FLAG_DIRECTION_MASK",
        events.Unmap(0, 0, 0, 0, 0, 0, 0, Direction.NONE, 0),
    ),
    "free": (
        ".exit_ns = 900, .duration_ns = 100, .cpu = 3, .kind = RECORD_FREE, .object = 11, .pool = 12, .address = 13, "
        ".size = 14",
        events.Free(800, 900, 3, 11, 12, 13, 14),
    ),
    "pool_alloc": (
        ".exit_ns = 900, .cpu = 3, .kind = RECORD_POOL_ALLOC, .pool = 12, .address = 13, .size = 14, .align_mask = 16",
        events.PoolAlloc(900, 3, 12, 13, 14, 16),
    ),
    "pool_add": (
        ".exit_ns = 900, .duration_ns = 100, .kind = RECORD_POOL_ADD, .object = 11, .pool = 12, .address = 13, "
        ".size = 14, .align_mask = 16",
        events.PoolAdd(800, 900, 11, 12, 13, 14, 16),
    ),
    "pool_free": (".exit_ns = 900, .kind = RECORD_POOL_FREE, .pool = 12", events.PoolFree(900, 12)),
    "grow": (
        ".exit_ns = 900, .duration_ns = 100, .kind = RECORD_GROW, .object = 11, .pool = 12, .address = 13, "
        ".size = 14, .align_mask = 16",
        events.Grow(800, 900, 11, 12, 13, 14, 16),
    ),
    "device": (
        ".exit_ns = 900, .kind = RECORD_DEVICE, .object = 11, .pool = 12, .address = 13, .size = 14, .result = 15, "
        ".align_mask = 16",
        events.Device(900, 11, 12, 13, 14, 15, 16),
    ),
}


@pytest.mark.parametrize(("members", "event"), CASES.values(), ids=CASES)
def test_what_c_fills_in_python_reads(members: str, event: events.Event, tmp_path: Path) -> None:
    record = run_c(f"struct record r = {{{members}}};\nfwrite(&r, sizeof(r), 1, stdout);", tmp_path)
    assert list(records.decode(record)) == [event]
