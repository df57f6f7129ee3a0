"""From a plan to probes that are attached."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from swiotlb_top.constants import IO_TLB_SIZE
from swiotlb_top.cpus import Cpus
from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import refusals, settings
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.probes.attach.libbpf import AttachType, ProgramType, RefusedError
from swiotlb_top.probes.attach.objects import Objects
from swiotlb_top.probes.compile import bpf_files, compiler
from swiotlb_top.probes.compile import plan as planning
from swiotlb_top.probes.compile.image import Image
from swiotlb_top.probes.compile.plan import Attachment, Plan
from swiotlb_top.probes.compile.shelf import Shelf
from swiotlb_top.state import How

RING_BYTES: Final = 16 << 20
HEAD_BYTES: Final = 4096
BODY_BYTES: Final = 61440
DEVICE_PLACES_SHIFT: Final = 9
"""512 places a bank: short probing with a hundred devices."""
TOTALS_BYTES: Final = 192
"""``struct totals``"""
_MOST_BANKS: Final = 128
HOLDER_BYTES: Final = 64
"""``struct holder``"""
HOLDERS: Final = (1 << DEVICE_PLACES_SHIFT) + 1
"""All devices together, and each."""
STACKS: Final = 1024
"""Room for so many stacks in which maps failed, and for so many pairs of a device and a stack."""
STACK_DEPTH: Final = 32
"""Functions of a stack that are kept, the innermost: twelve of them are of this program, of swiotlb and of the DMA
layer at most."""
_LEAST_CELLS, _MOST_CELLS = 1 << 13, 1 << 19

_READER: Final = "read_kernel_memory"
_NOTHING: Final[Mapping[tuple[str, How], str]] = MappingProxyType({})
_SYS: Final = Path("/sys")
_RETURN_ADDRESS_BYTES: Final = {"x86_64": 8, "i686": 4}


def load(
    layout: Layout, *, spares: bool, ring_bytes: int = RING_BYTES, prefer: How = How.FENTRY
) -> tuple[Plan, Objects]:
    """Load ``swiotlb_top.c`` for the best plan that this kernel takes, and attach it.

    An attachment that the kernel refuses is not tried again: the next plan places its hook in another way.

    :param spares: whether each fexit program gets a second one, which records the calls that the first is skipped for.
    :param ring_bytes: size of the ring buffer, a power of two times the page size.
    :param prefer: which kind of probe to try first.
    :raises CannotError: bcc or a privilege is missing, or the kernel refuses every plan.
    """
    refused: dict[tuple[str, How], str] = {}
    jit = settings.text("proc/sys/net/core/bpf_jit_enable") != "0"
    while True:
        plan = plan_for(layout, refused=refused, prefer=prefer)
        image = _image(compiler_flags(layout, plan, ring_bytes, spares=spares, jit=jit))
        try:
            return plan, _attached(image, plan, layout, spares=spares)
        except _AttachmentRefusedError as refusal:
            refused[refusal.attachment.hook.name, refusal.attachment.how] = refusal.reason
        except RefusedError as refusal:
            if refusal.not_permitted:
                raise refusals.unexplained() from None
            raise CannotError(f"the BPF program cannot be loaded: {refusal}") from None


def entry_program(attachment: Attachment) -> str:
    """Name of the program at a function's entry."""
    return f"kfunc__{attachment.symbol}" if attachment.how is How.FENTRY else f"{attachment.hook.name}_entered"


def exit_program(attachment: Attachment) -> str:
    """Name of the program at a function's return."""
    return f"kretfunc__{attachment.symbol}" if attachment.how is How.FENTRY else f"{attachment.hook.name}_exited"


def spare_program(attachment: Attachment) -> str:
    """Name of the program that records the calls for which the kernel skips the exit program (``enum teller``)."""
    return f"spare__{attachment.symbol}"


