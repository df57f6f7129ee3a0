"""From a plan to probes that are attached."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import refusals, settings
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.probes.attach.libbpf import AttachType, ProgramType, RefusedError
from swiotlb_top.probes.attach.objects import Objects
from swiotlb_top.probes.compile import plan as planning
from swiotlb_top.probes.compile.flags import RING_BYTES, compiler_flags, mapping_cells
from swiotlb_top.probes.compile.image import Image
from swiotlb_top.probes.compile.images import COMPILED, Images
from swiotlb_top.probes.compile.plan import Attachment, Plan
from swiotlb_top.state import How

_READER: Final = "read_kernel_memory"
_NOTHING: Final[Mapping[tuple[str, How], str]] = MappingProxyType({})
_SYS: Final = Path("/sys")


def load(
    layout: Layout,
    *,
    spares: bool,
    ring_bytes: int = RING_BYTES,
    prefer: How = How.FENTRY,
    images: Images = COMPILED,
) -> tuple[Plan, Objects]:
    """Load ``swiotlb_top.c`` for the best plan that this kernel takes, and attach it.

    An attachment that the kernel refuses is not tried again: the next plan places its hook in another way.

    :param spares: whether each fexit program gets a second one, which records the calls that the first is skipped for.
    :param ring_bytes: size of the ring buffer, a power of two times the page size.
    :param prefer: which kind of probe to try first.
    :param images: what has the program compiled.
    :raises CannotError: an image or a privilege is missing, or the kernel refuses every plan.
    :raises UnreadableError: as :meth:`.Images.image`.
    """
    refused: dict[tuple[str, How], str] = {}
    jit = settings.text("proc/sys/net/core/bpf_jit_enable") != "0"
    while True:
        plan = plan_for(layout, refused=refused, prefer=prefer)
        flags = compiler_flags(layout, plan, ring_bytes, spares=spares, jit=jit)
        image = _image(images, layout, flags, refused)
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


def _image(images: Images, layout: Layout, flags: tuple[str, ...], refused: Mapping[tuple[str, How], str]) -> Image:
    """The image for a plan.

    :raises CannotError: there is none. If it is not the best plan, the message says what the kernel refused of that.
    """
    try:
        return images.image(layout, flags)
    except CannotError as error:
        if not refused:
            raise
        (hook, how), why = list(refused.items())[-1]
        raise CannotError(f"the kernel refuses {how.value} for {hook} ({why}), and without that {error}") from None


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
    objects = Objects.of(image.sized("mappings", mapping_cells()))
    try:
        if not spares:
            objects.update("mapping_mask", mapping_cells() - 1)
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
