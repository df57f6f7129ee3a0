"""From a Debian source package, a configuration fragment and patches to a bzImage."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.lab.errors import LabUnavailableError
from tests.lab.kernels import CONFIG_DIR, PATCH_DIR, SourceKernel
from tests.lab.requirements import TO_BUILD, TO_RUN, output_of, require

RECIPE = "1"
"""Part of every cache key: count up when the steps below change what comes out."""
SOURCES = Path("/usr/src")
PROGRESS_EVERY_S = 5.0
STEP_OF_AN_OBJECT = ("  CC ", "  AS ", "  HOSTCC ")

Say = Callable[[str], None]


def inputs(kernel: SourceKernel, config_dir: Path = CONFIG_DIR, patch_dir: Path = PATCH_DIR) -> dict[str, str]:
    """All that decides what the build of `kernel` makes. Raises LabUnavailableError if its source is not installed."""
    archive = SOURCES / f"{kernel.source_package}.tar.xz"
    if not archive.exists():
        # Its tools are not needed yet, but who has to install anything should be told all of it.
        require(TO_RUN, TO_BUILD, {str(archive): kernel.source_package})
    version = output_of("dpkg-query", "-W", "-f=${Version}", kernel.source_package)
    return {
        "recipe": RECIPE,
        "source": f"{kernel.source_package} {version}",
        "config": _digest(config_dir / kernel.config),
    } | {
        f"patch {number} {name}": _digest(patch_dir / name)  # the order counts, so it is in the name
        for number, name in enumerate(kernel.patches)
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build(kernel: SourceKernel, directory: Path, say: Say) -> None:
    """Put bzImage, System.map, config and build.log of `kernel` into `directory`. Takes minutes and 3 GB of $TMPDIR.

    Raises LabUnavailableError if a tool is missing or the build fails; the end of its log is in the message then.
    """
    require(TO_BUILD)
    with (
        tempfile.TemporaryDirectory(prefix="swiotlb-lab-build-") as scratch,
        (directory / "build.log").open("wb") as log,
    ):
        tree = Path(scratch) / kernel.source_package
        steps = _steps(kernel, Path(scratch))
        for what, command, environment in steps:
            say(f"{kernel.name}: {what}")
            # The first step makes the tree, so it starts beside it.
            _step(kernel.name, command, environment, tree if tree.exists() else Path(scratch), log.fileno(), say)
        for made, kept in (("arch/x86/boot/bzImage", "bzImage"), ("System.map", "System.map"), (".config", "config")):
            shutil.copy(tree / made, directory / kept)


Step = tuple[str, Sequence[str], Mapping[str, str]]
"""What is being done, the command that does it, and what it wants in its environment."""


def _steps(kernel: SourceKernel, scratch: Path) -> list[Step]:
    unpack: Step = ("unpack", ("tar", "-C", str(scratch), "-xf", str(SOURCES / f"{kernel.source_package}.tar.xz")), {})
    patches: list[Step] = [
        (f"patch {name}", ("patch", "-p1", "-i", str(PATCH_DIR / name)), {}) for name in kernel.patches
    ]
    fragment = {"KCONFIG_ALLCONFIG": str(CONFIG_DIR / kernel.config)}
    # A fixed builder: two builds of the same inputs should differ as little as can be.
    builder = {"KBUILD_BUILD_USER": "lab", "KBUILD_BUILD_HOST": "swiotlb-top"}
    return [
        unpack,
        *patches,
        ("configure", ("make", "allnoconfig"), fragment),
        ("compile", ("nice", "-n", "5", "make", f"-j{os.cpu_count() or 1}", "bzImage"), builder),
    ]


def _step(name: str, command: Sequence[str], environment: Mapping[str, str], cwd: Path, log: int, say: Say) -> None:
    started = time.monotonic()
    start_bytes = os.fstat(log).st_size
    path = Path(f"/proc/self/fd/{log}").resolve()
    process = subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    try:
        while True:
            try:
                process.wait(PROGRESS_EVERY_S)
                break
            except subprocess.TimeoutExpired:
                objects = _objects(path, start_bytes)
                done = f"{objects} objects, " if objects else ""
                say(f"{name}: {done}{time.monotonic() - started:.0f} s")
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        tail = "\n".join(path.read_text(errors="replace").splitlines()[-15:])
        raise LabUnavailableError(f"{name}: {' '.join(command)} failed with {process.returncode}:\n{tail}")


def _objects(log: Path, start_bytes: int) -> int:
    with log.open("rb") as file:
        file.seek(start_bytes)
        return sum(line.decode(errors="replace").startswith(STEP_OF_AN_OBJECT) for line in file)
