"""The one module that imports bcc: compile, attach, read maps, detach."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from swiotlb_top import bpf_files
from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.probes import plan as planning
from swiotlb_top.probes.plan import Attachment, How, Plan
from swiotlb_top.probes.ring import Ring

RING_BYTES: Final = 16 << 20
HEAD_BYTES: Final = 4096
BODY_BYTES: Final = 61440

_DEVICE_PLACES_SHIFT: Final = 9
"""512 places a CPU: 32 KiB, and short probing with a hundred devices."""
_TOTALS_U64: Final = 8
_FIRST_COUNT_U64: Final = 2
"""``struct totals`` in words: dev and driver, then the counters of :class:`Totals` in its order."""
_RETURN_ADDRESS_BYTES: Final = {"x86_64": 8, "i686": 4}
_RECURSION_MISSES_AT: Final = 208  # offsetof(struct bpf_prog_info, recursion_misses), 9ed9e9ba2337 (5.12)
_DISTRIBUTION_PACKAGES: Final = Path("/usr/lib/python3/dist-packages")


class Mode(IntEnum):
    """``enum mode`` of bpf/swiotlb_top.c."""

    STOP = 0
    """As it is loaded: neither counts nor records, so that both begin together."""
    COUNT = 1
    RECORD = 2
    """Count, and write a record a call."""


@dataclass(frozen=True, slots=True)
class Totals:
    """A device's counters since the program was loaded (``struct totals``, summed over CPUs)."""

    maps: int = 0
    map_failures: int = 0
    unmaps: int = 0
    mapped_bytes: int = 0
    unmapped_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Faults:
    """What the kernel side knows it could not tell."""

    lost_records: int = 0
    """Records that found the ring buffer full."""
    uncounted_calls: int = 0
    """Calls of devices beyond the table's room."""
    lost_calls: int = 0
    """kprobe entries that could not be remembered."""
    missed_runs: int = 0
    """Calls in an interrupt that hit while the same program ran (the kernel skips those)."""

    @property
    def lost_events(self) -> int:
        return self.lost_records + self.lost_calls + self.missed_runs


