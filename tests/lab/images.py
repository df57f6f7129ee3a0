"""Kernels by name: from the cache, else made."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.lab import build, cache, package
from tests.lab.kernels import KERNELS, KernelImage, SourceKernel


def say(line: str) -> None:
    """Progress, on stderr: stdout is the guest's."""
    print(line, file=sys.stderr, flush=True)


def located(name: str, root: Path) -> KernelImage:
    """Where the kernel `name` is kept, there or not. Raises LabUnavailableError if its inputs are not known here."""
    return KernelImage(name, cache.entry_of(root, name, _how(name)[0]))


def obtain(name: str, root: Path) -> KernelImage:
    """The kernel `name`, built or fetched if `root` has it not. Raises LabUnavailableError if that cannot be done."""
    inputs, make = _how(name)
    return KernelImage(name, cache.obtain(root, name, inputs, make, say))


def _how(name: str) -> tuple[dict[str, str], Callable[[Path], None]]:
    kernel = KERNELS[name]
    if isinstance(kernel, SourceKernel):
        return build.inputs(kernel), partial(build.build, kernel, say=say)
    return package.inputs(kernel), partial(package.fetch, kernel, say=say)
