"""How long a client is waited for that is slow, and what is done where there are many."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Metric

from swiotlb_exporter.web.conversation import Limits
from swiotlb_exporter.web.guard import Guard
from tests.support.credentials import Authority, authority, tls, written
from tests.support.line import GET, SOON_S, Line, end_within, lines
from tests.support.prometheus import eventually
from tests.support.served import DEADLINE_S, on_loopback, serving

__all__ = ["authority"]


def drips(said: bytes, line: Line) -> bool:
    """Say a byte at a time, more often than anybody waits, until the exporter has had enough or all is said."""
    for byte in said:
        try:
            line.socket.send(bytes((byte,)))
        except ConnectionError:
            return True
        if end_within(line, SOON_S / 10):
            return True
    return False


ENDLESS = b"GET /healthz HTTP/1.1\r\n" + b"X-Drip: x\r\n" * 10_000


def test_a_request_that_comes_byte_by_byte_is_not_waited_for() -> None:
    with lines(limits=Limits(head_s=SOON_S)) as (_, (line,)):
        assert drips(ENDLESS, line)


@contextmanager
def answered(limits: Limits) -> Iterator[Line]:
    """A connection that has had an answer, though a test may be slower than its exporter waits."""
    with serving(limits=limits) as url, ExitStack() as stack:
        while True:
            line = Line(url)
            stack.callback(line.socket.close)
            stack.callback(line.file.close)
            with suppress(ConnectionError):
                line.say(GET)
                if line.answer()[0] == 200:
                    yield line
                    return


def test_nor_is_one_after_another_that_came_well() -> None:
    with answered(Limits(head_s=SOON_S)) as line:
        assert drips(ENDLESS, line)


def test_nor_is_a_handshake(authority: Authority, tmp_path: Path) -> None:
    config = written(tmp_path, tls(authority))
    with serving(config=config, limits=Limits(head_s=SOON_S)) as url:
        line = Line(url)
        # A record of TLS that holds 16 KiB of a handshake.
        assert drips(b"\x16\x03\x01\x40\x00" + b"\x01" + b"\x00" * 10_000, line)
        line.close()


def test_a_client_that_says_nothing_is_let_go() -> None:
    with lines(limits=Limits(head_s=SOON_S)) as (_, (line,)):
        assert line.ends()


def test_so_is_one_that_says_nothing_more() -> None:
    with answered(Limits(idle_s=SOON_S)) as line:
        assert line.ends()


def test_who_is_idle_for_less_than_the_limit_stays() -> None:
    with answered(Limits(head_s=SOON_S, idle_s=DEADLINE_S)) as line:
        threading.Event().wait(2 * SOON_S)
        line.say(GET)
        assert line.answer()[0] == 200


class Large(CollectorRegistry):
    """A page that no buffer of a socket holds."""

    def collect(self) -> Iterator[Metric]:
        large = Metric("large", "x" * (64 << 20), "gauge")
        large.add_sample("large", {}, 1.0)
        yield large


def test_who_takes_an_answer_too_slowly_is_let_go() -> None:
    with lines(limits=Limits(send_s=SOON_S), registry=Large()) as (_, (line,)):
        line.say(GET.replace(b"/healthz", b"/metrics"))
        got = 0
        for _ in repeat(None):
            threading.Event().wait(SOON_S / 100)
            try:
                if not (some := line.socket.recv(4096)):
                    break
            except ConnectionError:
                break
            got += len(some)
        assert got < 64 << 20


def test_where_one_more_comes_than_there_may_be_one_that_is_idle_goes() -> None:
    with lines(3, Limits(connections=3)) as (url, here), ExitStack() as stack:
        for line in here:
            line.say(GET)
            assert line.answer()[0] == 200

        def let_in() -> bool:
            # An answer arrives a little before its connection counts as idle.
            another = Line(url)
            stack.callback(another.socket.close)
            stack.callback(another.file.close)
            another.say(GET)
            return another.answer()[0] == 200

        eventually(let_in)
        gone = [line for line in here if end_within(line, SOON_S)]
        assert len(gone) == 1
        for line in here:
            if line not in gone:
                line.say(GET)
                assert line.answer()[0] == 200


class Slow(CollectorRegistry):
    """A page that is made when it may be."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may_end = threading.Semaphore(0), threading.Event()

    def collect(self) -> Iterator[Metric]:
        self.begun.release()
        assert self.may_end.wait(DEADLINE_S)
        return iter(())


