"""A recorder that is killed, or finds the disk full, leaves all that it had but at most the last half second."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Final

import pytest

from swiotlb_top.errors import CannotError, Exit, UnreadableError
from swiotlb_top.events import Device, Event
from swiotlb_top.recorder import record
from swiotlb_top.reports.replay import replay
from swiotlb_top.state import MemState
from swiotlb_top.stream import Records
from swiotlb_top.trace import Item, TraceReader
from swiotlb_top.trace import format as layout
from swiotlb_top.trace.files import Limit
from swiotlb_top.trace.partial_file import PartialFile
from tests.support.sound_session import SETTING, SoundSession, recorded_from

KILLED: Final = 100
FULL: Final = 20
SECONDS: Final = 2.0
NAME: Final = "a.swtrace"
HALF_A_SECOND_NS: Final = 500_000_000


def record_into(directory: Path) -> None:
    with recorded_from(SoundSession(1)):
        record(directory / NAME, SECONDS, ())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is recorded where nothing goes wrong: always the same, byte by byte."""
    directory = tmp_path_factory.mktemp("whole")
    record_into(directory)
    return directory / NAME


def read(path: Path) -> tuple[list[Item], str]:
    """The items, and why there are no more."""
    items: list[Item] = []
    try:
        items.extend(TraceReader(path))
    except UnreadableError as error:
        return items, str(error)
    return items, ""


def frames_before(size_bytes: int, content: bytes) -> int:
    """How many frames are whole in the first bytes of a recording."""
    count, end = 0, layout.PREAMBLE.size
    while True:
        _, length, _ = layout.FRAME.unpack_from(content, end)
        end += layout.FRAME.size + length
        if end > size_bytes:
            return count
        count += 1


def is_what_there_was(partial: Path, whole: Path) -> None:
    """It is the beginning of the whole, every frame in it is read, and it is said that it is cut short."""
    content = partial.read_bytes()
    assert whole.read_bytes().startswith(content)
    items, damage = read(partial)
    assert items == [*TraceReader(whole)][: frames_before(len(content), whole.read_bytes())]
    assert f"{partial} is truncated at byte {len(content)}: " in damage


def killed_at(size_bytes: int, directory: Path) -> None:
    """Record in a process that is killed in the middle of the write that would make the file larger than that."""
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        return
    write = PartialFile.write
    written = 0

    def write_and_die(self: PartialFile, data: bytes) -> None:
        nonlocal written
        write(self, data[: size_bytes - written])
        written += len(data)
        if written > size_bytes:
            os.kill(os.getpid(), signal.SIGKILL)

    with suppress(BaseException):
        PartialFile.write = write_and_die  # type: ignore[method-assign]
        record_into(directory)
    os._exit(0)


def test_a_recording_is_the_same_each_time(whole: Path, tmp_path: Path) -> None:
    """Which the tests below rely on."""
    record_into(tmp_path)
    assert (tmp_path / NAME).read_bytes() == whole.read_bytes()


def test_a_recorder_killed_at_any_byte_leaves_every_frame_before_it(whole: Path, tmp_path: Path) -> None:
    random = Random(1)  # noqa: S311
    for _ in range(KILLED):
        size_bytes = random.randrange(1, whole.stat().st_size)
        killed_at(size_bytes, tmp_path)
        partial = tmp_path / f"{NAME}.partial"
        assert partial.stat().st_size == size_bytes
        is_what_there_was(partial, whole)
        partial.unlink()


@contextmanager
def disk_full_at(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond ``size_bytes``: what the kernel says then is what a full disk says, but for the word."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_where_the_disk_is_full_all_before_is_there_and_that_is_said(whole: Path, tmp_path: Path) -> None:
    random = Random(2)  # noqa: S311
    content = whole.read_bytes()
    header_bytes = next(size_bytes for size_bytes in range(len(content)) if frames_before(size_bytes, content))
    for _ in range(FULL):
        size_bytes = random.randrange(header_bytes, whole.stat().st_size)
        with disk_full_at(size_bytes), pytest.raises(CannotError, match=rf"cannot write .*{NAME}\.partial: ") as said:
            record_into(tmp_path)
        assert said.value.exit_code == Exit.CANNOT
        assert str(said.value).endswith("; what it holds so far can be read")
        partial = tmp_path / f"{NAME}.partial"
        assert partial.stat().st_size == size_bytes
        is_what_there_was(partial, whole)
        partial.unlink()


def test_of_several_files_those_before_stay_whole_where_the_disk_is_full(tmp_path: Path) -> None:
    """The third one is the first that finds no room."""

    def fill(look: int) -> None:
        if (tmp_path / "a.000003.swtrace.partial").exists():
            resource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))

    with (
        disk_full_at(resource.RLIM_INFINITY),
        recorded_from(SoundSession(1, looked=fill)),
        pytest.raises(CannotError, match=r"cannot write .*a\.000003\.swtrace\.partial: "),
    ):
        record(tmp_path / NAME, 60.0, (), limit=Limit(8000))
    first, second, third = sorted(tmp_path.iterdir())
    assert [replay(path, SETTING.revision).exit_code for path in (first, second)] == [Exit.OK, Exit.OK]
    assert replay(third, SETTING.revision).exit_code == Exit.UNREADABLE
    assert replay(third, SETTING.revision).findings.compared > 0


@pytest.mark.parametrize("limit", [None, Limit(8000)], ids=["one file", "several files"])
def test_whenever_it_is_killed_at_most_half_a_second_is_lost(limit: Limit | None, tmp_path: Path) -> None:
    """Each look at the ring comes when the file is as old as it gets. A grace period is a tenth of a second here."""
    lost_ns: list[int] = []

    def look(_: int) -> None:
        in_files = [item for path in tmp_path.iterdir() for item in read(path)[0]]
        begin_ns = next((item.begin_ns for item in in_files if isinstance(item, MemState)), None)
        if begin_ns is None:
            return
        written = {event for item in in_files if isinstance(item, Records) for event in item.events()}
        missing = {*calls_since(begin_ns)} - written
        lost_ns.append(session.now_ns() - min((event.exit_ns for event in missing), default=session.now_ns()))

    def calls_since(begin_ns: int) -> list[Event]:
        return [event for event in session.happened() if event.exit_ns >= begin_ns and not isinstance(event, Device)]

    session = SoundSession(1, grace_s=0.1, looked=look)
    with recorded_from(session):
        record(tmp_path / NAME, 5.0, (), limit=limit)
    assert len(lost_ns) > 20
    assert 0 < max(lost_ns) < HALF_A_SECOND_NS
