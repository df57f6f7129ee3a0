"""core.h and layout.py say the same: the C side is compiled and asked."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from swiotlb_top.accounting.snapshot import HOLD_BUCKETS_NS
from swiotlb_top.constants import IO_TLB_SEGSIZE, IO_TLB_SHIFT, PAGE_SIZE, SIZE_BUCKETS_SLOTS
from swiotlb_top.events import Direction
from swiotlb_top.native import layout
from swiotlb_top.trace.format import MAX_PHYS_ADDR, MAX_TIME_NS
from tests.support.native_builds import HAVE_COMPILER, NATIVE, ROOT

pytestmark = pytest.mark.skipif(not HAVE_COMPILER, reason="gcc is not installed")

STRUCTURES: Final[dict[str, type[ctypes.Structure]]] = {
    "device": layout.Device,
    "pool": layout.Pool,
    "walk": layout.Walk,
    "walk_class": layout.WalkClass,
    "allocator": layout.Allocator,
    "pool_books": layout.PoolBooks,
    "latest": layout.Latest,
    "device_books": layout.DeviceBooks,
    "books": layout.Books,
}
PACKED: Final = {"mapping": layout.MAPPING.size, "held": layout.HELD.size}
VALUES: Final = {
    "ADDRESS_UNKNOWN": layout.ADDRESS_UNKNOWN,
    "NOT_OPEN": layout.NOT_OPEN,
    "LATEST": layout.LATEST,
    "EACH_POOL_EVERY_AREA": layout.Order.EACH_POOL_EVERY_AREA,
    "EACH_OFFSET_EVERY_POOL": layout.Order.EACH_OFFSET_EVERY_POOL,
    "SIZE_BUCKETS": len(SIZE_BUCKETS_SLOTS) + 1,
    "HOLD_BUCKETS": len(HOLD_BUCKETS_NS) + 1,
    "DIRECTIONS": len(Direction),
    "MAX_PHYS_ADDR": MAX_PHYS_ADDR,
    "MAX_TIME_NS": MAX_TIME_NS,
    "IO_TLB_SHIFT": IO_TLB_SHIFT,
    "IO_TLB_SEGSIZE": IO_TLB_SEGSIZE,
    "PAGE_SIZE": PAGE_SIZE,
}


def asked(expressions: list[str], directory: Path) -> list[int]:
    """What C says of expressions."""
    source, binary = directory / "ask.c", directory / "ask"
    prints = "".join(f'printf("%llu\\n", (unsigned long long)({expression}));\n' for expression in expressions)
    source.write_text(f'#include <stdio.h>\n#include "core.h"\nint main(void)\n{{\n{prints}return 0;\n}}\n')
    flags = ["-std=c99", f"-I{NATIVE}", f"-I{ROOT / 'bpf'}", "-o", str(binary), str(source)]
    subprocess.run(["gcc", *flags], check=True)
    return [int(line) for line in subprocess.run([binary], check=True, capture_output=True).stdout.split()]


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_structure_has_the_same_members_in_the_same_places(name: str, tmp_path: Path) -> None:
    structure = STRUCTURES[name]
    header = re.sub(r"/\*.*?\*/", "", (NATIVE / "core.h").read_text(), flags=re.DOTALL)
    body = re.search(rf"^struct {name} {{\n(.*?)^}};", header, re.MULTILINE | re.DOTALL)
    assert body is not None
    members = re.findall(r"(\w+)(?:\[\w+\])?;", body[1])
    assert members == [member[0] for member in structure._fields_]
    wanted = [f"offsetof(struct {name}, {member})" for member in members]
    sizes = [f"sizeof(((struct {name} *)0)->{member})" for member in members]
    places = [getattr(structure, member) for member in members]
    assert asked([*wanted, *sizes, f"sizeof(struct {name})"], tmp_path) == [
        *(place.offset for place in places),
        *(place.size for place in places),
        ctypes.sizeof(structure),
    ]


def test_what_is_packed_by_hand_has_the_same_size(tmp_path: Path) -> None:
    assert asked([f"sizeof(struct {name})" for name in PACKED], tmp_path) == list(PACKED.values())


def test_constants_are_the_same(tmp_path: Path) -> None:
    assert asked(list(VALUES), tmp_path) == list(VALUES.values())


def test_each_function_of_the_header_is_known(tmp_path: Path) -> None:
    declared = re.findall(r"^u(?:32|64) (\w+)\(", (NATIVE / "core.h").read_text(), re.MULTILINE)
    assert declared == list(layout.FUNCTIONS)
