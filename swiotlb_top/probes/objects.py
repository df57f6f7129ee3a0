"""What is loaded into the kernel, held by file descriptors, and asked through libbpf.

None of it needs bcc, or, since 5.19 (c8644cd0efe7), a capability: who has the descriptor may.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from swiotlb_top.errors import CannotError

_RECURSION_MISSES_AT: Final = 208  # offsetof(struct bpf_prog_info, recursion_misses), 9ed9e9ba2337 (5.12)


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


@dataclass(slots=True)
class Objects:
    """File descriptors of maps, programs and links by name; a probe's link is named as its program."""

    maps: Mapping[str, int]
    programs: Mapping[str, int]
    links: dict[str, int]

    def look_up(self, name: str, size_bytes: int) -> bytes:
        """What an array map has at 0; of a per-CPU one every CPU's, each in whole words."""
        value = ctypes.create_string_buffer(size_bytes)
        status = _libbpf().bpf_map_lookup_elem(self.maps[name], ctypes.byref(ctypes.c_uint32(0)), value)
        if status:
            raise CannotError(f"the BPF map {name} cannot be read (error {status})")
        return value.raw

    def update(self, name: str, value: int) -> None:
        """Set a 64-bit array map's entry 0."""
        word = ctypes.c_uint64(value)
        status = _libbpf().bpf_map_update_elem(
            self.maps[name], ctypes.byref(ctypes.c_uint32(0)), ctypes.byref(word), ctypes.c_uint64(0)
        )
        if status:
            raise CannotError(f"the BPF map {name} cannot be written (error {status})")

    def clear(self, name: str, size_bytes: int) -> None:
        """Zero an array map's entry 0; of a per-CPU one every CPU's, each in whole words."""
        status = _libbpf().bpf_map_update_elem(
            self.maps[name], ctypes.byref(ctypes.c_uint32(0)), bytes(size_bytes), ctypes.c_uint64(0)
        )
        if status:
            raise CannotError(f"the BPF map {name} cannot be written (error {status})")

    def run(self, name: str, *arguments: int) -> None:
        """Run a raw tracepoint program once, here, with 64-bit arguments."""
        words = (ctypes.c_uint64 * len(arguments))(*arguments)
        opts = _TestRunOpts(sz=ctypes.sizeof(_TestRunOpts))
        opts.ctx_in = ctypes.addressof(words)
        opts.ctx_size_in = ctypes.sizeof(words)
        status = _libbpf().bpf_prog_test_run_opts(self.programs[name], ctypes.byref(opts))
        if status:
            raise CannotError(f"the kernel refuses to run a BPF program for reading its memory (error {status})")

    def attach(self, name: str) -> None:
        """Attach an fentry or fexit program where it was loaded for."""
        link = _libbpf().bpf_raw_tracepoint_open(None, self.programs[name])
        if link < 0:
            raise CannotError(f"{name} cannot be attached again (error {link})")
        self.links[name] = link

    def detach(self, name: str) -> None:
        """Detach a probe; what runs ends first."""
        os.close(self.links.pop(name))

    def missed_runs(self, names: Iterable[str]) -> int:
        """How often the kernel skipped one of these programs because it ran already on that CPU."""
        return sum(_missed(self.programs[name]) for name in names)

    def close(self) -> None:
        """Detach everything and free it."""
        for descriptor in (*self.links.values(), *self.programs.values(), *self.maps.values()):
            os.close(descriptor)
        self.maps, self.programs, self.links = {}, {}, {}


def _missed(program: int) -> int:
    info = (ctypes.c_ubyte * 256)()
    length = ctypes.c_uint32(ctypes.sizeof(info))
    if _libbpf().bpf_obj_get_info_by_fd(program, ctypes.byref(info), ctypes.byref(length)):
        return 0
    return int.from_bytes(bytes(info[_RECURSION_MISSES_AT : _RECURSION_MISSES_AT + 8]), "little")


@cache
def _libbpf() -> Any:
    """The library libbcc itself is linked with; loaded once.

    :raises CannotError: there is none.
    """
    try:
        return ctypes.CDLL("libbpf.so.1")
    except OSError as error:
        raise CannotError(f"libbpf is missing: install the distribution's package (Debian: libbpf1): {error}") from None
