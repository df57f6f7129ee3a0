"""Running one command in one machine that exists only for it."""

from __future__ import annotations

import compileall
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tests.lab.harness import initramfs
from tests.lab.harness.errors import LostVMError, PanicError
from tests.lab.harness.kernels import HERE, KernelImage
from tests.lab.harness.machine import THE_HOSTS, Machine, RunDirectory, Shared, qemu_command
from tests.lab.harness.monitor import Monitor
from tests.lab.harness.requirements import output_of, require

CHECKOUT = HERE.parents[1]
PACKAGES = ("swiotlb_top", "exporters/swiotlb_exporter")
DISK_BYTES = 256 << 20
POLL_S = 0.05
CONSOLE_TAIL_LINES = 60
ENDED = "the guest ended without saying how its command ended"
PANIC = "Kernel panic - not syncing: "
"""The kernel's last words but a few."""
GUEST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Terminal:
    """The caller's terminal, as the guest is told of it."""

    term: str
    rows: int
    columns: int

    @property
    def size(self) -> str:
        """In stty's words."""
        return f"rows {self.rows} cols {self.columns}"


Meanwhile = Callable[[Monitor, Path, threading.Event], None]
"""What the host does to a machine while its command runs, on a thread of its own: with QEMU's monitor, the guest's
results, and what is set when it is over."""


def own_terminal() -> Terminal:
    """That of standard input, as it is now."""
    # Not shutil's, which believes COLUMNS and LINES: the guest is given this very terminal.
    size = os.get_terminal_size(sys.stdin.fileno()) if sys.stdin.isatty() else os.terminal_size((80, 24))
    return Terminal(term=os.environ.get("TERM", "dumb"), rows=size.lines, columns=size.columns)


@dataclass(frozen=True, slots=True)
class Result:
    """How a command in a guest ended."""

    status: int
    """As the guest's shell says it: 0..255; 126 and 127 where it could not be started, 128 + N for signal N."""
    stdout: str
    stderr: str
    seconds: float
    """Wall-clock time of the whole run, boot included."""
    files: Path
    """What the guest wrote to /results."""


@dataclass(frozen=True, slots=True)
class Live:
    """Where output goes while the command runs."""

    stdout: BinaryIO
    stderr: BinaryIO


def prepare(
    machine: Machine,
    image: KernelImage,
    command: Sequence[str],
    run: RunDirectory,
    terminal: Terminal | None = None,
    shared: Shared = THE_HOSTS,
) -> None:
    """Fill `run` (made if need be) with what QEMU needs to run `command`: initramfs, empty disks, results/."""
    for package in PACKAGES:
        compileall.compile_dir(CHECKOUT / package, quiet=2)  # which guests could make, but not keep
    for written in (run.results, run.kept):
        written.mkdir(parents=True, exist_ok=True)
    for stale in (run.status, run.stdout, run.stderr, run.console):
        stale.unlink(missing_ok=True)
    for disk in (run.virtio_disk, run.nvme_disk):
        with disk.open("wb") as sparse:
            sparse.truncate(DISK_BYTES)
    if machine.behind_iommu:
        require({"iasl": "acpica-tools"})
        output_of("iasl", "-va", "-p", str(run.acpi), str(HERE / "acpi" / "external-ports.asl"))
    run.initramfs.write_bytes(initramfs.archive(_members(machine, image, command, terminal, shared)))


def _members(
    machine: Machine, image: KernelImage, command: Sequence[str], terminal: Terminal | None, shared: Shared
) -> list[initramfs.Member]:
    members = [
        initramfs.directory("bin"),
        initramfs.directory("dev"),
        initramfs.character_device("dev/console", 5, 1),  # without it init starts with no open files
        initramfs.directory("modules"),
        initramfs.program("bin/busybox", _busybox(shared.root).read_bytes()),
        initramfs.program("init", (HERE / "guest" / "init").read_bytes()),
        initramfs.program("job", job_script(machine, command, terminal).encode()),
    ]
    members += [initramfs.plain(f"modules/{module.name}", module.read_bytes()) for module in image.modules]
    if shared.checkout:
        members.append(initramfs.plain("where", f"{shared.checkout}\n".encode()))
    if terminal:
        members.append(initramfs.plain("terminal", f"{terminal.size}\n".encode()))
    return members


def _busybox(root: Path) -> Path:
    """A busybox of the guest's architecture that needs no library."""
    found = next((path for path in (root / "bin/busybox", root / "usr/bin/busybox") if path.exists()), None)
    return found or Path(shutil.which("busybox") or "/bin/busybox")


def job_script(machine: Machine, command: Sequence[str], terminal: Terminal | None) -> str:
    """What the guest runs as root: `command` in the checkout, with a known environment and no other."""
    environment: Mapping[str, str] = {
        "PATH": GUEST_PATH,
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "TERM": terminal.term if terminal else "dumb",
        "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'exporters'}",
        "PYTHONUNBUFFERED": "1",
        "SWIOTLB_LAB_KERNEL": machine.kernel,
        "SWIOTLB_LAB_RESULTS": "/results",
        "XDG_CACHE_HOME": "/kept",
    }
    words = [f"{name}={value}" for name, value in environment.items()]
    return f"cd {shlex.quote(str(CHECKOUT))} || exit 126\nexec /usr/bin/env -i {shlex.join([*words, *command])}\n"


