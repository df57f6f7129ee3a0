"""The module that brings swiotlb into trouble (tests/lab/module), built for a kernel as the distribution ships it."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.lab.harness import cache, package, suites
from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.kernels import HERE, KERNELS, PackagedKernel
from tests.lab.harness.requirements import TO_BUILD, require

MODULE: Final = "swiotlb_trouble.ko"
SOURCES: Final = HERE / "module"
SHELF: Final = "modules"


def obtain(name: str, root: Path, say: Callable[[str], None]) -> Path:
    """The module's file for the kernel ``name``, which guests see at the same place.

    Raises LabUnavailableError if it cannot be built, ValueError if the kernel is none of the distribution's.
    """
    kernel = KERNELS[name]
    if not isinstance(kernel, PackagedKernel):
        raise ValueError(f"{name} loads no modules")
    sources = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()))).hexdigest()
    inputs = {**package.inputs(kernel), "sources": sources}
    return cache.obtain(root / SHELF, f"trouble-{name}", inputs, lambda into: _build(kernel, into, say), say) / MODULE


def _build(kernel: PackagedKernel, directory: Path, say: Callable[[str], None]) -> None:
    require(TO_BUILD)
    with tempfile.TemporaryDirectory(prefix="swiotlb-lab-module-") as temporary:
        scratch = Path(temporary)
        headers = _headers(kernel, scratch, say)
        sources = shutil.copytree(SOURCES, scratch / "module")
        say(f"{kernel.name}: build {MODULE}")
        command = ["make", "-s", "-C", str(headers), f"M={sources}", "modules"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabUnavailableError(f"{MODULE} for {kernel.name}: {done.stderr.strip()}")
        shutil.copy(sources / MODULE, directory / MODULE)


def _headers(kernel: PackagedKernel, scratch: Path, say: Callable[[str], None]) -> Path:
    """The tree that the kernel's own make builds modules in, unpacked."""
    own = f"linux-headers-{package.release(kernel)}"
    needed = suites.dependencies(own, r"linux-headers-\S+-common|linux-kbuild-\S+", kernel.suite)
    for each in (own, *needed):
        say(f"{kernel.name}: download {each}")
        suites.unpack(suites.download(each, suites.version(each, kernel.suite), kernel.suite, scratch), scratch)
    tree = scratch / "usr/src" / own
    # It names the tree that all flavours share by where that is on a system on which it is installed.
    makefile = tree / "Makefile"
    makefile.write_text(re.sub(r"(?<!\S)/usr/src/", f"{scratch}/usr/src/", makefile.read_text()))
    return tree
