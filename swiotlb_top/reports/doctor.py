"""Can this machine be watched, how, and what is missing?

What is read of the machine is a :class:`Facts`; each check is a function of it, and the report is their answers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from swiotlb_top.accounting import logged, numbers
from swiotlb_top.allocator import check_slot_sets, choose, tried
from swiotlb_top.allocator.machines import check_machine
from swiotlb_top.constants import IO_TLB_SIZE
from swiotlb_top.errors import CannotError, SwiotlbTopError
from swiotlb_top.kernel import around, debugfs, layout, settings
from swiotlb_top.kernel.around import Present
from swiotlb_top.kernel.debugfs import Counters
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.kernel.no_pool import NoPoolError
from swiotlb_top.kernel.privileges import missing_capabilities
from swiotlb_top.kernel.settings import Build
from swiotlb_top.kernel_log.watch import KernelLog, read_once
from swiotlb_top.probes.attach.loader import plan_for
from swiotlb_top.probes.compile.flags import RING_BYTES
from swiotlb_top.probes.compile.images import COMPILED, Images
from swiotlb_top.probes.compile.plan import Plan
from swiotlb_top.records import RECORD_BYTES
from swiotlb_top.reports.devices import DeviceReport
from swiotlb_top.reports.doctor_report import Check, DoctorReport
from swiotlb_top.state import HookPlace, MemState

_MEBIBYTE: Final = 1 << 20
_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Attached:
    """The probes, as they were attached for a moment, and the state they read."""

    plan: Plan
    state: MemState


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read of a machine. A text is empty if the kernel has no such file; an error says why it was not read."""

    release: str
    version: str
    machine: str
    page_size_bytes: int
    byte_order: str
    build: Build | None
    command_line: str
    lockdown: str
    securityfs: bool
    """Whether it is mounted: only then does a missing file mean that there is no lockdown."""
    kptr_restrict: str
    ftrace_enabled: str
    kprobes: bool
    missing_capabilities: tuple[str, ...]
    layout: Layout | SwiotlbTopError
    counters: Counters | SwiotlbTopError
    attached: Attached | SwiotlbTopError
    planned: Plan | SwiotlbTopError
    log: KernelLog
    devices: tuple[Present, ...] = ()
    """Those that people know by a name."""

    @property
    def state(self) -> MemState | None:
        return self.attached.state if isinstance(self.attached, Attached) else None

    @property
    def features(self) -> tuple[str, ...]:
        return self.layout.features if isinstance(self.layout, Layout) else ()


def examine(images: Images = COMPILED) -> DoctorReport:
    """Look at this machine; attaches the probes for a moment, to see where they go.

    :param images: what has the program compiled.
    """
    return judge(gather(images=images))


def judge(facts: Facts) -> DoctorReport:
    """The report that follows from the facts."""
    refusal = facts.attached if isinstance(facts.attached, SwiotlbTopError) else None
    there = () if _nslabs(facts) == 0 else facts.devices
    devices = tuple(DeviceReport.of_present(device, _forced(facts)) for device in there)
    return DoctorReport(tuple(check(facts) for check in _CHECKS), _hooks(facts), refusal, devices)


def _forced(facts: Facts) -> bool | None:
    return facts.state.force_bounce == 1 if facts.state and facts.state.force_bounce >= 0 else None


def gather(root: Path = settings.ROOT, images: Images = COMPILED) -> Facts:
    """Read the facts of this machine. ``root`` has proc/, sys/ and boot/; the probes are those of this kernel."""
    uname = os.uname()
    return Facts(
        release=uname.release,
        version=uname.version,
        machine=uname.machine,
        page_size_bytes=os.sysconf("SC_PAGE_SIZE"),
        byte_order=sys.byteorder,
        build=settings.build(uname.release, root),
        command_line=settings.text("proc/cmdline", root),
        lockdown=settings.text("sys/kernel/security/lockdown", root),
        securityfs=settings.shows_anything(root / "sys/kernel/security"),
        kptr_restrict=settings.text("proc/sys/kernel/kptr_restrict", root),
        ftrace_enabled=settings.text("proc/sys/kernel/ftrace_enabled", root),
        kprobes=(root / "sys/bus/event_source/devices/kprobe").is_dir(),
        missing_capabilities=missing_capabilities(),
        layout=_or_why(layout.load),
        counters=_or_why(lambda: debugfs.read_default(root / "sys/kernel/debug", root)),
        attached=_or_why(lambda: _attach(images)),
        planned=_or_why(lambda: plan_for(layout.load())),
        log=read_once(),
        devices=tuple(around.present(around.of_machine(uname.release, uname.machine, _features(), root), root)),
    )


def _features() -> tuple[str, ...]:
    found = _or_why(layout.load)
    return found.features if isinstance(found, Layout) else ()


def _or_why(read: Callable[[], _Read]) -> _Read | SwiotlbTopError:
    try:
        return read()
    except SwiotlbTopError as error:
        return error


