"""The one module that imports bcc: compile and attach, in a child process, and hand over what is in the kernel then.

bcc brings a compiler, some 100 MB of memory; it goes with the child. File descriptors stay.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from swiotlb_top import bpf_files
from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.probes import plan as planning
from swiotlb_top.probes.child import Handed, in_child
from swiotlb_top.probes.objects import Objects
from swiotlb_top.probes.plan import Attachment, How, Plan

RING_BYTES: Final = 16 << 20
HEAD_BYTES: Final = 4096
BODY_BYTES: Final = 61440
DEVICE_PLACES_SHIFT: Final = 9
"""512 places a CPU: 32 KiB, and short probing with a hundred devices."""

_MAPS: Final = ("control", "faults", "growths", "devices", "nests", "records", "window")
_READER: Final = "read_kernel_memory"
_NOTHING: Final[Mapping[tuple[str, How], str]] = MappingProxyType({})
_SYS: Final = Path("/sys")
_RETURN_ADDRESS_BYTES: Final = {"x86_64": 8, "i686": 4}
_DISTRIBUTION_PACKAGES: Final = Path("/usr/lib/python3/dist-packages")


def load(
    layout: Layout, *, spares: bool, ring_bytes: int = RING_BYTES, prefer: How = How.FENTRY
) -> tuple[Plan, Objects]:
    """Load ``swiotlb_top.c`` for the best plan that this kernel takes, and attach it.

    :param spares: whether fexit programs get spares, for records without a gap.
    :raises CannotError: no bcc, no privilege, or a kernel that takes no plan.
    """
    handed = in_child(lambda: _load(layout, ring_bytes, prefer, spares))
    plan, maps, programs, links = handed.result
    files = iter(handed.files)
    taken = [{name: next(files) for name in names} for names in (maps, programs, links)]
    return plan, Objects(*taken)


def entry_program(attachment: Attachment) -> str:
    """Name of the program at a function's entry."""
    return f"kfunc__{attachment.symbol}" if attachment.how is How.FENTRY else f"{attachment.hook.name}_entered"


def exit_program(attachment: Attachment) -> str:
    """Name of the program at a function's return."""
    return f"kretfunc__{attachment.symbol}" if attachment.how is How.FENTRY else f"{attachment.hook.name}_exited"


def spare_program(attachment: Attachment) -> str:
    """Name of the program that tells of the calls its function's exit program is skipped for (``enum teller``)."""
    return f"spare__{attachment.symbol}"


def telling_programs(attachment: Attachment) -> Iterator[str]:
    """Names of the programs that, skipped, leave a call untold; a fentry program skipped leaves its begin unknown."""
    if attachment.hook.entry_only or (attachment.how is How.KPROBE and not attachment.hook.result_only):
        yield entry_program(attachment)
    if not attachment.hook.entry_only:
        yield exit_program(attachment)


def _load(layout: Layout, ring_bytes: int, prefer: How, spares: bool) -> Handed:
    bcc = _import_bcc()
    refused: dict[tuple[str, How], str] = {}
    while True:
        plan = plan_for(layout, refused=refused, prefer=prefer)
        try:
            flags = compiler_flags(layout, plan, bpf_files.directory(), ring_bytes, spares=spares)
            bpf = _attached(bcc, plan, flags, spares=spares)
            break
        except _RefusedError as refusal:
            refused[refusal.attachment.hook.name, refusal.attachment.how] = refusal.reason
    bpf.load_func(_READER.encode(), bcc.BPF.RAW_TRACEPOINT)
    probes = (bpf.kfunc_entry_fds, bpf.kfunc_exit_fds, bpf.spare_fds, *bpf.kprobe_fds.values())
    maps = {name: bpf[name.encode()].map_fd for name in _MAPS}
    programs = {name.decode(): function.fd for name, function in bpf.funcs.items()}
    links = {name.decode(): descriptor for some in probes for name, descriptor in some.items()}
    names = (list(maps), list(programs), list(links))
    return Handed((plan, *names), [*maps.values(), *programs.values(), *links.values()])


def _attached(bcc: Any, plan: Plan, flags: list[str], *, spares: bool) -> Any:
    """Compile for a plan and attach it.

    :raises _RefusedError: the kernel turned one attachment down.
    """
    source = bpf_files.directory()
    os.environ["BCC_KERNEL_SOURCE"] = str(source / "headers")
    with _stderr_of_c() as heard:
        try:
            bpf = _class_for_spares(bcc)(src_file=os.fsencode(source / "swiotlb_top.c"), cflags=flags)
        except Exception as error:
            raise CannotError(_why_not_loaded(heard(), error)) from None
        for attachment in plan.probed():
            try:
                if spares and attachment.has_spare:
                    bpf.attach_spare(spare_program(attachment).encode(), exit_program(attachment).encode())
                _attach(bpf, attachment)
            except Exception as error:
                said = heard()
                bpf.cleanup()
                if "Operation not permitted" in said or "super-user" in str(error):
                    raise CannotError(_why_not_loaded(said, error)) from None
                raise _RefusedError(attachment, _last_line(said) or str(error)) from None
    return bpf


