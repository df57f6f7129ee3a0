"""A trace as a file: who may read it, when it gets its name, and what is said where that cannot be."""

from __future__ import annotations

import io
import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from swiotlb_top.errors import CannotError, Exit, UnreadableError
from swiotlb_top.trace import End, TraceReader, TraceWriter
from tests.unit.trace.test_format_1 import FIRST_RECORDS, HEADER, STATE

NOBODY: Final = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root reads and writes everything; be somebody else for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@contextmanager
def disk_full_at(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond ``size_bytes``: what the kernel says then is what a full disk says, but for the word."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def record(path: Path) -> None:
    with TraceWriter(path, HEADER) as writer:
        writer.state(STATE)
        writer.end({}, 1, 0)


def test_a_trace_is_private_to_who_recorded_it(tmp_path: Path) -> None:
    path = tmp_path / "a.swtrace"
    before = os.umask(0)
    try:
        record(path)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_trace_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.swtrace"
    with TraceWriter(path, HEADER) as writer:
        writer.end({}, 1, 0)
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.swtrace.partial"]

    assert [entry.name for entry in tmp_path.iterdir()] == ["a.swtrace"]


def test_what_a_dying_recorder_leaves_reads_as_a_truncated_trace(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:  # pragma: no cover - in a process that dies
        writer = TraceWriter(tmp_path / "a.swtrace", HEADER)
        writer.records(FIRST_RECORDS.data)
        os._exit(1)
    os.waitpid(child, 0)

    reader = TraceReader(tmp_path / "a.swtrace.partial")
    items = iter(reader)

    assert [next(items), next(items)] == [HEADER, FIRST_RECORDS]
    with pytest.raises(UnreadableError, match=r"a\.swtrace\.partial is truncated .* the recorder did not finish"):
        next(items)


def test_a_recording_that_fails_keeps_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), TraceWriter(tmp_path / "a.swtrace", HEADER):
        raise KeyboardInterrupt

    assert TraceReader(tmp_path / "a.swtrace.partial").header == HEADER
    assert not (tmp_path / "a.swtrace").exists()


def test_a_trace_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.swtrace"
    path.write_text("precious")
    with pytest.raises(CannotError, match="exists; choose another name"):
        record(path)
    assert path.read_text() == "precious"


def test_a_name_taken_while_recording_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.swtrace"
    writer = TraceWriter(path, HEADER)
    writer.end({}, 1, 0)
    path.write_text("precious")
    with pytest.raises(CannotError, match="exists; choose another name"):
        writer.close()

    assert path.read_text() == "precious"
    assert list(TraceReader(tmp_path / "a.swtrace.partial")) == [HEADER, End({}, 1, 0)]


def test_two_recorders_do_not_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.swtrace"
    with TraceWriter(path, HEADER), pytest.raises(CannotError, match=r"a\.swtrace\.partial exists: another recorder"):
        record(path)


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.swtrace.partial").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(CannotError, match="exists"):
        record(tmp_path / "a.swtrace")
    assert not (tmp_path / "elsewhere").exists()


def test_a_directory_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(CannotError, match="is a directory; name a file in it"):
        record(tmp_path)


@pytest.mark.parametrize("directory", ["missing", "file"])
def test_a_directory_that_is_none_is_named(tmp_path: Path, directory: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotError, match=r"cannot create .*: .*; choose another directory"):
        record(tmp_path / directory / "a.swtrace")


def test_a_directory_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with unprivileged(), pytest.raises(CannotError, match=r"cannot create .*: Permission denied") as refused:
        record(tmp_path / "a.swtrace")
    assert refused.value.exit_code == Exit.CANNOT


def test_a_full_disk_is_said_and_what_was_written_stays_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.swtrace"
    with disk_full_at(4096), TraceWriter(path, HEADER) as writer:
        writer.records(FIRST_RECORDS.data)
        with pytest.raises(CannotError, match=r"cannot write .*: File too large; what it holds so far can be read"):
            writer.records(os.urandom(64 * 1000))
        with pytest.raises(CannotError, match="cannot write"):  # nothing may follow the torn frame
            writer.end({}, 1, 0)

    items = iter(TraceReader(tmp_path / "a.swtrace.partial"))
    assert [next(items), next(items)] == [HEADER, FIRST_RECORDS]
    with pytest.raises(UnreadableError, match="truncated at byte 4096"):
        next(items)


def test_a_disk_full_from_the_first_byte_leaves_nothing_behind(tmp_path: Path) -> None:
    with disk_full_at(10), pytest.raises(CannotError, match="cannot write"):
        record(tmp_path / "a.swtrace")
    assert list(tmp_path.iterdir()) == []


def test_a_trace_can_be_written_to_a_file_object_which_stays_open(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with TraceWriter(stream, HEADER) as writer:
        writer.end({}, 1, 0)

    path = tmp_path / "a.swtrace"
    path.write_bytes(stream.getvalue())
    assert list(TraceReader(path)) == [HEADER, End({}, 1, 0)]


def test_a_device_that_is_full_is_said() -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(CannotError, match="No space left on device"):
        TraceWriter(full, HEADER)


BAD_FILES: Final[dict[str, tuple[Callable[[Path], object], str]]] = {
    "missing": (lambda path: None, "does not exist"),
    "directory": (lambda path: path.mkdir(), "is a directory"),
    "pipe": (os.mkfifo, "is no regular file"),
    "empty": (lambda path: path.touch(), "is empty"),
    "foreign": (lambda path: path.write_text("trace-cmd"), "is not a swiotlb-top trace"),
    "short and foreign": (lambda path: path.write_text("x"), "is not a swiotlb-top trace"),
    "loop": (lambda path: path.symlink_to(path), "cannot open"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_trace_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    make, says = BAD_FILES[name]
    path = tmp_path / "a.swtrace"
    make(path)

    with pytest.raises(UnreadableError) as refused:
        TraceReader(path)

    assert says in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.swtrace"
    record(path)
    path.chmod(0)
    tmp_path.chmod(0o755)
    with unprivileged(), pytest.raises(UnreadableError, match="no permission to read"):
        TraceReader(path)
