"""The tool's programs for a guest, compiled by the host before it boots: emulated, the compiler takes a minute.

A guest takes from its shelf what it would have compiled itself, under a hash of all that goes into it; what is not
there it compiles (test_programs_are_kept.py: byte for byte the same). What a kernel's programs are made for is asked
of it once.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import layout
from swiotlb_top.probes.attach.loader import plan_for
from swiotlb_top.probes.compile.flags import RING_BYTES, WAYS, compiler_flags
from swiotlb_top.probes.compile.images import compiled
from swiotlb_top.probes.compile.shelf import Shelf
from swiotlb_top.state import How
from tests.lab.harness import cache, images, vm
from tests.lab.harness.errors import LostVMError
from tests.lab.harness.kernels import KernelImage
from tests.lab.harness.machine import Machine, RunDirectory

_SHELF: Final = "facts"
_ASKING_S: Final = 600.0
_ASK: Final = """
    cp /sys/kernel/btf/vmlinux /results/btf && cp /proc/kallsyms /results/kallsyms && uname -r >/results/release &&
    if [ -d /sys/bus/event_source/devices/kprobe ]; then mkdir -p /results/sys/bus/event_source/devices/kprobe; fi
"""
_WAYS: Final = (
    *((ring_bytes, spares, How.FENTRY) for ring_bytes, spares in WAYS),
    (RING_BYTES, True, How.KPROBE),
)
"""What nearly all machines run: the recorder; screen and exporter; the recorder on kprobes."""


def provide(machine: Machine, image: KernelImage, accelerator: str, root: Path, kept: Path) -> None:
    """Put onto the shelf in ``kept`` the programs that the tool will want in ``machine``.

    Where this host cannot compile them, because it is of another architecture or lacks something, or the kernel cannot
    be asked, the guest is left to do it.
    """
    if not image.architecture.is_the_hosts:
        return
    with suppress(CannotError, LostVMError):
        facts = _facts(image, accelerator, root)
        shelf = Shelf(kept / "swiotlb-top" / "programs")
        for flags in _flags(facts, machine.cpus):
            compiled(flags, shelf)


def _facts(image: KernelImage, accelerator: str, root: Path) -> Path:
    """A directory with a kernel's BTF, kallsyms, release, and what of /sys is looked at."""

    def ask(directory: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="swiotlb-lab-") as name:
            run = RunDirectory(Path(name), Path(name) / "kept")
            machine = Machine(kernel=image.name)
            told = vm.run(machine, image, accelerator, ["sh", "-c", _ASK], deadline_s=_ASKING_S, run=run)
            if told.status:
                raise CannotError(f"{image.name} tells nothing of itself: {told.stderr}")
            shutil.move(run.results, directory / "told")

    made_of = {"kernel": image.directory.name, "asked": _ASK}
    return cache.obtain(root / _SHELF, image.name, made_of, ask, images.say) / "told"


def _flags(facts: Path, cpus: int) -> Iterator[tuple[str, ...]]:
    known = layout.load(facts / "btf", facts / "kallsyms")
    release = (facts / "release").read_text().strip()
    for ring_bytes, spares, prefer in _WAYS:
        plan = plan_for(known, prefer=prefer, sys=facts / "sys", release=release)
        yield compiler_flags(known, plan, ring_bytes, spares=spares, cpus=cpus)
