"""Kernels without BTF: a file of the same build tells the types, and no other file does."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import btf, refusals
from swiotlb_top.kernel.layout import FUNCTIONS, STRUCTS, from_btf
from swiotlb_top.kernel.types_file import BY_NAME, TypesFile, find
from swiotlb_top.probes.compile import plan
from swiotlb_top.state import How
from tests.kernels import btf_of, layout_of

RELEASE = "6.12.25+rpt-rpi-v8"
BUILD, OTHER = b"\x01" * 20, b"\x02" * 20
BTF = btf_of("dynamic").read_bytes()


def note(build_id: bytes) -> bytes:
    """As the linker writes it, behind another note."""
    other = struct.pack("<III", 6, 4, 0x100) + b"Linux\0\0\0" + b"\0" * 4
    return other + struct.pack("<III", 4, len(build_id), 3) + b"GNU\0" + build_id


def elf(sections: Mapping[str, bytes]) -> bytes:
    """An ELF file of 64 bits with these sections, and one with their names."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (*sections, ".shstrtab"))
    contents = {**sections, ".shstrtab": names}
    data = b"".join(contents.values())
    headers, at = [b"\0" * 64], 64
    for name, content in contents.items():
        headers.append(struct.pack("<IIQQQQIIQQ", names.index(name.encode()), 1, 0, 0, at, len(content), 0, 0, 1, 0))
        at += len(content)
    ident = b"\x7fELF\x02\x01" + b"\0" * 10
    head = ident + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, 0, 0, at, 0, 64, 0, 0, 64, len(headers), len(headers) - 1)
    return head + data + b"".join(headers)


VMLINUX = elf({".text": b"\x90" * 32, ".notes": note(BUILD), ".BTF": BTF})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine whose kernel tells its build id and has no BTF."""
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "sys/kernel/notes").write_bytes(note(BUILD))
    for directory in ("boot", "usr/lib/debug/boot", "usr/lib/debug/lib/modules", "lib/modules"):
        (tmp_path / directory).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("place", ["boot/vmlinux-{}", "usr/lib/debug/boot/vmlinux-{}"])
def test_a_vmlinux_of_the_same_build_is_found_and_read(root: Path, place: str) -> None:
    path = root / place.format(RELEASE)
    path.write_bytes(VMLINUX)
    found = find(RELEASE, root)
    assert found == TypesFile(path, of_kernel=False)
    assert found.read() == BTF


@pytest.mark.parametrize(
    "content",
    [
        elf({".notes": note(OTHER), ".BTF": BTF}),
        elf({".notes": note(BUILD)}),
        elf({".BTF": BTF}),
        BTF,
        b"",
        VMLINUX[:100],
    ],
    ids=["another build", "no types", "no build id", "no ELF", "empty", "cut"],
)
def test_no_other_file_is_believed(root: Path, content: bytes) -> None:
    (root / f"boot/vmlinux-{RELEASE}").write_bytes(content)
    assert find(RELEASE, root) is None


def test_the_kernels_own_comes_first(root: Path) -> None:
    (root / f"boot/vmlinux-{RELEASE}").write_bytes(VMLINUX)
    (root / "sys/kernel/btf").mkdir()
    own = root / "sys/kernel/btf/vmlinux"
    own.write_bytes(BTF)
    assert find(RELEASE, root) == TypesFile(own, of_kernel=True)


@pytest.mark.parametrize("content", [BTF, VMLINUX], ids=["BTF alone", "an ELF file"])
def test_a_file_that_somebody_names_is_taken(root: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    named = root / "mine"
    named.write_bytes(content)
    monkeypatch.setenv(BY_NAME, str(named))
    found = find(RELEASE, root)
    assert found == TypesFile(named, of_kernel=False)
    assert found.read() == BTF
    assert refusals.here(root, lambda: layout_of("dynamic")).has_btf is not False


def test_a_named_file_that_is_not_there_or_has_no_types_is_refused_in_a_line(root: Path) -> None:
    with pytest.raises(CannotError, match=r"cannot be read from .*: probes need"):
        btf.load(STRUCTS, FUNCTIONS, TypesFile(root / "none", of_kernel=False))
    (root / "empty").write_bytes(elf({".text": b""}))
    with pytest.raises(CannotError, match=r"has no section \.BTF"):
        btf.load(STRUCTS, FUNCTIONS, TypesFile(root / "empty", of_kernel=False))


def test_a_kernel_that_has_no_types_itself_is_probed_by_kprobes_alone(root: Path) -> None:
    """fentry, and the cast that loads any word, name a type by its number in the kernel's own."""
    (root / "mine").write_bytes(BTF)
    types = btf.load(STRUCTS, FUNCTIONS, TypesFile(root / "mine", of_kernel=False))
    layout = from_btf(types, layout_of("dynamic").symbols)
    assert layout.features == layout_of("dynamic").features
    assert layout.cast_defines() == {}
    assert layout.idle_function_id() is None
    assert {attached.how for attached in plan.make(layout, kprobes=True).probed()} == {How.KPROBE}


@given(st.binary(max_size=200), st.integers(0, len(VMLINUX) - 1))
def test_a_damaged_file_is_no_surprise(tmp_path_factory: pytest.TempPathFactory, damage: bytes, at: int) -> None:
    root = tmp_path_factory.getbasetemp() / "damaged"
    path = root / "boot" / f"vmlinux-{RELEASE}"
    for content, where in ((note(BUILD), root / "sys/kernel/notes"), (VMLINUX, path)):
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(content)
    assert find(RELEASE, root) == TypesFile(path, of_kernel=False)
    path.write_bytes(VMLINUX[:at] + damage + VMLINUX[at + len(damage) :])
    assert find(RELEASE, root) in (None, TypesFile(path, of_kernel=False))