def test_who_is_being_answered_does_not_go_and_who_comes_then_is_not_let_in() -> None:
    registry = Slow()
    with lines(2, Limits(connections=2), registry) as (url, here):
        for line in here:
            line.say(GET.replace(b"/healthz", b"/metrics"))
            assert registry.begun.acquire(timeout=DEADLINE_S)
        newcomer = Line(url)
        assert newcomer.ends()
        newcomer.close()
        registry.may_end.set()
        assert [line.answer()[0] for line in here] == [200, 200]


def test_many_who_take_no_answer_keep_nobody_out() -> None:
    with lines(2, Limits(connections=2), Large()) as (url, here):
        for line in here:
            line.say(GET.replace(b"/healthz", b"/metrics"))
            assert line.file.readline() == b"HTTP/1.1 200 OK\r\n"
        scraper = Line(url)
        scraper.say(GET)
        assert scraper.answer()[0] == 200
        scraper.close()


def test_however_many_ask_for_metrics_a_few_pages_are_made_at_once() -> None:
    registry = Slow()
    with lines(10, registry=registry) as (url, here):
        for line in here:
            line.say(GET.replace(b"/healthz", b"/metrics"))
        for _ in range(4):
            assert registry.begun.acquire(timeout=DEADLINE_S)
        assert not registry.begun.acquire(timeout=SOON_S)
        another = Line(url)
        another.say(GET)
        assert another.answer()[0] == 200, "and other pages do not wait for them"
        another.close()
        registry.may_end.set()
        assert [line.answer()[0] for line in here] == [200] * 10


def test_many_who_only_connect_keep_nobody_out() -> None:
    with lines(50, Limits(connections=10)) as (url, _):
        scraper = Line(url)
        scraper.say(GET)
        assert scraper.answer()[0] == 200
        scraper.close()


def test_where_there_is_no_thread_for_a_client_it_is_let_go_and_the_next_is_served(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start: Callable[[threading.Thread], None] = threading.Thread.start
    with serving(limits=Limits(connections=1)) as url:

        def none_left(thread: threading.Thread) -> None:
            if thread.name == "client":
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", none_left)
        line = Line(url)
        assert line.ends()
        monkeypatch.undo()
        line.close()
        line = Line(url)
        line.say(GET)
        assert line.answer()[0] == 200
        line.close()
    assert [record.getMessage() for record in caplog.records] == [
        "a connection cannot be answered: can't start new thread"
    ]


class Short(socket.socket):
    """A listener for which there is no file descriptor, a few times each time that somebody comes."""

    def __init__(self, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self.left = 3

    def accept(self) -> tuple[socket.socket, Any]:
        if self.left:
            self.left -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        self.left = 3
        return super().accept()


def test_where_there_is_no_descriptor_it_is_said_once_and_who_waits_is_served_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(listening=lambda: Short(on_loopback().detach())) as url:
        for _ in range(2):
            line = Line(url)
            line.say(GET)
            assert line.answer()[0] == 200
            line.close()
    said = "a connection cannot be accepted: Too many open files"
    assert [record.getMessage() for record in caplog.records] == [said, said], "once for each time that it was so"


def test_a_fault_of_the_exporters_own_ends_one_connection_with_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(guard: Guard) -> None:
        raise RuntimeError("torn")

    with serving() as url:
        monkeypatch.setattr(Guard, "secured", broken)
        line = Line(url)
        assert line.ends()
        monkeypatch.undo()
        line.close()
        line = Line(url)
        line.say(GET)
        assert line.answer()[0] == 200
        line.close()
    (record,) = caplog.records
    assert record.getMessage().endswith(" cannot be answered: RuntimeError: torn")


def test_every_connection_ends_with_the_exporter() -> None:
    with lines() as (_, (line,)):
        line.say(GET)
        assert line.answer()[0] == 200
        with serving():
            pass
        assert not end_within(line, SOON_S / 10)
    with serving() as url:
        line = Line(url)
        line.say(GET)
        assert line.answer()[0] == 200
    assert line.ends()
    line.close()
