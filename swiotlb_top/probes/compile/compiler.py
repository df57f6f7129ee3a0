"""The one module that imports bcc: from the C sources to an image, in a process of its own.

bcc contains a compiler, which takes some 100 MB of memory; they are free again when that process ends. The process is
started anew and not forked, as the calling process may have threads.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from swiotlb_top.errors import CannotError, Exit
from swiotlb_top.kernel import refusals
from swiotlb_top.probes.compile.image import Image, MapSpec

_TRACEBACK: Final = 1
"""Python's own exit status after one."""
_DISTRIBUTION_PACKAGES: Final = Path("/usr/lib/python3/dist-packages")


def compiled(source: Path, flags: Sequence[str]) -> Image:
    """Compile ``swiotlb_top.c`` of a directory.

    :param flags: as :func:`~swiotlb_top.probes.compile.flags.compiler_flags` gives them.
    :raises CannotError: bcc is missing, the privilege to create maps is (bcc does so as it compiles), or the compiler
        reports an error.
    """
    # -P, -s: modules in the working directory or in root's home are not ours. The other process finds its modules where
    # this one does.
    command = [sys.executable, "-P", "-s", "-m", __name__, str(source), *flags]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if ran.returncode == Exit.CANNOT:
        raise CannotError(ran.stderr.strip())
    if ran.returncode == _TRACEBACK:
        raise RuntimeError(ran.stderr)
    if ran.returncode:
        how = f"signal {-ran.returncode}" if ran.returncode < 0 else f"status {ran.returncode}"
        raise CannotError(f"the process that compiles the BPF program ended ({how}): is there too little memory?")
    return Image.unpacked(ran.stdout)


def main(source: str, *flags: str) -> int:
    """In the process of its own: print the image, or say in a line why there is none."""
    # Ctrl-C ends this process at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        image = _compiled(Path(source), flags)
    except CannotError as error:
        print(error, file=sys.stderr)
        return Exit.CANNOT
    print(image.packed())
    return Exit.OK


def version() -> str:
    """The version of the bcc that is installed, found without importing it; "" if there is none."""
    for place in (None, [str(_DISTRIBUTION_PACKAGES)]):
        found = importlib.machinery.PathFinder.find_spec("bcc", place)
        if found and found.origin:
            return (Path(found.origin).parent / "version.py").read_text()
    return ""


def _compiled(source: Path, flags: Sequence[str]) -> Image:
    bcc = _import_bcc()
    os.environ["BCC_KERNEL_SOURCE"] = str(source / "headers")
    with _stderr_of_c() as heard:
        try:
            bpf = _only_compiling(bcc)(src_file=os.fsencode(source / "swiotlb_top.c"), cflags=[f"-I{source}", *flags])
        except Exception as error:
            raise CannotError(_why_not(heard(), error)) from None
    return _image(bcc.lib, bpf.module)


def _only_compiling(bcc: Any) -> Any:
    """BCC attaches whatever is named kfunc__… as it compiles."""

    class OnlyCompiling(bcc.BPF):  # type: ignore[misc]
        def _trace_autoload(self) -> None:
            pass

    return OnlyCompiling


def _image(lib: Any, module: Any) -> Image:
    def told(function: str, kind: Any, *place: int) -> Any:
        # Python's bcc has declared some of them and not others.
        call = getattr(lib, function)
        call.restype, call.argtypes = kind, [ctypes.c_void_p, ctypes.c_size_t][: 1 + len(place)]
        return call(module, *place)

    maps = {
        told("bpf_table_fd_id", ctypes.c_int, place): MapSpec(
            name=told("bpf_table_name", ctypes.c_char_p, place).decode(),
            type=told("bpf_table_type_id", ctypes.c_int, place),
            key_bytes=told("bpf_table_key_size_id", ctypes.c_size_t, place),
            value_bytes=told("bpf_table_leaf_size_id", ctypes.c_size_t, place),
            entries=told("bpf_table_max_entries_id", ctypes.c_uint64, place),
            flags=told("bpf_table_flags_id", ctypes.c_int, place),
        )
        for place in range(told("bpf_num_tables", ctypes.c_size_t))
    }
    names = [lib.bpf_function_name(module, place) for place in range(lib.bpf_num_functions(module))]
    return Image.of(maps, {name.decode(): _code(lib, module, name) for name in names})


def _code(lib: Any, module: Any, name: bytes) -> bytes:
    return ctypes.string_at(lib.bpf_function_start(module, name), lib.bpf_function_size(module, name))


def _import_bcc() -> Any:
    """Import bcc, which the distribution has and PyPI has not: also from where Debian installs it.

    :raises CannotError: it is not installed, or not completely.
    """
    sys.path.append(str(_DISTRIBUTION_PACKAGES))
    try:
        import bcc
    except (ImportError, OSError) as error:
        raise CannotError(
            f"Python module bcc cannot be imported ({error}): install the distribution's package (Debian: apt install "
            "python3-bpfcc), or load what was compiled elsewhere (--program)"
        ) from None
    return bcc


def _why_not(said: str, error: Exception) -> str:
    """One line out of what BCC and libbpf print to stderr."""
    if "not permitted" in said or "super-user" in str(error):
        return str(refusals.unexplained())
    lines = [line for line in said.splitlines() if "error" in line.lower()] or said.splitlines() or [str(error)]
    return f"the BPF program cannot be compiled: {lines[0].strip()}"


@contextmanager
def _stderr_of_c() -> Iterator[Any]:
    """Keep what C libraries write to stderr; the caller gets a function that returns it so far."""
    # In memory: a disk may be stalled.
    with open(os.memfd_create("stderr"), "w+b") as kept:
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


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
