"""What is found in the kernel's type information, and that nothing surprises who looks."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import btf
from swiotlb_top.kernel.layout import FUNCTIONS, STRUCTS
from swiotlb_top.kernel.types_file import TypesFile
from tests.kernels import KERNELS, btf_of
from tests.kernels.btf_file import FUNC, FUNC_PROTO, HEADER, PTR, BtfFile

TYPEDEF = 8
DYNAMIC = btf_of("dynamic").read_bytes()


def file_of(directory: Path, content: bytes) -> Path:
    path = directory / "vmlinux"
    path.write_bytes(content)
    return path


def own(path: Path) -> TypesFile:
    return TypesFile(path, of_kernel=True)


def ending_in_a_member_s_name() -> bytes:
    file = BtfFile()
    file.add(TYPEDEF, name="io_tlb_area")
    file.struct("io_tlb_area", 16, [("used", 0)])
    return file.to_bytes()


def pointing_at_itself() -> bytes:
    file = BtfFile()
    pointer = file.add(PTR, size_or_type=file.stand_in + 1)
    file.add(FUNC, name=FUNCTIONS[0], size_or_type=pointer + 2)
    file.add(FUNC_PROTO, vlen=1, tail=struct.pack("<II", 0, pointer))
    return file.to_bytes()


def refusal(content: bytes, directory: Path) -> str:
    with pytest.raises(CannotError) as refused:
        btf.load(STRUCTS, FUNCTIONS, own(file_of(directory, content)))
    return str(refused.value)


def test_a_struct_has_its_size_and_its_members_byte_offsets() -> None:
    file = BtfFile()
    file.struct("io_tlb_slot", 24, [("orig_addr", 0), ("alloc_size", 64), ("list", 128), ("pad_slots", 144)])
    found = btf.parse(file.to_bytes(), ["io_tlb_slot"], [])
    assert found.structs["io_tlb_slot"] == btf.Struct(
        24, {"orig_addr": 0, "alloc_size": 8, "list": 16, "pad_slots": 18}
    )


def test_where_bitfields_are_the_offset_is_of_the_byte_they_begin_in() -> None:
    width = 3 << 24
    file = BtfFile()
    file.struct("device", 16, [("a", 64), ("b", width | 67), ("c", width | 72)], bitfields=True)
    assert btf.parse(file.to_bytes(), ["device"], []).structs["device"].offsets == {"a": 8, "b": 8, "c": 9}


def test_an_offset_beyond_16_mib_is_no_bitfield_where_the_struct_has_none() -> None:
    file = BtfFile()
    file.struct("device", 1 << 25, [("far", 1 << 24)])
    assert btf.parse(file.to_bytes(), ["device"], []).offset("device", "far") == 1 << 21


def test_a_function_has_its_parameters_names_in_order() -> None:
    file = BtfFile()
    file.function("add_mem_pool", ["mem", "pool"])
    file.function("swiotlb_dyn_alloc", [])
    functions = btf.parse(file.to_bytes(), [], ["add_mem_pool", "swiotlb_dyn_alloc"]).functions
    assert functions == {"add_mem_pool": ("mem", "pool"), "swiotlb_dyn_alloc": ()}


def test_a_parameter_that_is_a_pointer_has_its_stars() -> None:
    file = BtfFile()
    file.function("swiotlb_find_slots", ["*dev", "orig_addr", "**retpool"])
    functions = btf.parse(file.to_bytes(), [], ["swiotlb_find_slots"]).functions
    assert functions == {"swiotlb_find_slots": ("*dev", "orig_addr", "**retpool")}


@pytest.mark.parametrize("kind", [TYPEDEF, 9, 10, 11, 18], ids=["typedef", "volatile", "const", "restrict", "type_tag"])
def test_what_only_qualifies_a_type_is_looked_through(kind: int) -> None:
    file = BtfFile()
    pointer = file.add(PTR, size_or_type=file.add(kind, size_or_type=file.stand_in))
    outer = file.add(kind, size_or_type=pointer)
    proto = file.add(FUNC_PROTO, vlen=1, tail=struct.pack("<II", 0, outer))
    file.add(FUNC, name="swiotlb_dyn_alloc", size_or_type=proto)
    assert btf.parse(file.to_bytes(), [], ["swiotlb_dyn_alloc"]).functions == {"swiotlb_dyn_alloc": ("*",)}


def test_a_function_may_stand_before_its_prototype() -> None:
    file = BtfFile()
    file.add(FUNC, name="swiotlb_dyn_alloc", size_or_type=file.stand_in + 2)
    file.add(FUNC_PROTO, vlen=1, tail=struct.pack("<II", 0, file.stand_in))  # a parameter without a name
    assert btf.parse(file.to_bytes(), [], ["swiotlb_dyn_alloc"]).functions == {"swiotlb_dyn_alloc": ("",)}


def test_a_function_without_a_prototype_is_not_known() -> None:
    file = BtfFile()
    file.add(FUNC, name="swiotlb_dyn_alloc", size_or_type=file.stand_in)
    assert btf.parse(file.to_bytes(), [], ["swiotlb_dyn_alloc"]).functions == {}


def test_only_what_was_asked_for_is_kept_and_only_under_its_whole_name() -> None:
    file = BtfFile()
    for name in ("my_io_tlb_mem", "io_tlb_mem_too", "io_tlb_mem"):
        file.struct(name, 8, [(f"of_{name}", 0)])
    assert btf.parse(file.to_bytes(), ["io_tlb_mem"], []).structs == {"io_tlb_mem": btf.Struct(8, {"of_io_tlb_mem": 0})}


def test_what_is_not_there_has_no_offset() -> None:
    file = BtfFile()
    file.struct("io_tlb_mem", 8, [("nslabs", 0)])
    found = btf.parse(file.to_bytes(), ["io_tlb_mem", "io_tlb_pool"], [])
    assert found.offset("io_tlb_mem", "nslabs") == 0
    assert found.offset("io_tlb_mem", "pools") is None
    assert found.offset("io_tlb_pool", "start") is None


# Bytes after the 12 of a type with three elements, from include/uapi/linux/btf.h: struct btf_array, 12 a
# struct btf_member and btf_enum64 and btf_var_secinfo, 8 a struct btf_enum and btf_param, 4 for the rest.
TAILS = {
    "int": (1, 4),
    "ptr": (2, 0),
    "array": (3, 12),
    "struct": (4, 36),
    "union": (5, 36),
    "enum": (6, 24),
    "fwd": (7, 0),
    "typedef": (8, 0),
    "volatile": (9, 0),
    "const": (10, 0),
    "restrict": (11, 0),
    "func": (12, 0),
    "func_proto": (13, 24),
    "var": (14, 4),
    "datasec": (15, 36),
    "float": (16, 0),
    "decl_tag": (17, 4),
    "type_tag": (18, 0),
    "enum64": (19, 36),
}


@pytest.mark.parametrize(("kind", "tail_bytes"), TAILS.values(), ids=TAILS)
def test_every_kind_of_type_is_stepped_over_whole(kind: int, tail_bytes: int) -> None:
    file = BtfFile()
    file.add(kind, vlen=3, tail=bytes(tail_bytes))
    file.struct("io_tlb_area", 16, [("used", 0), ("index", 64)])
    assert btf.parse(file.to_bytes(), ["io_tlb_area"], []).offset("io_tlb_area", "index") == 8


def test_a_header_longer_than_today_s_is_stepped_over() -> None:
    magic, version, flags, size, *sections = HEADER.unpack_from(DYNAMIC)
    longer = HEADER.pack(magic, version, flags, size + 8, *sections) + bytes(8) + DYNAMIC[size:]
    assert btf.parse(longer, STRUCTS, FUNCTIONS) == btf.parse(DYNAMIC, STRUCTS, FUNCTIONS)


@pytest.mark.skipif(shutil.which("pahole") is None, reason="pahole is not installed")
@pytest.mark.parametrize("kernel", KERNELS)
def test_pahole_reads_the_same_sizes_and_offsets(kernel: str) -> None:
    found = btf.load(STRUCTS, FUNCTIONS, own(btf_of(kernel)))
    for name, known in found.structs.items():
        listing = subprocess.run(
            ["pahole", "-F", "btf", "-C", name, btf_of(kernel)], capture_output=True, text=True, check=True
        ).stdout
        members = re.findall(r"(\w+)(?::\d+)?(?: __attribute__\S*)?; +/\* +(\d+)", listing)
        assert {member: int(offset) for member, offset in members} == {m: o for m, o in known.offsets.items() if m}
        assert re.search(rf"/\* size: {known.size_bytes},", listing)


def test_a_kernel_without_types_is_refused_by_the_option_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(CannotError, match="CONFIG_DEBUG_INFO_BTF=y"):
        btf.load(STRUCTS, FUNCTIONS, own(tmp_path / "vmlinux"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        DYNAMIC[: HEADER.size - 1],
        b"\x7fELF" + bytes(60),
        DYNAMIC[1::-1] + DYNAMIC[2:],
        ending_in_a_member_s_name()[:-1],
        BtfFile().to_bytes().replace(struct.pack("<I", 1 << 24), struct.pack("<I", 31 << 24)),
    ],
    ids=[
        "empty",
        "shorter than its header",
        "an ELF file",
        "with a header of the other byte order",
        "cut in a name",
        "a kind of the future",
    ],
)
def test_what_libbpf_cannot_read_is_refused_in_its_words(content: bytes, tmp_path: Path) -> None:
    said = refusal(content, tmp_path)
    assert f"the type information in {tmp_path / 'vmlinux'} cannot be understood: libbpf says: " in said


def test_a_type_that_leads_back_to_itself_is_refused(tmp_path: Path) -> None:
    assert refusal(pointing_at_itself(), tmp_path).endswith("a type leads back to itself")


@given(st.integers(HEADER.size, len(DYNAMIC) - 1))
def test_a_file_cut_anywhere_is_refused_or_read_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    whole = btf.parse(DYNAMIC, STRUCTS, FUNCTIONS)
    try:
        found = btf.load(STRUCTS, FUNCTIONS, own(file_of(tmp_path_factory.getbasetemp(), DYNAMIC[:cut])))
    except CannotError:
        return
    assert set(found.structs) <= set(whole.structs)


PLACES = st.integers(0, HEADER.size - 1) | st.integers(0, len(DYNAMIC) - 1)


@given(st.lists(st.tuples(PLACES, st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_file_is_never_worse_than_refused(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]]
) -> None:
    content = bytearray(DYNAMIC)
    for at, value in damage:
        content[at] = value
    try:
        found = btf.load(STRUCTS, FUNCTIONS, own(file_of(tmp_path_factory.getbasetemp(), bytes(content))))
    except CannotError:
        return
    assert set(found.structs) <= set(STRUCTS)
    assert set(found.functions) <= set(FUNCTIONS)
