"""bpf(2), through libbpf, and perf_event_open(2) for kprobes.

None of it needs bcc.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import struct
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from swiotlb_top.kernel.libbpf import library
from swiotlb_top.probes.compile.image import MapSpec

_LICENSE: Final = b"GPL"
_NAME_BYTES: Final = 15
"""BPF_OBJ_NAME_LEN, without its end"""
_LOG_BYTES: Final = 1 << 20
_RUN_TIME_NS_AT: Final = 192  # offsetof(struct bpf_prog_info, run_time_ns), 5f8f8b93aeb8 (5.1)
_RUN_CNT_AT: Final = 200
_RECURSION_MISSES_AT: Final = 208  # offsetof(struct bpf_prog_info, recursion_misses), 9ed9e9ba2337 (5.12)
_KPROBES: Final = Path("/sys/bus/event_source/devices/kprobe")
_PERF_EVENT_OPEN: Final[Mapping[str, int]] = {"x86_64": 298, "aarch64": 241}
_PERF_ATTR: Final = struct.Struct("<IIQQQQQIIQQ")
"""``struct perf_event_attr`` up to config2: type, size, config, sample_period, sample_type, read_format, flags,
wakeup_events, bp_type, kprobe_func, probe_offset."""
_KPROBE_MISSED_AT: Final = 48  # offsetof(struct bpf_link_info, perf_event.kprobe.missed), 3acf8ace6823 (6.7)
_ENABLE: Final = 0x2400
_CLOSE_ON_EXEC: Final = 8
_ANY_PROCESS: Final = -1


class ProgramType(IntEnum):
    """``enum bpf_prog_type``"""

    KPROBE = 2
    RAW_TRACEPOINT = 17
    TRACING = 26


class AttachType(IntEnum):
    """``enum bpf_attach_type``"""

    NONE = 0
    FENTRY = 24
    FEXIT = 25
    PERF_EVENT = 41


class RefusedError(Exception):
    """The kernel refused a map, a program or an attachment; the message is the verifier's, or that of the error number.

    ``not_permitted`` says that privileges are missing: the error is EPERM or EACCES, and the verifier said nothing.
    """

    def __init__(self, error: int, why: str) -> None:
        super().__init__(why or os.strerror(error))
        self.not_permitted = error in (errno.EPERM, errno.EACCES) and not why


class _MapOpts(ctypes.Structure):
    """``struct bpf_map_create_opts``"""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("btf_fd", ctypes.c_uint32),
        ("btf_key_type_id", ctypes.c_uint32),
        ("btf_value_type_id", ctypes.c_uint32),
        ("btf_vmlinux_value_type_id", ctypes.c_uint32),
        ("inner_map_fd", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("map_extra", ctypes.c_uint64),
        ("numa_node", ctypes.c_uint32),
        ("map_ifindex", ctypes.c_uint32),
    )


class _ProgramOpts(ctypes.Structure):
    """``struct bpf_prog_load_opts`` up to its log"""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("attempts", ctypes.c_int),
        ("expected_attach_type", ctypes.c_uint32),
        ("prog_btf_fd", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_ifindex", ctypes.c_uint32),
        ("kern_version", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
        ("attach_prog_fd", ctypes.c_uint32),
        ("attach_btf_obj_fd", ctypes.c_uint32),
        ("fd_array", ctypes.c_void_p),
        ("func_info", ctypes.c_void_p),
        ("func_info_cnt", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("line_info", ctypes.c_void_p),
        ("line_info_cnt", ctypes.c_uint32),
        ("line_info_rec_size", ctypes.c_uint32),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_void_p),
    )


class _TestRunOpts(ctypes.Structure):
    """``struct bpf_test_run_opts``"""

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


def create_map(asked: MapSpec, inner: int = 0) -> int:
    """Create a map with BPF_MAP_CREATE, and return its file descriptor.

    :param inner: for a map of maps, the file descriptor of a map with the type and sizes of its entries; else 0.
    :raises RefusedError: the kernel does not create it.
    """
    opts = _MapOpts(sz=ctypes.sizeof(_MapOpts), map_flags=asked.flags, inner_map_fd=inner)
    sizes = (asked.key_bytes, asked.value_bytes, asked.entries)
    return _made(library().bpf_map_create(asked.type, _name(asked.name), *sizes, ctypes.byref(opts)))


def load_program(name: str, kind: ProgramType, code: bytes, attach: AttachType, function_id: int) -> int:
    """Load a program with BPF_PROG_LOAD, and return its file descriptor.

    :param code: ``struct bpf_insn[]``, 8 bytes an instruction.
    :param attach: FENTRY or FEXIT for a TRACING program, NONE for every other.
    :param function_id: for a TRACING program, the BTF id of the function that it is attached to; 0 for every other.
    :raises RefusedError: the kernel does not load it; the message is the last line of the verifier's log, if any.
    """
    opts = _ProgramOpts(sz=ctypes.sizeof(_ProgramOpts), expected_attach_type=attach, attach_btf_id=function_id)
    load = library().bpf_prog_load
    place = (kind, _name(name), _LICENSE, code, ctypes.c_size_t(len(code) // 8), ctypes.byref(opts))
    descriptor = load(*place)
    if descriptor >= 0:
        return int(descriptor)
    log = ctypes.create_string_buffer(_LOG_BYTES)
    opts.log_level, opts.log_size, opts.log_buf = 1, _LOG_BYTES, ctypes.addressof(log)
    return _made(load(*place), _last_line(log.value.decode(errors="replace")))


def attach_tracing(program: int) -> int:
    """Attach an fentry or fexit program to the function that it was loaded for, and return the link's descriptor.

    :raises RefusedError: the kernel does not attach it.
    """
    return _made(library().bpf_raw_tracepoint_open(None, program))


def attach_kprobe(program: int, symbol: str, *, at_return: bool) -> int:
    """Attach a kprobe program to ``symbol``, and return the link's descriptor.

    The kprobe event source (/sys/bus/event_source/devices/kprobe) must exist.

    :param at_return: attach a kretprobe, which runs when the function returns.
    :raises RefusedError: the kernel does not attach it, or the machine is neither x86-64 nor arm64.
    """
    function = ctypes.create_string_buffer(symbol.encode())
    kind = int((_KPROBES / "type").read_text())
    return_bit = int((_KPROBES / "format" / "retprobe").read_text().partition(":")[2])
    attr = _PERF_ATTR.pack(
        kind, _PERF_ATTR.size, at_return << return_bit, 0, 0, 0, 0, 0, 0, ctypes.addressof(function), 0
    )
    libc = ctypes.CDLL(None, use_errno=True)
    number = _PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        raise RefusedError(errno.ENOSYS, f"kprobes are not attached on {platform.machine()}")
    event = libc.syscall(ctypes.c_long(number), attr, _ANY_PROCESS, 0, -1, ctypes.c_ulong(_CLOSE_ON_EXEC))
    if event < 0:
        raise RefusedError(ctypes.get_errno(), "")
    try:
        link = _made(library().bpf_link_create(program, event, AttachType.PERF_EVENT, None))
        try:
            fcntl.ioctl(event, _ENABLE, 0)
        except OSError as error:
            os.close(link)
            raise RefusedError(error.errno or 0, "") from None
    finally:
        os.close(event)  # the link holds it
    return link


def look_up(array: int, value: Any) -> int:
    """Fill ``value``, a ctypes buffer, with an array map's entry 0. Returns 0, or a negative error number."""
    return int(library().bpf_map_lookup_elem(array, ctypes.byref(ctypes.c_uint32(0)), value))