def _attach(bpf: Any, attachment: Attachment) -> None:
    hook, event = attachment.hook, attachment.symbol.encode()
    entry, leave = entry_program(attachment).encode(), exit_program(attachment).encode()
    if attachment.how is How.FENTRY:
        if not hook.result_only:
            bpf.attach_kfunc(fn_name=entry)
        if not hook.entry_only:
            bpf.attach_kretfunc(fn_name=leave)
    else:
        if not hook.result_only:
            bpf.attach_kprobe(event=event, fn_name=entry)
        if not hook.entry_only:
            bpf.attach_kretprobe(event=event, fn_name=leave)


def compiler_flags(
    layout: Layout, plan: Plan, source: Path, ring_bytes: int = RING_BYTES, *, spares: bool
) -> list[str]:
    """What makes ``swiotlb_top.c`` (in ``source``) the program for one kernel and one plan."""
    defines = {
        **layout.defines(),
        **plan.defines(),
        "PAGE_SIZE": os.sysconf("SC_PAGE_SIZE"),
        "RING_PAGES": ring_bytes // os.sysconf("SC_PAGE_SIZE"),
        "CPUS": possible_cpus(),
        "DEVICE_PLACES": 1 << DEVICE_PLACES_SHIFT,
        "DEVICE_PLACES_SHIFT": DEVICE_PLACES_SHIFT,
        "HEAD_BYTES": HEAD_BYTES,
        "BODY_BYTES": BODY_BYTES,
        "RETURN_ADDRESS_BYTES": _RETURN_ADDRESS_BYTES.get(platform.machine(), 0),
        **({"SPARES": 1} if spares else {}),
    }
    return [f"-I{source}", "-Wno-macro-redefined", *(f"-D{name}={value}" for name, value in defines.items())]


class _RefusedError(Exception):
    """The kernel turned an attachment down; another plan may do."""

    def __init__(self, attachment: Attachment, reason: str) -> None:
        super().__init__(f"{attachment}: {reason}")
        self.attachment = attachment
        self.reason = reason


def _import_bcc() -> Any:
    """bcc is the distribution's and not on PyPI: look where it lives if this Python does not see it.

    :raises CannotError: it is not installed.
    """
    try:
        import bcc
    except ImportError:
        sys.path.append(str(_DISTRIBUTION_PACKAGES))
        try:
            import bcc
        except ImportError:
            raise CannotError(
                "Python module bcc is missing: install the distribution's package (Debian: apt install python3-bpfcc)"
            ) from None
        finally:
            sys.path.remove(str(_DISTRIBUTION_PACKAGES))
    return bcc


def possible_cpus() -> int:
    """CPU numbers stay below this, whether or not the CPUs are online: "0-7" is 8."""
    last = Path("/sys/devices/system/cpu/possible").read_text().strip().replace(",", "-").split("-")[-1]
    return int(last) + 1


def plan_for(
    layout: Layout,
    *,
    refused: Mapping[tuple[str, How], str] = _NOTHING,
    prefer: How = How.FENTRY,
    sys: Path = _SYS,
    release: str | None = None,
) -> Plan:
    """The plan for the kernel that runs here: :func:`.plan.make`, told what sysfs and uname know.

    CONFIG_KPROBES shows by the perf event source it brings; an IOMMU in use, and Xen, by their directories.
    A kprobe that misses calls and does not say so is no use: that shows by the release only.
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


def _class_for_spares(bcc: Any) -> Any:
    """BCC attaches whatever is named kfunc__… as it loads; here each attachment is tried by itself.

    And it knows one fexit program a function, because it takes the function from the program's name.
    """

    class WithSpares(bcc.BPF):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            self.spare_fds: dict[bytes, int] = {}
            super().__init__(**options)

        def _trace_autoload(self) -> None:
            pass

        def attach_spare(self, name: bytes, beside: bytes) -> None:
            """Attach a program behind the one that will be attached to the same function's exit."""
            lib, module = bcc.lib, self.module
            code = (lib.bpf_function_start(module, name), lib.bpf_function_size(module, name))
            about = (lib.bpf_module_license(module), lib.bpf_module_kern_version(module))
            program = lib.bcc_func_load(module, self.TRACING, beside, *code, *about, 0, None, 0, None, -1)
            if program < 0:
                raise OSError(f"cannot load {name.decode()}")
            self.funcs[name] = self.Function(self, name, program)
            link = lib.bpf_attach_kfunc(program)
            if link < 0:
                raise OSError(f"cannot attach {name.decode()}")
            self.spare_fds[name] = link

        def cleanup(self) -> None:
            for link in self.spare_fds.values():
                os.close(link)
            self.spare_fds.clear()
            super().cleanup()

    return WithSpares


def _last_line(said: str) -> str:
    # The verifier's statistics come after what it complains of.
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("processed ")]
    return lines[-1] if lines else ""


def _why_not_loaded(said: str, error: Exception) -> str:
    """One line out of what BCC and libbpf print to stderr."""
    if "not permitted" in said or "super-user" in str(error):
        return "the kernel refuses BPF programs even to root (a container, a sandbox, or lockdown)"
    lines = [line for line in said.splitlines() if "error" in line.lower()] or said.splitlines() or [str(error)]
    return f"the BPF program cannot be loaded: {lines[0].strip()}"


@contextmanager
def _stderr_of_c() -> Iterator[Any]:
    """Keep what C libraries write to stderr; the caller gets a function that returns it so far."""
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        real = os.dup(2)
        os.dup2(kept.fileno(), 2)

        def heard() -> str:
            kept.seek(0)
            return kept.read().decode(errors="replace")

        try:
            yield heard
        finally:
            os.dup2(real, 2)
            os.close(real)
