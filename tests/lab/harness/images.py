"""Kernels by name: from the cache, else made; or the bzImage at a path, which has a slash in it."""

from __future__ import annotations

import hashlib
import shutil
import sys
from functools import partial
from pathlib import Path

from tests.lab.harness import build, cache, package
from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.kernels import GIVEN, KERNELS, Kernel, KernelImage, SourceKernel

SHELF = "kernels"


def say(line: str) -> None:
    """Progress, on stderr: stdout is the guest's."""
    print(line, file=sys.stderr, flush=True)


def located(name: str, root: Path) -> KernelImage:
    """Where the kernel `name` is kept, there or not. Raises LabUnavailableError if its inputs are not known here."""
    if is_path(name):
        return KernelImage(GIVEN, cache.entry_of(root / SHELF, GIVEN, _content(Path(name))))
    return KernelImage(name, cache.entry_of(root / SHELF, name, _inputs(KERNELS[name])))


def obtain(name: str, root: Path) -> KernelImage:
    """The kernel `name`, built or fetched if `root` has it not. Raises LabUnavailableError if that cannot be done."""
    if is_path(name):
        return _given(Path(name), root)
    kernel = KERNELS[name]
    if isinstance(kernel, SourceKernel):
        # Always the same place: the kernel's make compiles everything anew where its own tools have moved.
        make = partial(build.build, kernel, root / "build" / kernel.tree.name, say=say)
    else:
        make = partial(package.fetch, kernel, say=say)
    return KernelImage(name, cache.obtain(root / SHELF, name, _inputs(kernel), make, say))


def is_path(name: str) -> bool:
    """Whether a kernel is named by where its bzImage lies."""
    return "/" in name


def _given(path: Path, root: Path) -> KernelImage:
    """A copy of a kernel that somebody else built, which stays what it is where that one is built anew."""

    def copy(directory: Path) -> None:
        shutil.copyfile(path, directory / SourceKernel.bootable)

    return KernelImage(GIVEN, cache.obtain(root / SHELF, GIVEN, _content(path), copy, say))


def _content(path: Path) -> dict[str, str]:
    try:
        return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    except OSError as error:
        raise LabUnavailableError(f"cannot read the kernel {path}: {error.strerror}") from None


def _inputs(kernel: Kernel) -> dict[str, str]:
    return build.inputs(kernel) if isinstance(kernel, SourceKernel) else package.inputs(kernel)
