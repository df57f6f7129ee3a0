"""A program whose maps are not what the C makes them is refused, whatever it says that it was compiled for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from swiotlb_top.errors import CannotError
from swiotlb_top.probes.compile.flags import RING_BYTES, mapping_cells
from swiotlb_top.probes.compile.image import Image, MapSpec
from swiotlb_top.probes.read.maps import refuse_others

CPUS = 6
MAPPABLE = 1024
OF_ALL = (MapSpec("records", 27, 0, 0, RING_BYTES, 0), MapSpec("devices", 2, 4, 192, 8 * 512, MAPPABLE))
OF_WHAT_COUNTS = (
    *OF_ALL,
    MapSpec("mappings", 2, 4, 8, mapping_cells(), MAPPABLE),
    MapSpec("holders", 2, 4, 64, 513, MAPPABLE),
    MapSpec("askers", 1, 24, 8, 1024, 0),
    MapSpec("stacks", 7, 4, 256, 1024, 0),
)
NAMES = [each.name for each in OF_WHAT_COUNTS]


def with_maps(maps: tuple[MapSpec, ...]) -> Image:
    return Image(maps, {})


def test_the_maps_that_the_c_makes_are_taken() -> None:
    refuse_others(with_maps(OF_ALL), RING_BYTES, CPUS, follows=False)
    refuse_others(with_maps(OF_WHAT_COUNTS), RING_BYTES, CPUS, follows=True)


@pytest.mark.parametrize("name", NAMES)
def test_none_of_them_may_be_missing(name: str) -> None:
    others = tuple(each for each in OF_WHAT_COUNTS if each.name != name)
    with pytest.raises(CannotError, match=f"the BPF map {name} is not there: it was not compiled for this tool"):
        refuse_others(with_maps(others), RING_BYTES, CPUS, follows=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "changed",
    [{"type": 5}, {"key_bytes": 64}, {"value_bytes": 7}, {"entries": 1}, {"flags": 1}],
    ids=lambda changed: next(iter(changed)),
)
def test_none_of_them_may_be_another(name: str, changed: dict[str, Any]) -> None:
    maps = tuple(replace(each, **changed) if each.name == name else each for each in OF_WHAT_COUNTS)
    with pytest.raises(CannotError, match=f"the BPF map {name} is of another kind or size"):
        refuse_others(with_maps(maps), RING_BYTES, CPUS, follows=True)


def test_they_are_as_large_as_this_machine_wants_them() -> None:
    with pytest.raises(CannotError, match="the BPF map devices is of another"):
        refuse_others(with_maps(OF_ALL), RING_BYTES, 2 * CPUS, follows=False)
    with pytest.raises(CannotError, match="the BPF map records is of another"):
        refuse_others(with_maps(OF_ALL), RING_BYTES // 4, CPUS, follows=False)
