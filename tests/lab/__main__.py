"""`python -m tests.lab`: build kernels, run a command in one, or get a shell in one."""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
import tempfile
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.lab import patch_report
from tests.lab.harness import accelerator, cache, images, programs, roots, vm
from tests.lab.harness.errors import LabUnavailableError, LostVMError
from tests.lab.harness.kernels import ALWAYS_THERE, KERNELS
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine, RunDirectory, qemu_command
from tests.lab.harness.requirements import TO_RUN, require

EXIT_LOST_VM = 70
DEFAULT_DEADLINE_S = 300.0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m tests.lab",
        description=__doc__,
        epilog="run: exit status is the command's; 70: the machine was lost; 69: this host cannot run the lab. "
        "Example: python -m tests.lab run --kernel dynamic --swiotlb 512,force -- cat /proc/version",
    )
    commands = top.add_subparsers(dest="verb", required=True)
    building = commands.add_parser("build", help="build or fetch kernels into the cache")
    default = f"default: all up to {ALWAYS_THERE[-1]}"
    building.add_argument("kernels", nargs="*", metavar="KERNEL", help=f"of {', '.join(KERNELS)} ({default})")
    running = commands.add_parser("run", help="run a command in a machine of its own")
    _add_machine(running)
    running.add_argument("--deadline", type=float, default=DEFAULT_DEADLINE_S, metavar="S", help="wall clock, seconds")
    running.add_argument("--tty", action="store_true", help="give the command this terminal")
    running.add_argument("command", nargs="+", metavar="CMD", help="after --; runs as root in the checkout")
    reporting = commands.add_parser("report", help="what swiotlb-top says of a kernel under load, to attach to a patch")
    _add_machine(reporting)
    reporting.add_argument("-o", "--output", type=Path, metavar="FILE", help="Markdown; default: standard output")
    shell = commands.add_parser("shell", help="an interactive shell on this terminal")
    _add_machine(shell)
    return top


_KERNEL_HELP = (
    f"of {', '.join(KERNELS)}; or the path of a bzImage, as in ./arch/x86/boot/bzImage, built with tests/lab/configs/"
    "dynamic.config or more: what a guest needs to boot is built in, and no module is loaded"
)


def _kernel(text: str) -> str:
    if text in KERNELS or images.is_path(text):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is neither a path with a slash nor one of {', '.join(KERNELS)}")


def _add_machine(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--kernel", type=_kernel, default="dynamic", metavar="NAME|PATH", help=_KERNEL_HELP)
    sub.add_argument("--cpus", type=int, default=1)
    sub.add_argument("--swiotlb", default="512,force", metavar="NSLABS[,force]")
    sub.add_argument("--memory", type=int, default=1024, metavar="MB")
    sub.add_argument("--icount", action="store_true", help="guest time counts instructions")
    sub.add_argument("--behind-iommu", action="store_true", help="disks that the kernel does not trust (debian…)")
    sub.add_argument("--append", action="append", default=[], metavar="WORD", help="more of the kernel's command line")
    sub.add_argument("--results", type=Path, metavar="DIR", help="keep here what the guest writes to /results")
    sub.add_argument("--dry-run", action="store_true", help="print the QEMU command and run nothing")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    # So that `timeout` and the like leave neither a machine nor its disks behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        return {"build": _build, "report": _report}.get(options.verb, _run)(options)
    except LabUnavailableError as error:
        print(f"lab: {error}", file=sys.stderr)
        return error.exit_status
    except LostVMError as error:
        print(f"lab: lost the machine: {error}", file=sys.stderr)
        return EXIT_LOST_VM


def _build(options: argparse.Namespace) -> int:
    for name in options.kernels or ALWAYS_THERE:
        if name not in KERNELS:
            print(f"lab: no kernel {name}; there are {', '.join(KERNELS)}", file=sys.stderr)
            return 2
        image = images.obtain(name, cache.default_root())
        roots.of(image.architecture, cache.default_root(), images.say)
        print(image.directory)
    return 0


def _machine(options: argparse.Namespace) -> Machine:
    return Machine(
        kernel=options.kernel,
        cpus=options.cpus,
        swiotlb=options.swiotlb,
        memory_mb=options.memory,
        icount=options.icount,
        behind_iommu=options.behind_iommu,
        extra_cmdline=tuple(options.append),
    )


def _report(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="swiotlb-lab-") as directory:
        lab = Lab(cache.default_root(), options.results or Path(directory), may_build=True)
        page = patch_report.made(lab, _machine(options))
    if options.output:
        options.output.write_text(page.as_markdown())
    else:
        print(page.as_markdown(), end="")
    return page.status


def _run(options: argparse.Namespace) -> int:
    machine = _machine(options)
    shell = options.verb == "shell"
    terminal = vm.own_terminal() if shell or options.tty else None
    root = cache.default_root()
    if options.dry_run:
        print(shlex.join(_dry_run(machine, root, terminal=terminal is not None)))
        return 0
    image = images.obtain(machine.kernel, root)
    require(TO_RUN, image.architecture.needs)
    shared = roots.of(image.architecture, root, images.say)
    how = accelerator.choose(root, image, icount=machine.icount)
    command = ["/bin/bash", "-i"] if shell else options.command
    live = None if terminal else vm.Live(sys.stdout.buffer, sys.stderr.buffer)
    deadline_s = None if shell else options.deadline
    with tempfile.TemporaryDirectory(prefix="swiotlb-lab-") as directory, _terminal_kept():
        kept = cache.kept(root, image.directory)
        programs.provide(machine, image, how, root, kept)
        run = RunDirectory(Path(directory), kept)
        try:
            result = vm.run(
                machine,
                image,
                how,
                command,
                deadline_s=deadline_s,
                run=run,
                shared=shared,
                terminal=terminal,
                live=live,
            )
        finally:
            if options.results:
                shutil.copytree(run.results, options.results, dirs_exist_ok=True)
    return result.status


def _dry_run(machine: Machine, root: Path, *, terminal: bool) -> list[str]:
    """The command as it would be now; builds nothing, boots nothing. RUN stands for the run's directory."""
    image = images.located(machine.kernel, root)
    how = accelerator.foretold(root, image, icount=machine.icount)
    run = RunDirectory(Path("RUN"), cache.kept(root, image.directory))
    return qemu_command(machine, image, how, run, terminal=terminal)


@contextmanager
def _terminal_kept() -> Iterator[None]:
    """QEMU makes the terminal raw, and killed it cannot undo that."""
    if not sys.stdin.isatty():
        yield
        return
    saved = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


if __name__ == "__main__":
    sys.exit(main())
