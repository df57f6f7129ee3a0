"""The C: in the kernel's style, and it compiles to BPF for every plan. Loading it is the lab's business."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.kernel.btf import Btf
from swiotlb_top.kernel.hooks import HOOKS, SYNCS
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.kernel.symbols import Symbols
from swiotlb_top.probes.compile import bpf_files, compiler, plan
from swiotlb_top.probes.compile.flags import compiler_flags, mapping_cells, possible_cpus
from swiotlb_top.probes.compile.plan import Plan
from swiotlb_top.probes.read.maps import refuse_others
from swiotlb_top.state import How
from tests.kernels import KERNELS, layout_of

bcc: Any = pytest.importorskip("bcc", reason="bcc, the distribution's python3-bpfcc, is not installed")

ROOT = Path(__file__).parents[3]
BPF = ROOT / "bpf"
C_FILES = sorted(path for path in BPF.rglob("*") if path.suffix in (".c", ".h"))
DIAGNOSTIC = re.compile(r"^\S+:\d+:\d+: (?:fatal )?(?:error|warning): .*$", re.MULTILINE)
SMALL_RING_BYTES = 1 << 16


class Unattached(bcc.BPF):  # type: ignore[misc]
    """BCC attaches what is named kfunc__… as it loads; here nothing is to run."""

    def _trace_autoload(self) -> None:
        pass


def everything_out_of_line(whole: Layout, *, newest: bool) -> Layout:
    """That kernel, had its compiler inlined nothing: each hook's newest function, or its oldest, but no stand-in."""
    own = [[prototype for prototype in hook.prototypes if not prototype.stands_in_before] for hook in (*HOOKS, *SYNCS)]
    chosen = [prototypes[0 if newest else -1] for prototypes in own]
    functions = {prototype.symbol: prototype.parameters for prototype in chosen}
    types = Btf(whole.btf.structs, functions, {"bpf_rdonly_cast": 30_000}, {"io_tlb_slot": 50})
    return replace(whole, btf=types, symbols=Symbols(dict.fromkeys(functions, 1)))


@contextmanager
def kernel_source(directory: Path) -> Iterator[None]:
    before = os.environ.get("BCC_KERNEL_SOURCE")
    os.environ["BCC_KERNEL_SOURCE"] = str(directory)
    try:
        yield
    finally:
        del os.environ["BCC_KERNEL_SOURCE"]
        if before is not None:
            os.environ["BCC_KERNEL_SOURCE"] = before


def diagnostics(flags: list[str], capture: pytest.CaptureFixture[str]) -> list[str]:
    """What clang says about swiotlb_top.c with these flags, and nothing of what the kernel says."""
    with kernel_source(BPF / "headers"), suppress(Exception):
        # Where the maps cannot be made BCC raises, but it has compiled by then.
        Unattached(src_file=os.fsencode(BPF / "swiotlb_top.c"), cflags=flags).cleanup()
    return DIAGNOSTIC.findall(capture.readouterr().err)


def flags_of(layout: Layout, made: Plan, *, spares: bool = True, jit: bool = True) -> list[str]:
    return [f"-I{BPF}", *compiler_flags(layout, made, SMALL_RING_BYTES, spares=spares, jit=jit)]


@pytest.mark.skipif(shutil.which("clang-format") is None, reason="clang-format is not installed")
@pytest.mark.parametrize(
    "path",
    [
        *C_FILES,
        *(path for home in ("swiotlb_top/native", "tests/oracle") for path in sorted((ROOT / home).glob("*.[ch]"))),
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_c_is_formatted(path: Path) -> None:
    subprocess.run(["clang-format", "--dry-run", "-Werror", "--style=file", path], check=True)


@pytest.mark.parametrize("spares", [True, False], ids=["spares", "alone"])
@pytest.mark.parametrize("prefer", [How.FENTRY, How.KPROBE], ids=lambda how: how.value)
@pytest.mark.parametrize("kernel", KERNELS)
def test_it_compiles_for_the_plan_of_every_recorded_kernel(
    kernel: str, prefer: How, spares: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    layout = layout_of(kernel)
    made = plan.make(layout, kprobes=True, prefer=prefer)
    assert diagnostics(flags_of(layout, made, spares=spares), capfd) == []


@pytest.mark.parametrize("mappings_by", ["find_slots", "map"])
@pytest.mark.parametrize("prefer", [How.FENTRY, How.KPROBE], ids=lambda how: how.value)
@pytest.mark.parametrize("newest", [True, False], ids=["newest", "oldest"])
@pytest.mark.parametrize("jit", [True, False], ids=["compiled", "interpreted"])
def test_it_compiles_with_every_hook_probed(
    prefer: How, mappings_by: str, newest: bool, jit: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    layout = everything_out_of_line(layout_of("dynamic"), newest=newest)
    refused = {("find_slots", how): "not this time" for how in How} if mappings_by == "map" else {}
    made = plan.make(layout, kprobes=True, prefer=prefer, refused=refused)
    probed = {attached.hook.name for attached in made.probed()}
    beside_find_slots = {hook.name for hook in HOOKS if hook.beside}
    unseen = {"map"} if mappings_by == "find_slots" else {"find_slots"} | beside_find_slots
    assert probed == {hook.name for hook in HOOKS} - unseen
    assert {attached.hook.name for attached in made.syncs} == {hook.name for hook in SYNCS}
    flags = flags_of(layout, made, jit=jit)
    assert any(flag.startswith("-DRDONLY_CAST=") for flag in flags) == jit
    assert diagnostics(flags, capfd) == []


@pytest.mark.parametrize("prefer", [How.FENTRY, How.KPROBE], ids=lambda how: how.value)
def test_it_compiles_where_find_slots_is_not_told_the_pool(prefer: How, capfd: pytest.CaptureFixture[str]) -> None:
    """6.1, had its compiler inlined nothing."""
    layout = everything_out_of_line(layout_of("debian-6.1"), newest=False)
    made = plan.make(layout, kprobes=True, prefer=prefer)
    assert made.defines()["FIND_SLOTS_retpool"] == "-1"
    assert diagnostics(flags_of(layout, made), capfd) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="bcc makes the maps as it compiles, which only root may")
@pytest.mark.parametrize("spares", [True, False], ids=["spares", "alone"])
def test_what_comes_of_it_is_within_what_an_image_may_be(spares: bool) -> None:
    layout = layout_of("dynamic")
    made = plan.make(layout, kprobes=True)
    with bpf_files.directory() as source:
        image = compiler.compiled(source, compiler_flags(layout, made, SMALL_RING_BYTES, spares=spares))
    assert "read_kernel_memory" in image.programs
    assert ("mappings" in {each.name for each in image.maps}) == (not spares)
    refuse_others(image.sized("mappings", mapping_cells()), SMALL_RING_BYTES, possible_cpus().end, follows=not spares)


def test_an_offset_that_is_missing_is_seen_here(capfd: pytest.CaptureFixture[str]) -> None:
    layout = layout_of("dynamic")
    flags = flags_of(layout, plan.make(layout, kprobes=True))
    lacking = [flag for flag in flags if not flag.startswith("-DO_pool_free_head=")]
    assert any("O_pool_free_head" in said for said in diagnostics(lacking, capfd))


def test_every_file_names_its_licence_in_the_first_line() -> None:
    unlicensed = [path for path in C_FILES if "SPDX-License-Identifier: GPL-2.0" not in path.read_text().split("\n")[0]]
    assert unlicensed == []
