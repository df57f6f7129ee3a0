"""A compiled program as data: its instructions name maps, whatever their descriptors are when it is loaded."""

from __future__ import annotations

import struct
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.probes.compile.image import Image, MapSpec

INSTRUCTION = struct.Struct("<BBhi")
LOAD_64_BITS = 0x18
MAP = 1
CALL = 0x85
KERNEL_FUNCTION = 2

DESCRIPTORS = st.lists(st.integers(3, 1 << 20), min_size=1, max_size=8, unique=True)


def spec(name: str) -> MapSpec:
    return MapSpec(name, type=2, key_bytes=4, value_bytes=8, entries=1, flags=0)


def wide(source: int, immediate: int) -> bytes:
    """One instruction in two places: a 64-bit constant, or the address of a map."""
    return INSTRUCTION.pack(LOAD_64_BITS, source << 4 | 1, 0, immediate) + INSTRUCTION.pack(0, 0, 0, 0x18)


@st.composite
def programs(draw: st.DrawFn, descriptors: list[int]) -> list[bytes]:
    """Calls, constants, and addresses of maps."""
    one = st.one_of(
        st.integers(0, 200).map(lambda function: INSTRUCTION.pack(CALL, 0, 0, function)),
        st.sampled_from(descriptors).map(lambda constant: wide(0, constant)),
        st.sampled_from(descriptors).map(lambda descriptor: wide(MAP, descriptor)),
    )
    return draw(st.lists(one, max_size=20))


@given(st.data(), DESCRIPTORS)
def test_only_what_loads_a_maps_address_changes_with_the_maps_descriptors(data: st.DataObject, old: list[int]) -> None:
    code = data.draw(programs(old))
    new = [descriptor + (1 << 21) for descriptor in old]
    renamed = dict(zip(old, new, strict=True))
    image = Image.of({descriptor: spec(f"map{descriptor}") for descriptor in old}, {"p": b"".join(code)})
    assert image.code("p", old) == b"".join(code)
    assert image.code("p", new) == b"".join(
        wide(MAP, renamed[INSTRUCTION.unpack_from(one)[3]]) if one[0] == LOAD_64_BITS and one[1] >> 4 == MAP else one
        for one in code
    )


@given(st.integers(0, 255), st.integers(10_000, 1 << 20))
def test_what_no_helper_has_the_number_of_is_called_as_a_function_of_the_kernels(helper: int, btf_id: int) -> None:
    constant = wide(0, CALL)  # whose second place looks like no call of its own
    code = INSTRUCTION.pack(CALL, 0, 0, helper) + constant + INSTRUCTION.pack(CALL, 0, 0, btf_id)
    told = INSTRUCTION.pack(CALL, 0, 0, helper) + constant + INSTRUCTION.pack(CALL, KERNEL_FUNCTION << 4, 0, btf_id)
    assert Image.of({}, {"p": code}).code("p", []) == told


@given(st.data(), DESCRIPTORS)
def test_it_is_the_same_after_it_was_kept_as_text(data: st.DataObject, descriptors: list[int]) -> None:
    image = Image.of(
        {descriptor: spec(f"map{descriptor}") for descriptor in descriptors},
        {"p": b"".join(data.draw(programs(descriptors))), "q": b""},
    )
    assert Image.unpacked(image.packed()) == image


def test_one_of_its_maps_may_be_made_larger_and_the_code_is_the_same() -> None:
    image = Image((spec("mappings"), spec("holders")), {"p": wide(MAP, 0)})
    assert image.sized("mappings", 1 << 19) == Image(
        (replace(spec("mappings"), entries=1 << 19), spec("holders")), image.programs
    )
    assert image.sized("stacks", 1) == image