def telling_programs(attachment: Attachment) -> Iterator[str]:
    """Names of the programs without which a call is not recorded.

    An fentry program that is skipped costs only the time at which its call began, and is not among them.
    """
    if attachment.hook.entry_only or (attachment.how is How.KPROBE and not attachment.hook.result_only):
        yield entry_program(attachment)
    if not attachment.hook.entry_only:
        yield exit_program(attachment)


def compiler_flags(
    layout: Layout,
    plan: Plan,
    ring_bytes: int = RING_BYTES,
    *,
    spares: bool,
    jit: bool = True,
    cpus: int | None = None,
) -> tuple[str, ...]:
    """The compiler's flags that make ``swiotlb_top.c`` the program for one kernel and one plan.

    :param jit: whether the kernel compiles BPF programs: interpreted programs cannot call kernel functions.
    :param cpus: the highest possible CPU number, plus one; None: that of this machine.
    """
    cpus = possible_cpus().end if cpus is None else cpus
    defines = {
        **layout.defines(),
        **plan.defines(),
        **(layout.cast_defines() if jit else {}),
        "PAGE_SIZE": os.sysconf("SC_PAGE_SIZE"),
        "RING_PAGES": ring_bytes // os.sysconf("SC_PAGE_SIZE"),
        "CPUS": cpus,
        "DEVICE_BANKS": device_banks(cpus),
        "DEVICE_PLACES": 1 << DEVICE_PLACES_SHIFT,
        "DEVICE_PLACES_SHIFT": DEVICE_PLACES_SHIFT,
        "HEAD_BYTES": HEAD_BYTES,
        "BODY_BYTES": BODY_BYTES,
        "RETURN_ADDRESS_BYTES": _RETURN_ADDRESS_BYTES.get(platform.machine(), 0),
        # What counts for days tells who holds what, and who asked for what failed; of what is recorded, an account is
        # kept.
        **({"SPARES": 1} if spares else _what_is_followed()),
        **({} if spares or layout.keeps_hiwater else {"OWN_HIWATER": 1}),
    }
    return ("-Wno-macro-redefined", *(f"-D{name}={value}" for name, value in defines.items()))


@cache
def _image(flags: tuple[str, ...]) -> Image:
    return compiled(flags, Shelf())


def compiled(flags: tuple[str, ...], shelf: Shelf) -> Image:
    """The program's image: the shelf's, if the same bcc compiled the same sources with the same flags; else a new one.

    :raises CannotError: the shelf does not have it, and it cannot be compiled.
    """
    with bpf_files.directory() as source:
        sources = [path.read_text() for path in sorted(source.rglob("*.[ch]"))]
        ingredients = [platform.machine(), compiler.version(), *sources, *flags]
        return shelf.image(ingredients, lambda: compiler.compiled(source, flags))


class _AttachmentRefusedError(Exception):
    """The kernel refused one attachment; a plan without it may work."""

    def __init__(self, attachment: Attachment, reason: str) -> None:
        super().__init__(f"{attachment}: {reason}")
        self.attachment = attachment
        self.reason = reason


def _attached(image: Image, plan: Plan, layout: Layout, *, spares: bool) -> Objects:
    """Load an image's programs and attach them.

    :raises _AttachmentRefusedError: the kernel refused one attachment.
    :raises RefusedError: the kernel permits none, or refuses the program that reads its memory.
    """
    objects = Objects.of(image)
    try:
        for attachment in plan.probed():
            try:
                _attach(objects, attachment, layout, spares=spares)
            except RefusedError as refusal:
                if refusal.not_permitted:
                    raise
                raise _AttachmentRefusedError(attachment, str(refusal)) from None
        objects.load(_READER, ProgramType.RAW_TRACEPOINT)
    except BaseException:
        objects.close()
        raise
    return objects


