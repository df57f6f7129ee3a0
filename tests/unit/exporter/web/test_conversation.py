"""HTTP/1.1 as it is spoken: connections that stay, clients that are slow, many or odd, and what each is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import repeat
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric

from swiotlb_exporter.web.conversation import Limits
from tests.support.credentials import Authority, authority, tls, written
from tests.support.prometheus import eventually
from tests.support.served import DEADLINE_S, serving

__all__ = ["authority"]

SOON_S = 0.2
"""As long as a test's exporter waits for what never comes."""
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


class Line:
    """A connection on which a test says bytes, and reads answers."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self.socket = socket.create_connection((where.hostname or "", where.port or 0), DEADLINE_S)
        self.file = self.socket.makefile("rb")

    def say(self, said: bytes) -> None:
        self.socket.sendall(said)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer; status 0 where there is none any more."""
        try:
            first = self.file.readline()
            if not first:
                return 0, {}, b""
            headers = dict(line.decode().rstrip("\r\n").split(": ", 1) for line in iter(self.file.readline, b"\r\n"))
            return int(first.split()[1]), headers, self.file.read(int(headers["Content-Length"]))
        except ConnectionError:
            return 0, {}, b""

    def ends(self) -> bool:
        """Whether the exporter closes it, which it is waited for."""
        return self.answer()[0] == 0


@contextmanager
def lines(
    count: int = 1, limits: Limits | None = None, registry: CollectorRegistry | None = None
) -> Iterator[tuple[str, list[Line]]]:
    with serving(registry, limits=limits) as url, ExitStack() as stack:
        made = [Line(url) for _ in range(count)]
        for line in made:
            stack.callback(line.socket.close)
            stack.callback(line.file.close)
        yield url, made


def test_one_connection_takes_request_after_request() -> None:
    with lines() as (_, (line,)):
        for _ in range(5):
            line.say(GET)
            status, headers, body = line.answer()
            assert (status, headers["Connection"], body) == (200, "keep-alive", b"ok\n")


def test_requests_that_come_together_are_answered_in_their_order() -> None:
    with lines() as (_, (line,)):
        line.say(GET + GET.replace(b"/healthz", b"/nothing") + GET)
        assert [line.answer()[0] for _ in range(3)] == [200, 404, 200]


def test_whoever_wants_no_more_is_answered_and_let_go() -> None:
    with lines() as (_, (line,)):
        line.say(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert line.answer()[:2][1]["Connection"] == "close"
        assert line.ends()


@pytest.mark.parametrize(("asks", "stays"), [(b"", False), (b"Connection: keep-alive\r\n", True)])
def test_an_older_client_is_let_go_unless_it_asks(asks: bytes, stays: bool) -> None:
    with lines() as (_, (line,)):
        line.say(b"GET /healthz HTTP/1.0\r\n" + asks + b"\r\n")
        assert line.answer()[0] == 200
        line.say(GET)
        assert line.answer()[0] == (200 if stays else 0)


def test_the_head_says_how_long_the_page_is_and_the_next_answer_follows_at_once() -> None:
    with lines() as (_, (line,)):
        line.say(GET.replace(b"GET", b"HEAD") + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        first, second, body = line.file.read().split(b"\r\n\r\n")
        assert body == b"ok\n"
        for head in (first, second):
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nContent-Length: 3\r\n" in head


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 40\r\n\r\n" + GET, 405),
        (b"BREW / HTTP/1.1\r\n\r\n", 405),
        (b"GET /healthz HTTP/1.1\r\nContent-Length: 40\r\n\r\n" + GET, 200),
        (b"GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET, 200),
        (b"GET /healthz HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", 200),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /healthz HTTP/x\r\n\r\n", 400),
        (b"GET /healthz HTTP/2.0\r\n\r\n", 505),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_what_is_odd_is_answered_once_and_what_follows_is_no_request(said: bytes, status: int) -> None:
    with lines() as (_, (line,)):
        line.say(said)
        found, headers, _ = line.answer()
        assert (found, headers["Connection"], headers["Server"]) == (status, "close", "swiotlb-top")
        assert line.ends()


def test_an_answer_is_not_taken_back_though_more_is_sent_than_is_wanted() -> None:
    with lines() as (_, (line,)):
        line.say(b"POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000)
        assert line.answer()[0] == 405
        assert line.file.read() == b""
        for _ in range(100):
            line.say(b"x" * 1000)


PIECES = (
    b"GET",
    b"HEAD",
    b" ",
    b"/healthz",
    b"/metrics?name[]=x",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"Content-Length: 7",
    b"Content-Length: -1",
    b"Transfer-Encoding: chunked",
    b"Connection: keep-alive",
    b"Expect: 100-continue",
    b"Authorization: Basic eDp4",
    b":",
    b"\0",
    b"\xff",
)


@given(said=st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=30).map(b"".join))
def test_whatever_is_said_it_is_answered_or_not_and_the_next_client_is_served(door: str, said: bytes) -> None:
    for words, hears in ((said, False), (GET, True)):
        line = Line(door)
        try:
            line.say(words)
            line.socket.shutdown(socket.SHUT_WR)
            heard = line.file.read()
        except ConnectionError:
            heard = b""
        finally:
            line.file.close()
            line.socket.close()
        assert heard.startswith(b"HTTP/1.1 200 OK\r\n") if hears else heard[:9] in (b"", b"HTTP/1.1 ")
        assert b" 500 " not in heard.partition(b"\r\n")[0]


@pytest.fixture(scope="module")
def door() -> Iterator[str]:
    with serving() as url:
        yield url


def test_an_address_that_is_none_is_a_bad_request() -> None:
    with lines() as (_, (line,)):
        line.say(b"GET http://[ HTTP/1.1\r\n\r\n")
        assert line.answer()[0] == 400


def test_a_page_is_found_by_its_whole_address_too() -> None:
    with lines() as (_, (line,)):
        line.say(b"GET http://node:9788/health%7A?x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert line.answer()[2] == b"ok\n"


def test_a_page_that_cannot_be_made_is_said_and_the_connection_stays(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(CollectorRegistry):
        def collect(self) -> Iterator[Metric]:
            raise RuntimeError("torn")

    with lines(registry=Broken()) as (_, (line,)):
        line.say(GET.replace(b"/healthz", b"/metrics") + GET)
        assert [line.answer()[0] for _ in range(2)] == [500, 200]
    assert [record.getMessage() for record in caplog.records] == ["/metrics cannot be shown: RuntimeError: torn"]


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


def end_within(line: Line, patience_s: float) -> bool:
    line.socket.settimeout(patience_s)
    try:
        return line.socket.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    finally:
        line.socket.settimeout(DEADLINE_S)


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
        line.file.close()
        line.socket.close()


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
        newcomer.file.close()
        newcomer.socket.close()
        registry.may_end.set()
        assert [line.answer()[0] for line in here] == [200, 200]


def test_many_who_only_connect_keep_nobody_out() -> None:
    with lines(50, Limits(connections=10)) as (url, _):
        scraper = Line(url)
        scraper.say(GET)
        assert scraper.answer()[0] == 200
        scraper.file.close()
        scraper.socket.close()


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
        line.file.close()
        line.socket.close()
        line = Line(url)
        line.say(GET)
        assert line.answer()[0] == 200
        line.file.close()
        line.socket.close()
    assert [record.getMessage() for record in caplog.records] == [
        "a connection cannot be answered: can't start new thread"
    ]


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
    line.file.close()
    line.socket.close()