class _TestRunOpts(ctypes.Structure):
    """``struct bpf_test_run_opts`` of libbpf."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_void_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


@dataclass(frozen=True, slots=True)
class Window:
    """Kernel memory as one run of ``read_kernel_memory`` copied it, between two times."""

    begin_ns: int
    end_ns: int
    head: bytes
    body: bytes


class Program:
    """The loaded and attached BPF program. Close it, and nothing is left in the kernel.

    :param mode: what to do from the start.
    :raises CannotError: no bcc, no privilege, or a kernel that takes no plan.
    """

    def __init__(
        self, layout: Layout, *, mode: Mode = Mode.RECORD, ring_bytes: int = RING_BYTES, prefer: How = How.FENTRY
    ) -> None:
        self._bcc = _import_bcc()
        self._ring_bytes = ring_bytes
        refused: dict[tuple[str, How], str] = {}
        while True:
            self.plan = planning.make(layout, kprobes=kernel_has_kprobes(), refused=refused, prefer=prefer)
            try:
                self._load(layout)
                break
            except _RefusedError as refusal:
                refused[refusal.attachment.hook.name, refusal.attachment.how] = refusal.reason
        self.ring = Ring(self._bpf["records"].map_fd, ring_bytes)
        devices_bytes = (_possible_cpus() << _DEVICE_PLACES_SHIFT) * _TOTALS_U64 * 8
        self._devices_map = mmap.mmap(self._bpf["devices"].map_fd, devices_bytes, mmap.MAP_SHARED, mmap.PROT_READ)
        self._devices = memoryview(self._devices_map).cast("Q")
        self._reader = self._bpf.load_func(b"read_kernel_memory", self._bcc.BPF.RAW_TRACEPOINT)
        self.set_mode(mode)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Detach everything and free every map. Safe to call twice."""
        if self._bpf is not None:
            self.ring.close()
            self._devices.release()
            self._devices_map.close()
            self._unload()

    def set_mode(self, mode: Mode) -> None:
        """What the probes do from now on.

        Entries are probed only while recording: counting does without them, and costs half.
        """
        if mode is Mode.RECORD:
            self._probe_entries()
        self._set_control(mode)
        if mode is Mode.COUNT:
            self._leave_entries()

    def _probe_entries(self) -> None:
        while self._entries_off:
            self._bpf.attach_kfunc(fn_name=self._entries_off.pop())

    def _leave_entries(self) -> None:
        for attachment in self.plan.probed():
            if attachment.remembers_entry and attachment.how is How.FENTRY:
                name = f"kfunc__{attachment.symbol}".encode()
                if name not in self._entries_off:
                    self._bpf.detach_kfunc(fn_name=name)
                    self._entries_off.append(name)

    def _set_control(self, mode: Mode) -> None:
        self._bpf["control"][ctypes.c_int(0)] = ctypes.c_uint64(mode)

    def totals(self) -> dict[int, Totals]:
        """Every device's counters, by ``struct device *``."""
        words = self._devices
        summed: dict[int, list[int]] = {}
        for place, dev in enumerate(words[::_TOTALS_U64].tolist()):
            if dev:
                at = place * _TOTALS_U64 + _FIRST_COUNT_U64
                counts = words[at : at + len(Totals.__slots__)].tolist()
                before = summed.get(dev)
                summed[dev] = [a + b for a, b in zip(before, counts, strict=True)] if before else counts
        return {dev: Totals(*counts) for dev, counts in summed.items()}

    def growths(self) -> int:
        """How often ``swiotlb_dyn_alloc()`` ran."""
        return int(sum(self._bpf["growths"][0]))

    def faults(self) -> Faults:
        """What was lost so far."""
        per_cpu = self._bpf["faults"][0]
        lost, uncounted, calls = (
            sum(getattr(cpu, name) for cpu in per_cpu) for name in ("lost_records", "uncounted_calls", "lost_calls")
        )
        return Faults(lost, uncounted, calls, sum(self._missed(fd) for fd in self._fds))

    def read(self, head: int, head_bytes: int, body: int = 0, body_bytes: int = 0) -> Window | None:
        """Copy kernel memory: up to 4 KiB at ``head`` and up to 60 KiB at ``body``, in one run.

        Returns None where an address cannot be read.
        """
        arguments = (ctypes.c_uint64 * 4)(head, head_bytes, body, body_bytes)
        opts = _TestRunOpts(sz=ctypes.sizeof(_TestRunOpts))
        opts.ctx_in = ctypes.addressof(arguments)
        opts.ctx_size_in = ctypes.sizeof(arguments)
        status = self._bcc.libbcc.lib.bpf_prog_test_run_opts(self._reader.fd, ctypes.byref(opts))
        if status:
            raise CannotError(f"the kernel refuses to run a BPF program for reading its memory (error {status})")
        window = self._bpf["window"][0]
        if window.error:
            return None
        return Window(
            window.begin_ns,
            window.end_ns,
            bytes(memoryview(window.head)[:head_bytes]),
            bytes(memoryview(window.body)[:body_bytes]),
        )

    def _load(self, layout: Layout) -> None:
        """Compile for the present plan and attach it.

        :raises _RefusedError: the kernel turned one attachment down.
        """
        source = bpf_files.directory()
        os.environ["BCC_KERNEL_SOURCE"] = str(source / "headers")
        self._fds: list[int] = []
        self._entries_off: list[bytes] = []
        said = ""
        with _stderr_of_c() as heard:
            try:
                self._bpf = _class_without_autoload(self._bcc)(
                    src_file=os.fsencode(source / "swiotlb_top.c"),
                    cflags=compiler_flags(layout, self.plan, source, self._ring_bytes),
                )
            except Exception as error:
                said = heard()
                raise CannotError(_why_not_loaded(said, error)) from None
            for attachment in self.plan.probed():
                try:
                    self._attach(attachment)
                except Exception as error:
                    said = heard()
                    self._unload()
                    if "Operation not permitted" in said or "super-user" in str(error):
                        raise CannotError(_why_not_loaded(said, error)) from None
                    raise _RefusedError(attachment, _last_line(said) or str(error)) from None

    def _attach(self, attachment: Attachment) -> None:
        bpf, hook = self._bpf, attachment.hook
        if attachment.how is How.FENTRY:
            if not hook.result_only:
                bpf.attach_kfunc(fn_name=f"kfunc__{attachment.symbol}".encode())
            if not hook.entry_only:
                bpf.attach_kretfunc(fn_name=f"kretfunc__{attachment.symbol}".encode())
        else:
            if not hook.result_only:
                bpf.attach_kprobe(event=attachment.symbol.encode(), fn_name=f"{hook.name}_entered".encode())
            if not hook.entry_only:
                bpf.attach_kretprobe(event=attachment.symbol.encode(), fn_name=f"{hook.name}_exited".encode())
        self._fds = [function.fd for function in bpf.funcs.values()]

    def _missed(self, fd: int) -> int:
        info = (ctypes.c_ubyte * 256)()
        length = ctypes.c_uint32(ctypes.sizeof(info))
        if self._bcc.libbcc.lib.bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(length)):
            return 0
        return int.from_bytes(bytes(info[_RECURSION_MISSES_AT : _RECURSION_MISSES_AT + 8]), "little")

    def _unload(self) -> None:
        self._bpf.cleanup()
        self._bpf = None


def compiler_flags(layout: Layout, plan: Plan, source: Path, ring_bytes: int = RING_BYTES) -> list[str]:
    """What makes ``swiotlb_top.c`` (in ``source``) the program for one kernel and one plan."""
    defines = {
        **layout.defines(),
        **plan.defines(),
        "PAGE_SIZE": os.sysconf("SC_PAGE_SIZE"),
        "RING_PAGES": ring_bytes // os.sysconf("SC_PAGE_SIZE"),
        "CPUS": _possible_cpus(),
        "DEVICE_PLACES": 1 << _DEVICE_PLACES_SHIFT,
        "DEVICE_PLACES_SHIFT": _DEVICE_PLACES_SHIFT,
        "HEAD_BYTES": HEAD_BYTES,
        "BODY_BYTES": BODY_BYTES,
        "RETURN_ADDRESS_BYTES": _RETURN_ADDRESS_BYTES.get(platform.machine(), 0),
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


def _possible_cpus() -> int:
    """CPU numbers stay below this, whether or not the CPUs are online: "0-7" is 8."""
    last = Path("/sys/devices/system/cpu/possible").read_text().strip().replace(",", "-").split("-")[-1]
    return int(last) + 1


def kernel_has_kprobes() -> bool:
    """CONFIG_KPROBES, by the perf event source it brings."""
    return Path("/sys/bus/event_source/devices/kprobe").is_dir()


def _class_without_autoload(bcc: Any) -> Any:
    """BCC attaches whatever is named kfunc__… as it loads; here each attachment is tried by itself."""

    class Quiet(bcc.BPF):  # type: ignore[misc]
        def _trace_autoload(self) -> None:
            pass

    return Quiet


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
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
