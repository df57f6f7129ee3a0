"""What a guest has for its root file system: the host's, or if its architecture is another, one of unpacked packages.

No script of a package is run, so nothing has to be emulated to make it. The checkout, virtual environment included, is
shared at its own place: there is no machine code in it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.lab.harness import cache, suites
from tests.lab.harness.architectures import Architecture
from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.kernels import HERE
from tests.lab.harness.machine import THE_HOSTS, Shared
from tests.lab.harness.suites import Suite

RECIPE: Final = "1"
"""Part of every cache key: count up when the steps below change what comes out."""
SHELF: Final = "roots"
PACKAGES: Final = (
    *("python3", "python3-bpfcc"),
    *("bash", "busybox-static", "coreutils", "dash", "findutils", "gawk", "grep", "procps", "sed", "util-linux"),
)
"""What the tool needs and what workloads use; apt adds what these depend on."""
CHECKOUT: Final = HERE.parents[1]
MOUNTED: Final = ("dev", "proc", "run", "sys", "tmp", "root", "etc")
"""Directories that are in no package of these."""


def of(architecture: Architecture, root: Path, say: Callable[[str], None]) -> Shared:
    """What guests of this architecture see of the host's files; made if the cache in `root` has it not."""
    if architecture.is_the_hosts:
        return THE_HOSTS
    suite = Suite(_codename(), architecture.name)
    packages = suites.closure(PACKAGES, suite)

    def make(directory: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="swiotlb-lab-root-") as scratch:
            say(f"root for {architecture.name}: download {len(packages)} packages")
            for package in suites.download_all(packages, suite, Path(scratch)):
                suites.unpack(package, directory)
        for name in MOUNTED:
            (directory / name).mkdir(exist_ok=True)
        _compile(directory)

    inputs = {"recipe": RECIPE, "packages": " ".join(f"{name} {version}" for name, version in packages.items())}
    return Shared(cache.obtain(root / SHELF, architecture.name, inputs, make, say), CHECKOUT)


def _codename() -> str:
    """The host's release of Debian: the guest's Python has to be as old as the host's, whose environment it shares."""
    found = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    if found is None:
        raise LabUnavailableError("/etc/os-release names no release of Debian")
    return found.group(1)


def _compile(directory: Path) -> None:
    """Python's own modules, which the packages' scripts would have compiled."""
    for library in directory.glob("usr/lib/python3*"):
        subprocess.run(
            ["/usr/bin/python3", "-m", "compileall", "-q", "-s", str(directory), str(library)],
            stdout=sys.stderr,
            check=False,
        )
