"""A kernel that runs elsewhere is known from copies of two files, gzipped or not; what else they are is said."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.errors import CannotError, UnreadableError
from swiotlb_top.kernel import btf, elsewhere, layout
from swiotlb_top.kernel.types_file import TypesFile
from tests.kernels import KERNELS, btf_of, kallsyms_of, layout_of
from tests.kernels.btf_file import BtfFile


@pytest.mark.parametrize("kernel", KERNELS)
def test_it_is_the_layout_that_the_kernel_has_where_it_runs(kernel: str) -> None:
    found = elsewhere.read(btf_of(kernel), kallsyms_of(kernel))
    assert found.layout == layout_of(kernel)
    assert found.btf == btf.digest(TypesFile(btf_of(kernel), of_kernel=True))


def zipped(path: Path, source: Path) -> Path:
    path.write_bytes(gzip.compress(source.read_bytes()))
    return path


def test_gzipped_copies_are_the_same(tmp_path: Path) -> None:
    types, names = zipped(tmp_path / "btf.gz", btf_of("debian")), zipped(tmp_path / "kallsyms", kallsyms_of("debian"))
    assert elsewhere.read(types, names) == elsewhere.read(btf_of("debian"), kallsyms_of("debian"))


def test_hidden_addresses_do_not_matter(tmp_path: Path) -> None:
    lines = kallsyms_of("debian").read_text().splitlines()
    hidden = tmp_path / "kallsyms"
    hidden.write_text("\n".join("0" * 16 + line[16:] for line in lines))
    found = elsewhere.read(btf_of("debian"), hidden).layout
    assert found.btf == layout_of("debian").btf
    assert found.features == layout_of("debian").features
    assert found.symbols.exact("swiotlb_tbl_map_single")


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no BTF"),
        (b"\x7fELF", "is no BTF"),
        (b"\x1f\x8b", "cannot be unpacked"),
        (gzip.compress(b"x" * 1000, mtime=0)[:-10], "cannot be unpacked: it is cut"),
        (gzip.compress(b"x", mtime=0) * 2, "cannot be unpacked: more follows"),
        (b"\x1f\x8bno gzip", "cannot be unpacked"),
        (gzip.compress(b"x", mtime=0), "is no BTF"),
    ],
)
def test_what_is_no_btf_is_refused_with_what_to_give(content: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=says) as refused:
        elsewhere.read(put(tmp_path / "btf", content), kallsyms_of("debian"))
    assert str(tmp_path / "btf") in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"ffffffff810dd5c0 T vmalloc\n", b"\xff\xfe swiotlb\n", bytes(1000)])
def test_symbols_that_name_nothing_of_swiotlb_are_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="names none of swiotlb's functions: give a copy"):
        elsewhere.read(btf_of("debian"), put(tmp_path / "kallsyms", content))


def test_a_file_that_is_not_there_or_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UnreadableError, match=f"cannot read {path}: "):
            elsewhere.read(path, kallsyms_of("debian"))
        with pytest.raises(UnreadableError, match=f"cannot read {path}: "):
            elsewhere.read(btf_of("debian"), path)


def test_what_unpacks_to_more_than_any_kernel_has_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "_MOST_BYTES", 1 << 20)
    for content in (bytes((1 << 20) + 1), gzip.compress(bytes(64 << 20))):
        with pytest.raises(UnreadableError, match="has more than 1 MiB"):
            elsewhere.read(put(tmp_path / "btf", content), kallsyms_of("debian"))


def test_a_kernel_without_swiotlb_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotError, match="built without swiotlb"):
        elsewhere.read(put(tmp_path / "btf", BtfFile().to_bytes()), kallsyms_of("debian"))


@settings(deadline=None)
@given(st.integers(0, len(kallsyms_of("debian").read_bytes()) - 1), st.binary(min_size=1, max_size=8))
def test_symbols_may_be_any_bytes(tmp_path_factory: pytest.TempPathFactory, at: int, by: bytes) -> None:
    whole = kallsyms_of("debian").read_bytes()
    path = tmp_path_factory.getbasetemp() / f"kallsyms-{os.getpid()}"
    path.write_bytes(whole[:at] + by + whole[at:])
    assert elsewhere.read(btf_of("debian"), path).layout.btf == layout_of("debian").btf


def test_the_kernel_that_runs_here_is_read_where_it_tells_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    debian = layout_of("debian")
    monkeypatch.setattr(layout, "load", lambda: debian)
    monkeypatch.setattr(layout, "build", lambda: "b" * 64)
    assert elsewhere.here() == elsewhere.Elsewhere(debian, "b" * 64)
