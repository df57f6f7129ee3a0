"""/dev/kmsg: a record a read, nothing waited for, and what was overwritten is counted."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel_log import kmsg
from swiotlb_top.kernel_log.kmsg import KMSG, Kmsg, parse
from tests.support.logs import FULL


class Ring:
    """Stands in for the kernel's: each datagram is a record, and nothing to read is EAGAIN."""

    def __init__(self) -> None:
        ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        self.log = Kmsg(ours.detach())

    def print(self, sequence: int, message: str, seconds: int = 5, priority: int = 4) -> None:
        self._theirs.send(
            f"{priority},{sequence},{seconds * 1_000_000},-;{message}\n SUBSYSTEM=pci\n DEVICE=+pci:x\n".encode()
        )

    def close(self) -> None:
        self.log.close()
        self._theirs.close()


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = Ring()
    yield made
    made.close()


def test_what_is_there_is_read_and_nothing_is_waited_for(ring: Ring) -> None:
    ring.print(0, "Linux version")
    ring.print(1, FULL)
    assert [record.sequence for record in ring.log.records()] == [0, 1]
    assert list(ring.log.records()) == []
    ring.print(2, FULL)
    assert [record.microseconds for record in ring.log.records()] == [5_000_000]
    assert ring.log.missing == ""


def test_the_dictionary_of_a_record_is_no_part_of_its_message(ring: Ring) -> None:
    ring.print(0, FULL)
    found, lines, missing = ring.log.to_the_end()
    assert (found.failed_maps, lines, missing) == (1, 1, "")
    assert found.groups[0].text == FULL
    assert found.groups[0].last_seconds == 5.0


def test_what_a_program_has_written_into_it_is_not_the_kernels(ring: Ring) -> None:
    ring.print(0, FULL, priority=12)
    ring.print(1, FULL, priority=3)
    assert [record.sequence for record in ring.log.records()] == [1]
    assert ring.log.lost == 0


def test_records_that_were_overwritten_are_counted(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    ring.print(7, FULL)
    list(ring.log.records())
    assert ring.log.lost == 7
    reads = iter([OSError(errno.EPIPE, "Broken pipe")])
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        for error in reads:
            raise error
        return real(descriptor, size)

    monkeypatch.setattr(os, "read", read)
    ring.print(10, FULL)
    assert [record.sequence for record in ring.log.records()] == [10]
    assert ring.log.lost == 9
    assert "9 records were overwritten" in ring.log.missing


def test_a_log_that_is_written_as_fast_as_it_is_read_has_an_end(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmsg, "MOST_AT_ONCE", 3)
    for sequence in range(5):
        ring.print(sequence, FULL)
    assert len(list(ring.log.records())) == 3
    assert len(list(ring.log.records())) == 2


def test_a_log_that_fails_later_is_said_to(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int, size: int) -> bytes:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "read", fail)
    with pytest.raises(CannotError, match="Operation not permitted"):
        list(ring.log.records())


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (PermissionError(errno.EPERM, "Operation not permitted"), "CAP_SYSLOG"),
        (PermissionError(errno.EACCES, "Permission denied"), "CAP_SYSLOG"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "container"),
    ],
)
def test_who_may_not_read_it_is_told_what_to_do(error: OSError, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, flags: int) -> int:
        raise error

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CannotError, match=step):
        Kmsg.open()


@pytest.mark.parametrize("other", ["/dev/null", "/dev/zero", __file__])
def test_another_file_under_its_name_is_not_taken_for_it(other: str) -> None:
    with pytest.raises(CannotError, match="is not the kernel's log here"):
        Kmsg.open(Path(other))


@pytest.mark.skipif(not os.access(KMSG, os.R_OK), reason="this machine's log cannot be read")
def test_this_machines_own_log_can_be_read() -> None:
    with Kmsg.open() as log:
        assert log.to_the_end().lines > 0


@given(st.binary(max_size=100))
def test_any_bytes_are_a_record_or_none(raw: bytes) -> None:
    record = parse(raw)
    assert record is None or record.sequence >= 0


@pytest.mark.parametrize("raw", [b"", b"\n", b"4,1", b"4,x,5,-;text", b"4,1,\xc2\xb2,-;text"])
def test_what_is_no_record_is_passed_over(raw: bytes) -> None:
    assert parse(raw) is None