def run(
    machine: Machine,
    image: KernelImage,
    accelerator: str,
    command: Sequence[str],
    *,
    deadline_s: float | None,
    run: RunDirectory,
    shared: Shared = THE_HOSTS,
    terminal: Terminal | None = None,
    live: Live | None = None,
    meanwhile: Meanwhile | None = None,
) -> Result:
    """Boot `machine`, run `command` in it, and end it.

    Raises LostVMError if the guest ends without a status (PanicError: its kernel panicked), or has none after
    `deadline_s` of wall-clock time (None: no deadline, for a person's shell). Whatever happens, QEMU is gone when this
    returns, and dies with the calling thread. `run` keeps console.log, stdout, stderr and results/ for a look later.
    """
    prepare(machine, image, command, run, terminal, shared)
    started = time.monotonic()
    qemu_log = run.path / "qemu.log"
    over = threading.Event()
    ours, qemus = socket.socketpair()
    with (
        qemu_log.open("wb") as log,
        _resizing(run, terminal) as resize,
        ours,
        ThreadPoolExecutor(max_workers=1) as attendant,
    ):
        with qemus:
            on_terminal, monitor_fd = terminal is not None, qemus.fileno()
            words = qemu_command(
                machine, image, accelerator, run, terminal=on_terminal, shared=shared, monitor_fd=monitor_fd
            )
            qemu = _started(words, monitor_fd, log, on_terminal=on_terminal)
        attending = attendant.submit(_attend, meanwhile, ours, run.results, over) if meanwhile else None
        try:
            status = _wait(qemu, run, live, resize, None if deadline_s is None else started + deadline_s)
        finally:
            over.set()
            if attending:
                wait([attending])
            qemu.kill()
            qemu.wait()
    if isinstance(status, str):
        raise _lost(status, run)(status, _tail(qemu_log) + _tail(run.console))
    if attending:
        attending.result()
    return Result(status, _text(run.stdout), _text(run.stderr), time.monotonic() - started, run.results)


def _lost(reason: str, run: RunDirectory) -> type[LostVMError]:
    return PanicError if reason == ENDED and PANIC in _text(run.console) else LostVMError


def _started(words: Sequence[str], monitor_fd: int, log: BinaryIO, *, on_terminal: bool) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words,
        stdin=None if on_terminal else subprocess.DEVNULL,
        stdout=None if on_terminal else log,
        stderr=log,
        pass_fds=[monitor_fd],
    )


def _attend(meanwhile: Meanwhile, connection: socket.socket, results: Path, over: threading.Event) -> None:
    # The machine may go at any time: that it went is told by its status, or by there being none.
    with suppress(ConnectionError, ProcessLookupError, ChildProcessError):
        meanwhile(Monitor(connection), results, over)


@contextmanager
def _resizing(run: RunDirectory, terminal: Terminal | None) -> Iterator[Callable[[], None]]:
    """What tells the guest, each time it is called, if the terminal has another size: QEMU's console does not."""
    if terminal is None:
        yield lambda: None
        return
    os.mkfifo(run.sizes)
    # Open for reading as well, so that neither this nor QEMU waits for the other to open it.
    fifo = os.open(run.sizes, os.O_RDWR | os.O_NONBLOCK)
    told = terminal

    def tell() -> None:
        nonlocal told
        if own_terminal() != told:
            told = own_terminal()
            os.write(fifo, f"{told.size}\n".encode())

    try:
        yield tell
    finally:
        os.close(fifo)


def _wait(
    qemu: subprocess.Popen[bytes],
    run: RunDirectory,
    live: Live | None,
    resize: Callable[[], None],
    deadline: float | None,
) -> int | str:
    """The command's status, or the reason why there is none. Copies output to `live` meanwhile."""
    copied = {run.stdout: 0, run.stderr: 0}
    while True:
        resize()
        gone = qemu.poll() is not None
        status = _status(run.status)
        if live:
            copied[run.stdout] += _copy(run.stdout, copied[run.stdout], live.stdout)
            copied[run.stderr] += _copy(run.stderr, copied[run.stderr], live.stderr)
        if status is not None:
            return status
        if gone:
            return ENDED
        if deadline is not None and time.monotonic() > deadline:
            return "the guest was still running at its deadline"
        time.sleep(POLL_S)


def _status(path: Path) -> int | None:
    said = re.fullmatch(r"exit (\d+)\n", _text(path))
    return int(said.group(1)) if said else None


def _copy(source: Path, offset_bytes: int, sink: BinaryIO) -> int:
    try:
        with source.open("rb") as file:
            file.seek(offset_bytes)
            new = file.read()
    except FileNotFoundError:
        return 0
    if new:
        sink.write(new)
        sink.flush()
    return len(new)


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _tail(path: Path) -> str:
    return "".join(line + "\n" for line in _text(path).splitlines()[-CONSOLE_TAIL_LINES:])
