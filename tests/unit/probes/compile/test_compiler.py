"""The compiler's process: what it made comes back, what went wrong is said, and it is gone whatever happened."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from swiotlb_top.errors import CannotError
from swiotlb_top.probes.compile.compiler import compiled

LONG_S = 60.0
STUB = """
import ctypes, os, signal, sys, time

class Function:
    def __init__(self, answer):
        self.answer = answer
    def __call__(self, *arguments):
        return self.answer

CODE = ctypes.create_string_buffer({code})

class lib:
    bpf_num_tables = Function(0)
    bpf_num_functions = Function(1)
    bpf_function_name = Function(b"program")
    bpf_function_start = Function(ctypes.addressof(CODE))
    bpf_function_size = Function(len(CODE) - 1)

class BPF:
    module = None
    def __init__(self, src_file, cflags):
        {body}
"""
"""Stands in for bcc; ``body`` is what compiling does, and ``code`` what it makes."""


@pytest.fixture
def with_bcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    def install(body: str = "pass", code: str = 'b"12345678"') -> Path:
        (tmp_path / "bcc.py").write_text(STUB.format(body=body, code=code))
        monkeypatch.syspath_prepend(str(tmp_path))
        return tmp_path

    return install


def children() -> list[int]:
    """This process's, those that ended among them."""
    return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


def test_the_image_was_made_in_a_process_that_was_started_and_not_forked(with_bcc: object) -> None:
    assert callable(with_bcc)
    source = with_bcc(code='(str(os.getpid()) + " " + str("pytest" in sys.modules)).encode().ljust(24)')
    before = children()
    made = compiled(source, ["-DA=1"]).programs["program"].split()
    assert int(made[0]) != os.getpid()
    assert made[1] == b"False"
    assert children() == before


def test_the_compiler_is_given_the_source_and_the_flags(with_bcc: object) -> None:
    assert callable(with_bcc)
    source = with_bcc('raise Exception(f"{src_file} {cflags}")')
    with pytest.raises(CannotError, match=r"swiotlb_top\.c' \['-I[^']*', '-Wall', '-DA=1'\]"):
        compiled(source, ["-Wall", "-DA=1"])


def test_an_image_may_be_large(with_bcc: object) -> None:
    assert callable(with_bcc)
    assert len(compiled(with_bcc(code="bytes(1 << 22)"), []).programs["program"]) == 1 << 22


def test_what_the_compiler_complains_of_is_told_in_a_line(with_bcc: object) -> None:
    assert callable(with_bcc)
    source = with_bcc('os.write(2, b"swiotlb_top.c:1:1: error: no such thing\\n"); raise Exception("failed")')
    with pytest.raises(CannotError, match=r"cannot be compiled: swiotlb_top\.c:1:1: error: no such thing$"):
        compiled(source, [])


def test_a_bug_is_raised_with_where_it_was(with_bcc: object) -> None:
    assert callable(with_bcc)
    source = with_bcc()
    (source / "bcc.py").write_text("class BPF:\n    module = None\n    def __init__(self, **_): pass\n\nlib = None\n")
    with pytest.raises(RuntimeError, match="bpf_num_tables"):
        compiled(source, [])


@pytest.mark.parametrize(
    ("ending", "said"), [("os.kill(os.getpid(), signal.SIGKILL)", "signal 9"), ("os._exit(7)", "status 7")]
)
def test_a_compiler_that_ends_without_an_answer_is_said(with_bcc: object, ending: str, said: str) -> None:
    assert callable(with_bcc)
    with pytest.raises(CannotError, match=said):
        compiled(with_bcc(ending), [])


def test_what_lies_in_the_working_directory_is_not_run(
    with_bcc: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(with_bcc)
    source = with_bcc()
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    (strangers / "bcc.py").write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(strangers)
    assert compiled(source, []).programs == {"program": b"12345678"}


def test_who_is_told_to_stop_meanwhile_leaves_no_process(with_bcc: object) -> None:
    assert callable(with_bcc)
    before = children()

    class ToldError(Exception):
        pass

    def told(number: int, frame: object) -> None:
        raise ToldError

    source = with_bcc(f"os.kill(os.getppid(), signal.SIGUSR1); time.sleep({LONG_S})")
    previous = signal.signal(signal.SIGUSR1, told)
    try:
        with pytest.raises(ToldError):
            compiled(source, [])
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert children() == before


def test_a_thread_that_holds_a_lock_does_not_hold_up_the_compiler(with_bcc: object) -> None:
    """Forked, the process would have had the lock and not the thread that gives it back."""
    assert callable(with_bcc)
    source = with_bcc()
    lock = threading.Lock()
    let_go = threading.Event()

    def hold() -> None:
        with lock:
            let_go.wait(LONG_S)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert compiled(source, []).programs
    finally:
        let_go.set()
        holder.join()
