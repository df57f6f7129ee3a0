"""The maps whose memory or entries are read as they lie: each is what the C makes it, or nothing of it is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.probes.compile.flags import (
    HOLDER_BYTES,
    HOLDERS,
    STACK_DEPTH,
    STACKS,
    TOTALS_BYTES,
    device_table_bytes,
    mapping_cells,
)
from swiotlb_top.probes.compile.image import Image, MapSpec
from swiotlb_top.probes.read.askers import COUNT, KEY

_HASH: Final = 1
"""BPF_MAP_TYPE_HASH, and so on"""
_ARRAY: Final = 2
_STACK_TRACE: Final = 7
_RING_BUFFER: Final = 27
_PLACE_BYTES: Final = 4
"""The key of an array."""
_MAPPABLE: Final = 1 << 10
"""BPF_F_MMAPABLE"""


def refuse_others(image: Image, ring_bytes: int, cpus: int, *, follows: bool) -> None:
    """Refuse an image with other maps, which was compiled from something else.

    :param ring_bytes: size of the ring buffer.
    :param cpus: the highest possible CPU number, plus one.
    :param follows: whether the probes follow who holds what.
    :raises CannotError: a map is not there, or is of another kind or size.
    """
    there = {each.name: each for each in image.maps}
    for expected in _expected(ring_bytes, cpus, follows=follows):
        found = there.get(expected.name)
        if found != expected:
            why = "is of another kind or size" if found else "is not there"
            raise CannotError(f"the BPF map {expected.name} {why}: it was not compiled for this tool")


def _expected(ring_bytes: int, cpus: int, *, follows: bool) -> Iterator[MapSpec]:
    yield MapSpec("records", _RING_BUFFER, 0, 0, ring_bytes, 0)
    yield _table("devices", TOTALS_BYTES, device_table_bytes(cpus) // TOTALS_BYTES)
    if follows:
        yield _table("mappings", 8, mapping_cells())
        yield _table("holders", HOLDER_BYTES, HOLDERS)
        yield MapSpec("askers", _HASH, KEY.size, COUNT.size, STACKS, 0)
        yield MapSpec("stacks", _STACK_TRACE, _PLACE_BYTES, 8 * STACK_DEPTH, STACKS, 0)


def _table(name: str, value_bytes: int, entries: int) -> MapSpec:
    return MapSpec(name, _ARRAY, _PLACE_BYTES, value_bytes, entries, _MAPPABLE)
