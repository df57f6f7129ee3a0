"""HTTP/1.1 as it is spoken: connections that stay, clients that are odd, and what each is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric

from tests.support.line import GET, Line, lines
from tests.support.served import serving


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
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n" + GET, 405),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n" + GET, 200),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n" + GET, 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length : 40\r\n\r\n" + GET, 400),
        (b"GET /healthz HTTP/1.1\r\n\r\n" + GET, 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET, 200),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", 200),
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
        line.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000)
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
    b"Host: x",
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
            line.close()
        assert heard.startswith(b"HTTP/1.1 200 OK\r\n") if hears else heard[:9] in (b"", b"HTTP/1.1 ")
        assert b" 500 " not in heard.partition(b"\r\n")[0]


@pytest.fixture(scope="module")
def door() -> Iterator[str]:
    with serving() as url:
        yield url


def test_an_address_that_is_none_is_a_bad_request() -> None:
    with lines() as (_, (line,)):
        line.say(b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n")
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
