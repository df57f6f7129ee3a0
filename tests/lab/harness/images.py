"""Kernels by name: from the cache, else made."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tests.lab.harness import build, cache, package
from tests.lab.harness.kernels import KERNELS, Kernel, KernelImage, SourceKernel

SHELF = "kernels"


def say(line: str) -> None:
    """Progress, on stderr: stdout is the guest's."""
    print(line, file=sys.stderr, flush=True)


def located(name: str, root: Path) -> KernelImage:
    """Where the kernel `name` is kept, there or not. Raises LabUnavailableError if its inputs are not known here."""
    return KernelImage(name, cache.entry_of(root / SHELF, name, _inputs(KERNELS[name])))


def obtain(name: str, root: Path) -> KernelImage:
    """The kernel `name`, built or fetched if `root` has it not. Raises LabUnavailableError if that cannot be done."""
    kernel = KERNELS[name]
    if isinstance(kernel, SourceKernel):
        # Always the same place: the kernel's make compiles everything anew where its own tools have moved.
        make = partial(build.build, kernel, root / "build" / kernel.tree.name, say=say)
    else:
        make = partial(package.fetch, kernel, say=say)
    return KernelImage(name, cache.obtain(root / SHELF, name, _inputs(kernel), make, say))


def _inputs(kernel: Kernel) -> dict[str, str]:
    return build.inputs(kernel) if isinstance(kernel, SourceKernel) else package.inputs(kernel)