def update(array: int, value: Any) -> int:
    """Set an array map's entry 0. Returns 0, or a negative error number."""
    return int(library().bpf_map_update_elem(array, ctypes.byref(ctypes.c_uint32(0)), value, ctypes.c_uint64(0)))


def value_of(table: int, key: bytes, value: Any) -> int:
    """Fill ``value``, a ctypes buffer, with what a map has for a key. Returns 0, or a negative error number."""
    return int(library().bpf_map_lookup_elem(table, key, value))


def key_after(table: int, key: bytes | None, following: Any) -> int:
    """Fill ``following``, a ctypes buffer, with the key after a key, or with the first (None) of a hash map.

    Returns 0, or a negative error number, which is that of ENOENT after the last.
    """
    return int(library().bpf_map_get_next_key(table, key, following))


def run(program: int, arguments: tuple[int, ...]) -> int:
    """Run a raw tracepoint program once on this CPU, with 64-bit arguments. Returns 0, or a negative error number."""
    words = (ctypes.c_uint64 * len(arguments))(*arguments)
    opts = _TestRunOpts(sz=ctypes.sizeof(_TestRunOpts))
    opts.ctx_in = ctypes.addressof(words)
    opts.ctx_size_in = ctypes.sizeof(words)
    return int(library().bpf_prog_test_run_opts(program, ctypes.byref(opts)))


def missed_runs(program: int) -> int:
    """How often the kernel skipped a program because it ran already on that CPU; or a negative error number."""
    return _counted(program, _RECURSION_MISSES_AT)


def run_time_ns(program: int) -> int:
    """For how long a program has run, on all CPUs together, while the kernel counted; or a negative error number."""
    return _counted(program, _RUN_TIME_NS_AT)


def runs(program: int) -> int:
    """How often a program has run while the kernel counted; or a negative error number."""
    return _counted(program, _RUN_CNT_AT)


def missed_hits(link: int) -> int:
    """How often a kprobe was hit and its program did not run: another kprobe was running on that CPU, or (at a return)
    more calls were under way than the kernel has room to follow; or a negative error number."""
    return _counted(link, _KPROBE_MISSED_AT)


def _counted(descriptor: int, at: int) -> int:
    """The 64-bit counter at byte ``at`` of what ``BPF_OBJ_GET_INFO_BY_FD`` returns; or a negative error number."""
    info = (ctypes.c_ubyte * 256)()
    length = ctypes.c_uint32(ctypes.sizeof(info))
    status = int(library().bpf_obj_get_info_by_fd(descriptor, ctypes.byref(info), ctypes.byref(length)))
    if status:
        return status
    if length.value < at + 8:
        return -errno.ENOTSUP
    return int.from_bytes(bytes(info[at : at + 8]), "little")


def _name(name: str) -> bytes:
    return name.encode()[:_NAME_BYTES]


def _made(descriptor: int, why: str = "") -> int:
    if descriptor < 0:
        raise RefusedError(-descriptor, why)
    return int(descriptor)


def _last_line(log: str) -> str:
    # The verifier's statistics come after its complaint.
    lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith("processed ")]
    return lines[-1] if lines else ""