def _attach(images: Images) -> Attached:
    from swiotlb_top.probes.session import Session

    with Session(images=images) as session:
        return Attached(session.program.plan, session.settle()[0])


def _kernel(facts: Facts) -> Check:
    told = f"{facts.release} ({facts.machine})"
    try:
        check_machine(facts.machine, facts.page_size_bytes, facts.byte_order)
        choice = choose(facts.features, facts.release, facts.version)
        if facts.state:
            check_slot_sets(facts.state)
    except CannotError as refusal:
        return Check("kernel", False, f"{told}: operations are counted and not judged: {refusal}", needed=False)
    if not facts.features or not choice.note:
        return Check("kernel", True, told)
    return Check("kernel", choice.is_known, f"{told}: {choice.note}", needed=False)


def _revision(facts: Facts) -> Check:
    """Which revision it has, why, and how sure that is."""
    name = "revision"
    try:
        choice = choose(facts.features, facts.release, facts.version)
    except CannotError as refusal:
        return Check(name, False, f"not known: {refusal}", needed=False)
    if not facts.features:
        return Check(name, False, "not known: what is in this kernel cannot be read", needed=False)
    names = " or ".join(candidate.revision.name for candidate in choice.candidates) or "unknown"
    shown = sum(reason.is_shown for reason in choice.reasons)
    why = f"{shown} of {len(choice.reasons)} differences are shown by what is in it, the others follow from its release"
    is_sure = choice.is_known and len(choice.candidates) == 1
    return Check(
        name,
        is_sure,
        f"{names}: {why}; {tried(choice.revision).value} (swiotlb-top revisions has each)",
        needed=False,
    )


def _config(facts: Facts) -> Check:
    name = "kernel config"
    if facts.build is None:
        return Check(name, True, f"not known: neither /proc/config.gz nor /boot/config-{facts.release} can be read")
    wanted = settings.WANTED.items()
    missing = [f"CONFIG_{option} ({lost})" for option, lost in wanted if option not in facts.build.options]
    if missing:
        # A file in /boot may be another build's: what was tried decides.
        return Check(name, False, f"{facts.build.source} is without {', '.join(missing)}", needed=False)
    dynamic = "with" if "SWIOTLB_DYNAMIC" in facts.build.options else "without"
    return Check(name, True, f"{facts.build.source}: all that is needed, {dynamic} CONFIG_SWIOTLB_DYNAMIC")


def _types(facts: Facts) -> Check:
    name = "swiotlb types (BTF) and symbols"
    if not isinstance(facts.layout, Layout):
        return Check(name, False, str(facts.layout))
    addresses = facts.layout.symbols.addresses
    if not any(addresses.values()):
        return Check(name, False, "the types are there, and the addresses are not shown")
    if not facts.layout.symbols.exact("io_tlb_default_mem"):
        return Check(name, False, "kallsyms does not list io_tlb_default_mem: built without CONFIG_KALLSYMS_ALL")
    words = facts.features if facts.layout.dynamic else ("static pool", *facts.features)
    return Check(name, True, ", ".join(words))


def _capabilities(facts: Facts) -> Check:
    if facts.missing_capabilities:
        missing = ", ".join(facts.missing_capabilities)
        return Check("capabilities", False, f"without {missing}")
    return Check("capabilities", True, "all that is needed")


def _pointers(facts: Facts) -> Check:
    """Mirrors ``kallsyms_show_value()``: 2 hides from everyone, 1 from those without CAP_SYSLOG."""
    value = facts.kptr_restrict or "not known"
    if isinstance(facts.layout, Layout) and not any(facts.layout.symbols.addresses.values()):
        why = "" if value == "2" else " (CAP_SYSLOG is missing)"
        return Check("kptr_restrict", False, f"{value}, and the kernel's addresses are hidden{why}")
    return Check("kptr_restrict", True, value)


def _lockdown(facts: Facts) -> Check:
    level = settings.lockdown_level(facts.lockdown)
    if level == "confidentiality":
        return Check("lockdown", False, f"{level}: BPF may not read the kernel: boot with lockdown=integrity or none")
    if level:
        return Check("lockdown", True, level)
    if not facts.securityfs:
        found = "unknown: /sys/kernel/security shows nothing (securityfs is not mounted)"
        if isinstance(facts.attached, Attached):
            return Check("lockdown", True, f"{found}; the probes may read the kernel all the same")
        return Check("lockdown", False, found, needed=False)
    return Check("lockdown", True, "none: this kernel has no lockdown")


def _tracing(facts: Facts) -> Check:
    if facts.ftrace_enabled == "0":
        return Check("tracing", False, "fentry attaches, and sees nothing: sysctl kernel.ftrace_enabled=1")
    if not facts.kprobes:
        return Check("tracing", False, "no kprobes (CONFIG_KPROBES): where fentry cannot go nothing can", needed=False)
    return Check("tracing", True, "fentry is not switched off, kprobes are there")