def _attach(objects: Objects, attachment: Attachment, layout: Layout, *, spares: bool) -> None:
    hook, symbol = attachment.hook, attachment.symbol
    programs = [] if hook.result_only else [(entry_program(attachment), AttachType.FENTRY)]
    if spares and attachment.has_spare:
        # Before the one that it stands behind: the kernel runs first what was attached last.
        programs.append((spare_program(attachment), AttachType.FEXIT))
    if not hook.entry_only:
        programs.append((exit_program(attachment), AttachType.FEXIT))
    for name, where in programs:
        if attachment.how is How.FENTRY:
            objects.load(name, ProgramType.TRACING, where, layout.btf.function_ids[symbol])
            objects.attach(name)
        else:
            objects.load(name, ProgramType.KPROBE)
            objects.attach_kprobe(name, symbol, at_return=where is AttachType.FEXIT)


def possible_cpus(sys: Path = _SYS) -> Cpus:
    """The CPUs that this kernel may ever have, whether or not they are online."""
    return Cpus.parse((sys / "devices/system/cpu/possible").read_text().strip())


def device_banks(cpus: int) -> int:
    """Into how many banks the table of devices is divided: a power of two, at least one for each CPU, at most 128.

    The table takes 96 KiB of the kernel's memory a bank, and 40 KiB more for its claims: 1 MiB at 8 CPUs, 17 MiB at 128
    and any number above. Reading it takes time by its size, too.

    :param cpus: the highest possible CPU number, plus one.
    """
    return min(1 << (cpus - 1).bit_length(), _MOST_BANKS)


def device_table_bytes(cpus: int) -> int:
    """Size of the table of devices in bytes; ``cpus`` as for :func:`device_banks`."""
    return (device_banks(cpus) << DEVICE_PLACES_SHIFT) * TOTALS_BYTES


def _what_is_followed() -> dict[str, int]:
    return {"HOLDINGS": 1, "MAPPING_CELLS": mapping_cells(), "STACKS": STACKS, "STACK_DEPTH": STACK_DEPTH}


@cache
def mapping_cells() -> int:
    """How many cells there are for mappings, a power of two: as many as a quarter of this machine's memory has slots,
    and at most those of 1 GiB. Their table takes a thousandth of the memory, and at most 4 MiB."""
    slots = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4 // IO_TLB_SIZE
    return min(max(1 << (slots - 1).bit_length(), _LEAST_CELLS), _MOST_CELLS)


def attach_syncs(objects: Objects, plan: Plan, layout: Layout) -> None:
    """Let syncs tell whose a mapping is, as far as the kernel lets them be probed."""
    for attachment in plan.syncs:
        with suppress(RefusedError):
            _attach(objects, attachment, layout, spares=False)


def detach_syncs(objects: Objects, plan: Plan) -> None:
    """Undo :func:`attach_syncs`."""
    for attachment in plan.syncs:
        objects.unload(entry_program(attachment))


def plan_for(
    layout: Layout,
    *,
    refused: Mapping[tuple[str, How], str] = _NOTHING,
    prefer: How = How.FENTRY,
    sys: Path = _SYS,
    release: str | None = None,
) -> Plan:
    """The plan for this kernel: :func:`.plan.make`, with what sysfs and uname say of it.

    CONFIG_KPROBES is seen by its perf event source, an IOMMU and Xen by their directories in sysfs. Kprobes are used
    only where the kernel counts the calls that they miss, which only its release tells.

    :raises CannotError: as :func:`.plan.make`.
    """
    kprobes = (sys / "bus/event_source/devices/kprobe").is_dir()
    return planning.make(
        layout,
        kprobes=kprobes and _counts_missed_kprobes(release or os.uname().release),
        refused=refused,
        prefer=prefer,
        direct_only=not any((sys / "class/iommu").glob("*")) and not (sys / "hypervisor/type").exists(),
    )


def _counts_missed_kprobes(release: str) -> bool:
    """Whether trace_call_bpf() counts the runs it skips (since 6.7)."""
    version = re.match(r"(\d+)\.(\d+)", release)
    return version is not None and (int(version[1]), int(version[2])) >= (6, 7)
