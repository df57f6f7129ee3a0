"""The lab as tests see it: one object that boots a machine, runs a command in it and hands back what came of it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.harness import accelerator, cache, images, programs, roots, trouble, vm
from tests.lab.harness.errors import LabUnavailableError, PanicError
from tests.lab.harness.kernels import KernelImage
from tests.lab.harness.machine import Machine, RunDirectory
from tests.lab.harness.requirements import TO_RUN, require

HUNG_S = 1500.0
"""No machine of a test takes as long, not on a host five times slower than its author's: past that, it hangs."""
BOOTS = 3
"""Of a machine whose panics may be the emulator's."""


@dataclass(frozen=True, slots=True)
class Lab:
    """`run` is all there is to it."""

    root: Path
    """The cache, see `cache.default_root`."""
    scratch: Path
    """Every run gets a directory of its own in here, which stays: console.log, stdout, stderr, results/."""
    may_build: bool
    """Whether a kernel that the cache lacks is made, which takes minutes; else that is LabUnavailableError."""

    def run(
        self,
        machine: Machine,
        command: Sequence[str],
        *,
        deadline_s: float = HUNG_S,
        meanwhile: vm.Meanwhile | None = None,
    ) -> vm.Result:
        """Boot `machine`, run `command` as root in the checkout, power off. Some 5 s more than the command takes.

        A command that fails is a Result with its status. A machine whose panic may be the emulator's is run again,
        twice at most, and that is said. Raises LostVMError if the machine is lost or `deadline_s` of wall-clock time is
        over, LabUnavailableError if this host cannot run it.
        """
        image = self.image(machine.kernel)
        require(TO_RUN, image.architecture.needs)
        how = accelerator.choose(self.root, image, icount=machine.icount)
        kept = cache.kept(self.root, image.directory)
        shared = roots.of(image.architecture, self.root, images.say)
        programs.provide(machine, image, how, self.root, kept)

        def boot() -> vm.Result:
            run = RunDirectory(Path(tempfile.mkdtemp(prefix=f"{image.name}-", dir=self.scratch)), kept)
            return vm.run(
                machine, image, how, command, deadline_s=deadline_s, run=run, shared=shared, meanwhile=meanwhile
            )

        threads = 1 if machine.in_turn else machine.cpus
        again = BOOTS - 1 if accelerator.keeps_stale_code(how, threads, image.architecture) else 0
        for _ in range(again):
            try:
                return boot()
            except PanicError as error:
                images.say(f"{image.name}: a panic that may be the emulator's; it is run again\n{error.console_tail}")
        return boot()

    def image(self, name: str) -> KernelImage:
        """The kernel of a name."""
        if self.may_build:
            return images.obtain(name, self.root)
        image = images.located(name, self.root)
        if not cache.is_whole(image.directory):
            raise LabUnavailableError(f"kernel {name} is not there yet: python -m tests.lab build {name}")
        return image

    def trouble(self, kernel: str) -> Path:
        """The module that brings swiotlb into trouble, for a distribution's kernel; guests see it, too."""
        return trouble.obtain(kernel, self.root, images.say)
