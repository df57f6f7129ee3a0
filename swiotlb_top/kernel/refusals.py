"""Why this machine cannot be probed: the reason that matters most, and what to do about it.

Several reasons may hold at once: a user who is not root does not see the kernel's addresses either. They are in one
table, in the order in which they are checked: first those that nobody can change here, then each before those that it
causes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import layout, settings, types_file
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.kernel.no_pool import NoPool, NoPoolError
from swiotlb_top.kernel.privileges import missing_capabilities

_EVERY_USER: Final = "4294967295"
_CONTAINER_MARKS: Final = (".dockerenv", "run/.containerenv")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What decides whether this process can probe this kernel. A text is empty if it cannot be read."""

    command_line: str = ""
    lockdown: str = ""
    kptr_restrict: str = ""
    ftrace_enabled: str = ""
    is_root: bool = True
    in_container: bool = False
    missing_capabilities: tuple[str, ...] = ()
    has_btf: bool = True
    has_symbols: bool = True
    """kallsyms lists functions of swiotlb."""
    has_swiotlb: bool = True
    """Its structures are among the kernel's types."""
    hides_addresses: bool = False
    """kallsyms gives 0 for each."""
    lists_variables: bool = True
    """kallsyms lists ``io_tlb_default_mem``, and not functions only."""


def here(root: Path = settings.ROOT, load: Callable[[], Layout] | None = None) -> Circumstances:
    """The circumstances of this process.

    :param root: the directory that has proc/ and sys/.
    :param load: reads the kernel's layout; None: :func:`.layout.load`, which reads this kernel's.
    """
    try:
        found = (load or layout.load)()
        known, addresses = True, found.symbols.addresses
    except CannotError as refusal:
        known, addresses = not isinstance(refusal, layout.NoSwiotlbError), {}
        found = None
    return Circumstances(
        command_line=settings.text("proc/cmdline", root),
        lockdown=settings.lockdown_level(settings.text("sys/kernel/security/lockdown", root)),
        kptr_restrict=settings.text("proc/sys/kernel/kptr_restrict", root),
        ftrace_enabled=settings.text("proc/sys/kernel/ftrace_enabled", root),
        is_root=os.geteuid() == 0,
        in_container=_in_container(root),
        missing_capabilities=missing_capabilities(),
        has_btf=types_file.find(os.uname().release, root) is not None,
        has_symbols=found is None or bool(addresses),
        has_swiotlb=known,
        hides_addresses=found is not None and found.symbols.hidden,
        lists_variables=not addresses or "io_tlb_default_mem" in addresses,
    )


def _in_container(root: Path) -> bool:
    """Whether this process runs in a container, as far as it can see: by marker files, or by its user namespace."""
    users = settings.text("proc/self/uid_map", root).split()
    return any((root / mark).exists() for mark in _CONTAINER_MARKS) or (bool(users) and users[-1] != _EVERY_USER)


def refuse(circumstances: Circumstances) -> None:
    """Return if these circumstances allow probing.

    :raises CannotError: they do not; the error is that of the first reason in :data:`REASONS` that holds.
    """
    for reason in REASONS:
        if reason.holds(circumstances):
            raise reason.error(circumstances)


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: when it holds, what it is, and what to do next."""

    name: str
    holds: Callable[[Circumstances], bool]
    because: Callable[[Circumstances], str]
    next_step: Callable[[Circumstances], str]

    def error(self, circumstances: Circumstances) -> CannotError:
        """The error that says why, and what to do."""
        return CannotError(self.because(circumstances), self.next_step(circumstances))


class _NoPool(Reason):
    """swiotlb has no memory: its own kind of refusal, after which no other source is tried."""

    def error(self, circumstances: Circumstances) -> CannotError:
        return NoPoolError(NoPool.NOFORCE)


def _said(words: str) -> Callable[[Circumstances], str]:
    return lambda circumstances: words


def _lacking(circumstances: Circumstances) -> str:
    names = circumstances.missing_capabilities
    return f"probes need {' and '.join(names)}, which {'root' if circumstances.is_root else 'this user'} has not here"


def _with_privileges(circumstances: Circumstances) -> str:
    if not circumstances.is_root:
        return "run it as root (sudo swiotlb-top), or with CAP_BPF, CAP_PERFMON and CAP_SYSLOG"
    return "run it as root on the host, outside any container or sandbox, or have them given to it there"


def _on_the_host(otherwise: str) -> Callable[[Circumstances], str]:
    """The step if a file is missing: in a container, to look from the host, which may have it; else ``otherwise``."""
    return lambda now: "look from the host, outside this container" if now.in_container else otherwise


def _hidden(circumstances: Circumstances) -> str:
    if circumstances.kptr_restrict == "2":
        return "the kernel's addresses are hidden from everybody (kernel.kptr_restrict is 2)"
    return "the kernel's addresses are hidden, since CAP_SYSLOG is missing"


def _unhide(circumstances: Circumstances) -> str:
    if circumstances.kptr_restrict == "2":
        return "sysctl kernel.kptr_restrict=1 shows them to root"
    return "run it as root on the host, or with CAP_SYSLOG beside CAP_BPF and CAP_PERFMON"


REASONS: Final = (
    _NoPool(
        "noforce",
        lambda now: "noforce" in settings.boot_words(now.command_line),
        _said(NoPool.NOFORCE.value),
        _said(NoPool.NOFORCE.next_step),
    ),
    Reason(
        "built out",
        lambda now: not now.has_swiotlb,
        _said("this kernel is built without swiotlb (CONFIG_SWIOTLB)"),
        _said("there is nothing to watch"),
    ),
    Reason(
        "no BTF",
        lambda now: not now.has_btf,
        _said("this kernel does not describe its types (BTF, in /sys/kernel/btf/vmlinux)"),
        _on_the_host(
            "use a kernel that is built with CONFIG_DEBUG_INFO_BTF=y; or put the vmlinux of this very build, with BTF, "
            f"into /boot; or name a file with its BTF: {types_file.BY_NAME}=FILE"
        ),
    ),
    Reason(
        "lockdown",
        lambda now: now.lockdown == "confidentiality",
        _said("the kernel is locked down (confidentiality), and lets no program read its memory"),
        _said("boot with lockdown=integrity or without lockdown"),
    ),
    Reason("capabilities", lambda now: bool(now.missing_capabilities), _lacking, _with_privileges),
    Reason(
        "no symbols",
        lambda now: not now.has_symbols,
        _said("/proc/kallsyms names none of swiotlb's functions"),
        _on_the_host("see that /proc/kallsyms is the kernel's own and not covered by another file"),
    ),
    Reason("hidden addresses", lambda now: now.hides_addresses, _hidden, _unhide),
    Reason(
        "no variables",
        lambda now: not now.lists_variables,
        _said("kallsyms does not list the allocator (io_tlb_default_mem)"),
        _said("use a kernel that is built with CONFIG_KALLSYMS_ALL=y, as those of distributions are"),
    ),
    Reason(
        "ftrace off",
        lambda now: now.ftrace_enabled == "0",
        _said("probes would see nothing while ftrace is off"),
        _said("sysctl kernel.ftrace_enabled=1 turns it on"),
    ),
)
"""Every reason that can be known before probes are attached, in the order in which they are looked at."""


def unexplained() -> CannotError:
    """The error for a kernel that does not permit probing although no reason in :data:`REASONS` holds."""
    return CannotError(
        "the kernel does not permit programs that trace it (fentry, kprobes), although no capability is missing",
        "look for a sandbox, a container's system call filter or a security module, and run it outside of that",
    )
