"""``swiotlb-top program``: compiled on one machine, loaded on all that have the same kernel build."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import click

from swiotlb_top.cli.options import FileName, examples, json_option
from swiotlb_top.cli.page import show_report, show_written
from swiotlb_top.errors import Exit

_RELEASE = re.compile(r"[!-~]{1,64}")
_Flags = tuple[str, ...]
_CLEARED = f"\r{' ' * 40}\r"
_READABLE = 0o644
"""There is no secret in it, and an exporter may run as a user of its own."""
_BUILD_EPILOG = examples(
    "swiotlb-top program build -o here.swprog        for the kernel that runs here",
    "swiotlb-top program build --btf vmlinux --kallsyms kallsyms.gz --release 6.12.57 -o programs/6.12.57.swprog",
    "swiotlb-top export --program programs           what is for this kernel among them",
)
_SHOW_EPILOG = examples(
    "swiotlb-top program show here.swprog",
    "swiotlb-top program show here.swprog --json | jq -r .kernel.release",
)


class _Release(click.ParamType):  # type: ignore[type-arg]
    """What a kernel calls itself."""

    name = "release"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not _RELEASE.fullmatch(value):
            self.fail(f"{value!r} is no release of a kernel: give what uname -r says there", param, ctx)
        return str(value)


@click.group(no_args_is_help=False)
def program() -> None:
    """Compile the probes' program once for a kernel, and load it on machines without a compiler.

    --program of the commands that attach takes the file.
    """


@program.command(epilog=_BUILD_EPILOG)
@click.option(
    "--btf",
    "types",
    type=FileName(),
    metavar="FILE",
    help="A copy of the kernel's /sys/kernel/btf/vmlinux, gzipped or not. Default: that of the kernel that runs here.",
)
@click.option(
    "--kallsyms",
    "names",
    type=FileName(),
    metavar="FILE",
    help="A copy of its /proc/kallsyms, gzipped or not; the addresses in it may be hidden. Goes with --btf.",
)
@click.option(
    "--release",
    type=_Release(),
    metavar="NAME",
    help="What uname -r says there, for people who look at the file. Default with --btf: not said.",
)
@click.option(
    "-o",
    "--output",
    type=FileName(),
    required=True,
    metavar="FILE",
    help="File to write, which must not exist, with the ending .swprog if it is to lie in a directory of such files. "
    "No default.",
)
def build(types: Path | None, names: Path | None, release: str | None, output: Path) -> Exit:
    """Compile a program for each machine that a kernel build may run on: any number of CPUs, any use of it.

    That needs python3-bpfcc, and root or CAP_BPF, since bcc creates maps as it compiles; and a CPU for half a minute.
    The machines that load the file need neither bcc nor LLVM, only libbpf.
    """
    if (types is None) != (names is None):
        raise click.UsageError("--btf and --kallsyms go together: they are of one kernel")
    if release is not None and types is None:
        raise click.UsageError("--release goes with --btf: the release of the kernel that runs here is known")
    from swiotlb_top.convert.output import into_file
    from swiotlb_top.kernel import elsewhere
    from swiotlb_top.probes.compile import building, program_file
    from swiotlb_top.trace.files import refuse_to_overwrite

    refuse_to_overwrite(output)
    if types is not None and names is not None:
        kernel, release = elsewhere.read(types, names), release or ""
    else:
        kernel, release = elsewhere.here(), os.uname().release
    made = building.made_for(kernel, release)
    wanted = building.wanted(kernel.layout)
    images = building.compiled(_told(wanted))
    into_file([program_file.packed(program_file.ProgramFile(made, images))], output)
    output.chmod(_READABLE)
    show_written(output)
    return Exit.OK


def _told(wanted: Collection[_Flags]) -> Iterator[_Flags]:
    """The same, with a line on a terminal that says how far it is."""
    shown = sys.stderr.isatty()
    try:
        for number, flags in enumerate(wanted, 1):
            if shown:
                click.echo(f"\rcompiling {number} of {len(wanted)}", nl=False, err=True)
            yield flags
    finally:
        if shown:
            click.echo(_CLEARED, nl=False, err=True)


@program.command(epilog=_SHOW_EPILOG)
@click.argument("file", type=FileName())
@json_option
def show(file: Path, as_json: bool) -> Exit:
    """Say for which kernel a file's programs are, from what they were compiled, and what they probe.

    Exit status: 0 it is a program file, 4 it is none. Whether it is for the kernel that runs here says doctor
    --program.
    """
    from swiotlb_top.reports.program import shown

    report = shown(file)
    show_report(report.as_text, report.as_json, as_json=as_json)
    return Exit.OK