def _debugfs(facts: Facts) -> Check:
    if isinstance(facts.counters, Counters):
        return Check("debugfs", True, f"io_tlb_nslabs {facts.counters.nslabs}", needed=False)
    return Check("debugfs", False, str(facts.counters), needed=False)


def _swiotlb(facts: Facts) -> Check:
    words = settings.boot_words(facts.command_line)
    said = f"swiotlb={','.join(words)}" if words else "no swiotlb= at boot"
    nslabs = _nslabs(facts)
    if nslabs == 0 or (nslabs is None and "noforce" in words):
        return Check("swiotlb", False, f"{said}: no memory is set aside")
    told = [said, "every mapping bounces" if "force" in words else "what cannot be reached bounces", _size(nslabs)]
    if facts.state is not None and facts.state.default_nareas:
        told.append(numbers.counted(facts.state.default_nareas, "area"))
    if isinstance(facts.layout, Layout):
        told.append("dynamic" if facts.layout.dynamic else "static")
    return Check("swiotlb", True, ", ".join(told))


def _nslabs(facts: Facts) -> int | None:
    if facts.state is not None:
        return facts.state.nslabs
    if isinstance(facts.attached, NoPoolError) or isinstance(facts.counters, NoPoolError):
        return 0
    return facts.counters.nslabs if isinstance(facts.counters, Counters) else None


def _size(nslabs: int | None) -> str:
    return "size not known" if nslabs is None else f"{nslabs} slots ({nslabs * IO_TLB_SIZE / _MEBIBYTE:g} MiB)"


def _high_water(facts: Facts) -> Check:
    """``track_hiwater`` is asked for at boot by 7.3, whose allocators have ``cc_shared``; before, it is always kept."""
    name, features = "high water", facts.features
    kept = "total_used" in features if facts.state is None else facts.state.used_hiwater >= 0
    if not features:
        return Check(name, False, "not known: needs swiotlb's types", needed=False)
    if _nslabs(facts) == 0:
        return Check(name, False, "none is kept: swiotlb has no memory", needed=False)
    if "total_used" not in features:
        return Check(
            name, False, "not kept (before 6.4, or no CONFIG_DEBUG_FS); the live source keeps its own", needed=False
        )
    asked = "track_hiwater" in settings.boot_words(facts.command_line)
    if not kept or ("cc_shared" in features and not asked):
        return Check(
            name,
            False,
            "off: the live source keeps its own; boot with swiotlb=...,track_hiwater to have the kernel's",
            needed=False,
        )
    return Check(name, True, "kept by the kernel since boot", needed=False)


def _kernel_log(facts: Facts) -> Check:
    return Check("kernel log", facts.log.is_calm, logged.in_a_line(facts.log), needed=False)


def _ring(facts: Facts) -> Check:
    records = RING_BYTES // RECORD_BYTES
    return Check("ring buffer", True, f"{RING_BYTES // _MEBIBYTE} MiB for a recording: {records:,} records")


def _probes(facts: Facts) -> Check:
    if isinstance(facts.attached, SwiotlbTopError):
        return Check("probes", False, str(facts.attached))
    state = facts.attached.state
    return Check(
        "probes",
        True,
        f"attached and detached again; {numbers.counted(len(state.pools), 'pool')} read, {state.nslabs} slots",
    )


def _plan(facts: Facts) -> Check:
    plan = _plan_of(facts)
    if isinstance(plan, SwiotlbTopError):
        known = isinstance(facts.layout, Layout)
        return Check("plan", False, str(plan) if known else "none can be made: swiotlb's types are not known")
    lost = plan.lost()
    tense = "is" if isinstance(facts.attached, Attached) else "would be"
    found = f"something {tense} lost by {', '.join(lost)}" if lost else f"nothing {tense} lost"
    return Check("plan", not lost, found, needed=False)


_CHECKS: Final[tuple[Callable[[Facts], Check], ...]] = (
    _kernel,
    _revision,
    _config,
    _types,
    _capabilities,
    _pointers,
    _lockdown,
    _tracing,
    _debugfs,
    _swiotlb,
    _high_water,
    _kernel_log,
    _ring,
    _probes,
    _plan,
)


def _plan_of(facts: Facts) -> Plan | SwiotlbTopError:
    return facts.attached.plan if isinstance(facts.attached, Attached) else facts.planned


def _hooks(facts: Facts) -> tuple[tuple[str, str], ...]:
    """Each hook, where it is or would be, and what is lost by that."""
    plan = _plan_of(facts)
    if isinstance(plan, SwiotlbTopError):
        return ()
    lost = plan.lost()
    would = "" if isinstance(facts.attached, Attached) else "planned: "
    return tuple((place.name, f"{would}{_said(place, lost.get(place.name, ''))}") for place in plan.places())


def _said(place: HookPlace, lost: str) -> str:
    # Where it is absent, its place says so already.
    return f"{place}; {lost}" if lost and place.seen else str(place)
