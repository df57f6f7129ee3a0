"""From a Debian source package, a configuration fragment and patches to bzImages.

What kernels have in common is compiled once and kept, objects and all: the tree. A kernel that differs from its tree in
patches costs an object or a few and the link; then the patches are taken out again, and the tree is ready for the next.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tests.lab.harness import cache, sources
from tests.lab.harness.architectures import AMD64
from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.kernels import CONFIG_DIR, PATCH_DIR, SourceKernel, SourceTree
from tests.lab.harness.requirements import TO_BUILD, TO_RUN, require

RECIPE = "2"
"""Part of every cache key: count up when the steps below change what comes out."""
STAMP = "compiled"
"""File beside a tree that is compiled and has no patch in it but its own; holds the key of what it was made from."""
KEPT: Mapping[str, str] = MappingProxyType(
    {"bzImage": "arch/x86/boot/bzImage", "System.map": "System.map", "config": ".config"}
)
"""What a kernel is to the lab, and where the build leaves it."""
NEVER_COMPILED = (
    *("drivers/gpu/drm", "drivers/infiniband", "drivers/media", "drivers/net/ethernet", "drivers/net/wireless"),
    *("drivers/staging", "sound", "arch/arm", "arch/arm64", "arch/mips", "arch/powerpc", "tools/testing"),
)
"""Directories whose C the lab's configurations want nothing of: half of the source. Kconfig and make files stay."""
PROGRESS_EVERY_S = 5.0
STEP_OF_AN_OBJECT = ("  CC ", "  AS ", "  HOSTCC ")

Say = Callable[[str], None]


def tree_inputs(tree: SourceTree, config_dir: Path = CONFIG_DIR, patch_dir: Path = PATCH_DIR) -> dict[str, str]:
    """All that decides what compiling `tree` makes. Raises LabUnavailableError if its source is not to be had."""
    if tree.suite.name is None:
        # Its tools are not needed yet, but who has to install anything should be told all of it.
        require(TO_RUN, AMD64.needs, TO_BUILD, {str(sources.installed(tree.source_package)): tree.source_package})
    version = sources.version(tree.source_package, tree.suite)
    return {
        "recipe": RECIPE,
        "source": f"{tree.source_package} {version}",
        "config": _digest(config_dir / tree.config),
    } | _patch_inputs("patch", tree.patches, patch_dir)


def inputs(kernel: SourceKernel, config_dir: Path = CONFIG_DIR, patch_dir: Path = PATCH_DIR) -> dict[str, str]:
    """All that decides what the build of `kernel` makes: its tree's inputs and its own."""
    called = {"release": kernel.release} if kernel.release else {}
    own = _patch_inputs("own patch", kernel.patches, patch_dir)
    return tree_inputs(kernel.tree, config_dir, patch_dir) | own | called


def _patch_inputs(what: str, patches: Sequence[str], patch_dir: Path) -> dict[str, str]:
    # The order counts, so it is in the name.
    return {f"{what} {number} {name}": _digest(patch_dir / name) for number, name in enumerate(patches)}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build(kernel: SourceKernel, workshop: Path, directory: Path, say: Say) -> None:
    """Put bzImage, System.map, config and build.log of `kernel` into `directory`.

    `workshop` is a directory of its tree's own, which is kept there and has 2 GB. Compiling the tree takes minutes, a
    kernel of it less than one. Raises LabUnavailableError if a tool is missing or the build fails; the end of its log
    is in the message then.
    """
    require(TO_BUILD)
    with (
        cache.alone(workshop, lambda: say(f"{kernel.name}: another build is under way, waiting")),
        (directory / "build.log").open("wb") as log,
    ):
        tree = workshop / kernel.tree.source_package

        def do(step: Step) -> None:
            what, command, environment = step
            say(f"{kernel.name}: {what}")
            _step(kernel.name, command, environment, tree if tree.exists() else workshop, log.fileno(), say)

        stamp = workshop / STAMP
        key = cache.key(tree_inputs(kernel.tree))
        if not stamp.exists() or stamp.read_text() != key:
            _empty(workshop)
            archive = sources.archive(kernel.tree.source_package, kernel.tree.suite, say)
            for step in _steps_to_a_tree(kernel.tree, archive):
                do(step)
        # Without its stamp, whatever ends this here, the next build starts from the source.
        stamp.unlink(missing_ok=True)
        applied: list[str] = []
        try:
            for name in kernel.patches:
                do(_patching(name))
                applied.append(name)
            do(_compiling(kernel.release))
            for kept, made in KEPT.items():
                shutil.copy(tree / made, directory / kept)
        except LabUnavailableError:
            _take_out(applied, do)
            stamp.write_text(key)
            raise
        _take_out(applied, do)
        stamp.write_text(key)


Step = tuple[str, Sequence[str], Mapping[str, str]]
"""What is being done, the command that does it, and what it wants in its environment."""

# A fixed builder: two builds of the same inputs should differ as little as can be.
COMPILE: Step = (
    "compile",
    ("nice", "-n", "5", "make", f"-j{os.cpu_count() or 1}", "bzImage"),
    {"KBUILD_BUILD_USER": "lab", "KBUILD_BUILD_HOST": "swiotlb-top"},
)


def _compiling(release: str) -> Step:
    what, command, environment = COMPILE
    return what, (*command, *([f"KERNELRELEASE={release}"] if release else [])), environment


def _steps_to_a_tree(tree: SourceTree, archive: Path) -> list[Step]:
    unpack = ("tar", "-xf", str(archive))
    unwanted = (f"--exclude=*/{directory}/*.[chS]" for directory in NEVER_COMPILED)
    return [
        ("unpack", (*unpack, *unwanted), {}),
        *(_patching(name) for name in tree.patches),
        ("configure", ("make", "allnoconfig"), {"KCONFIG_ALLCONFIG": str(CONFIG_DIR / tree.config)}),
        COMPILE,
    ]


def _patching(name: str) -> Step:
    # Fuzz would hide that the source has moved on under a patch; half a patch would stay in the tree.
    fits = ("patch", "-p1", "--fuzz=0", "-i", str(PATCH_DIR / name))
    return f"patch {name}", ("sh", "-c", 'patch --dry-run "$@" && patch "$@"', *fits), {}


def _take_out(patches: Sequence[str], do: Callable[[Step], None]) -> None:
    for name in reversed(patches):
        do((f"take out {name}", ("patch", "-R", "-p1", "--fuzz=0", "-i", str(PATCH_DIR / name)), {}))


def _empty(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.mkdir()


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
