"""Where the source of a kernel is, as Debian packages it: installed, or fetched from another suite into the cache."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.lab.harness import cache, suites
from tests.lab.harness.requirements import output_of
from tests.lab.harness.suites import Suite

INSTALLED = Path("/usr/src")
SHELF = "sources"

Say = Callable[[str], None]


def version(package: str, suite: Suite) -> str:
    """The version of `package` that :func:`archive` would give. Raises LabUnavailableError if there is none."""
    if suite.name is not None:
        return suites.version(package, suite)
    return output_of("dpkg-query", "-W", "-f=${Version}", package)


def archive(package: str, suite: Suite, say: Say) -> Path:
    """`<package>.tar.xz`. That of another suite than the system's is downloaded once, some 170 MB."""
    if suite.name is None:
        return installed(package)
    wanted = version(package, suite)
    inputs = {"package": f"{package} {wanted}", "suite": suite.name}
    make = partial(_fetch, package, wanted, suite, say)
    return cache.obtain(cache.default_root() / SHELF, package, inputs, make, say) / f"{package}.tar.xz"


def installed(package: str) -> Path:
    """Where the archive is if the system has `package`."""
    return INSTALLED / f"{package}.tar.xz"


def _fetch(package: str, wanted: str, suite: Suite, say: Say, directory: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="swiotlb-lab-fetch-") as temporary:
        scratch = Path(temporary)
        say(f"{package}: download {wanted}")
        suites.unpack(suites.download(package, wanted, suite, scratch), scratch / "root")
        shutil.move(scratch / "root" / "usr" / "src" / f"{package}.tar.xz", directory)
