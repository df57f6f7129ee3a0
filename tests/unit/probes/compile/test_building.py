"""A program file has whatever a machine with the kernel may ask for, and nothing twice."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.elsewhere import Elsewhere
from swiotlb_top.kernel.symbols import Symbols
from swiotlb_top.probes.attach.loader import plan_for
from swiotlb_top.probes.compile import bpf_files, building, compiler
from swiotlb_top.probes.compile.flags import WAYS, compiler_flags, macros_of
from swiotlb_top.probes.compile.image import Image
from tests.kernels import KERNELS, layout_of, with_syncs
from tests.support.program_files import image_of

DEBIAN = layout_of("debian")


@cache
def wanted_of(kernel: str) -> list[tuple[str, ...]]:
    return building.wanted(layout_of(kernel))


@given(
    st.sampled_from(KERNELS),
    st.integers(1, 8192),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["6.1.0", "6.6.1", "6.12.57+deb13-amd64"]),
    st.sampled_from(WAYS),
)
def test_whatever_machine_and_release_there_is_what_it_asks_for(
    tmp_path_factory: pytest.TempPathFactory,
    kernel: str,
    cpus: int,
    has_kprobes: bool,
    has_iommu: bool,
    release: str,
    way: tuple[int, bool],
) -> None:
    sys = tmp_path_factory.mktemp("sys")
    if has_kprobes:
        (sys / "bus/event_source/devices/kprobe").mkdir(parents=True)
    if has_iommu:
        (sys / "class/iommu/dmar0").mkdir(parents=True)
    layout, (ring_bytes, spares) = layout_of(kernel), way
    try:
        plan = plan_for(layout, sys=sys, release=release)
    except CannotError:
        return  # neither could it be compiled there
    assert compiler_flags(layout, plan, ring_bytes, spares=spares, cpus=cpus) in wanted_of(kernel)


@pytest.mark.parametrize(("kernel", "programs"), [("debian", 17), ("dynamic", 34), ("micro-vm", 17)])
def test_there_are_as_many_programs_as_differ(kernel: str, programs: int) -> None:
    wanted = building.wanted(with_syncs(layout_of(kernel)))
    assert len(wanted) == len(set(wanted)) == programs


def test_a_kernel_that_cannot_be_watched_gets_no_file() -> None:
    bare = replace(DEBIAN, symbols=Symbols({"swiotlb_dev_init": 1}))
    with pytest.raises(CannotError, match="lets nothing attach to swiotlb_find_slots or swiotlb_tbl_map_single"):
        building.wanted(bare)


def test_each_program_is_compiled_with_its_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(source: Path, flags: tuple[str, ...]) -> Image:
        assert (source / "swiotlb_top.c").is_file()
        return image_of(flags)

    monkeypatch.setattr(compiler, "compiled", compiled)
    wanted = building.wanted(DEBIAN)
    assert building.compiled(wanted) == {macros_of(flags): image_of(flags) for flags in wanted}


def test_a_file_says_what_it_was_made_of_and_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "version", lambda: "__version__ = '0.26.0'\n")
    made = building.made_for(Elsewhere(DEBIAN, "b" * 64), "6.12.57")
    assert (made.release, made.btf, made.sources, made.compiler) == ("6.12.57", "b" * 64, bpf_files.digest(), "0.26.0")
    monkeypatch.setattr(compiler, "version", str)
    assert building.made_for(Elsewhere(DEBIAN, "b" * 64), "").compiler == ""
