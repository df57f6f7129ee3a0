"""Which heads are requests: those that nobody reads in two ways."""

from __future__ import annotations

import io
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_exporter.web.heads import BadHeadError, Head, read

FIRST = b"GET /metrics?x HTTP/1.1\r\n"
HOST = b"Host: node\r\n"


def head(*fields: bytes, first: bytes = FIRST, host: bytes = HOST) -> Head:
    found = read(io.BytesIO(b"".join((first, host, *fields, b"\r\n"))))
    assert found is not None
    return found


def status(*fields: bytes, first: bytes = FIRST, host: bytes = HOST) -> HTTPStatus:
    """What whoever says this is told."""
    with pytest.raises(BadHeadError) as refusal:
        head(*fields, first=first, host=host)
    return refusal.value.status


def test_a_head_says_what_is_asked_for_and_how() -> None:
    found = head(b"accept:text/plain\r\n", b"X-Empty:\r\n", b"ACCEPT: \t*/* \r\n", b"X-Name: \xfc\r\n")
    assert (found.method, found.target, found.version, found.stays) == ("GET", "/metrics?x", "HTTP/1.1", True)
    assert found.headers == {"Host": "node", "Accept": "text/plain, */*", "X-Empty": "", "X-Name": "ü"}


def test_the_next_one_follows_it() -> None:
    lines = io.BytesIO(2 * (FIRST + HOST + b"\r\n"))
    assert read(lines) == read(lines) == head()
    assert read(lines) is None


@pytest.mark.parametrize("end", range(len(FIRST + HOST) + 2))
def test_the_beginning_of_one_is_none(end: int) -> None:
    assert read(io.BytesIO((FIRST + HOST + b"\r\n")[:end])) is None


@pytest.mark.parametrize(
    ("first", "wishes", "stays"),
    [
        (FIRST, b"", True),
        (FIRST, b"Connection: close\r\n", False),
        (FIRST, b"Connection: TE, Close\r\nTE: trailers\r\n", False),
        (FIRST, b"Connection: keep-alive\r\nConnection: close\r\n", False),
        (b"GET / HTTP/1.0\r\n", b"", False),
        (b"GET / HTTP/1.0\r\n", b"Connection: Keep-Alive\r\n", True),
        (b"GET / HTTP/1.0\r\n", b"Connection: keep-alive, close\r\n", False),
        (b"GET / HTTP/1.9\r\n", b"", True),
    ],
)
def test_who_wants_more_stays(first: bytes, wishes: bytes, stays: bool) -> None:
    assert head(wishes, first=first).stays == stays


@pytest.mark.parametrize(
    ("body", "stays"),
    [
        (b"Content-Length: 0\r\n", True),
        (b"Content-Length: 000\r\n", True),
        (b"Content-Length: 1\r\n", False),
        (b"content-length:40\r\n", False),
        (b"Transfer-Encoding: chunked\r\n", False),
        (b"transfer-encoding: x\r\n", False),
    ],
)
def test_where_a_body_follows_no_other_request_does(body: bytes, stays: bool) -> None:
    assert head(body).stays == stays


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 0\r\nContent-Length: 40\r\n",
        b"Content-Length: 40\r\nContent-Length: 40\r\n",
        b"Content-Length: 0, 40\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: +0\r\n",
        b"Content-Length: 0x0\r\n",
        b"Content-Length: 1_0\r\n",
        b"Content-Length: \xb2\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length : 40\r\n",
        b"Transfer-Encoding\t: chunked\r\n",
        b"X: x\r\n Content-Length: 40\r\n",
        b"X: x\r\n\tgoes on\r\n",
        b" Content-Length: 40\r\n",
        b"X: x\nContent-Length: 40\r\n",
        b"X: x\rContent-Length: 40\r\n",
        b"X: x\0\r\n",
        b"X: x\x7f\r\n",
        b"no header\r\n",
        b": nameless\r\n",
        b"(x): y\r\n",
        b"From somebody Content-Length: 40\r\n",
        b"Host: another\r\n",
        b"X: x\n",
    ],
)
def test_what_two_may_read_in_two_ways_is_refused(fields: bytes) -> None:
    assert status(fields) is HTTPStatus.BAD_REQUEST


def test_whoever_speaks_http_1_1_names_the_host() -> None:
    assert status(host=b"") is HTTPStatus.BAD_REQUEST
    assert head(first=b"GET / HTTP/1.0\r\n", host=b"").headers == {}


@pytest.mark.parametrize(
    "first",
    [
        b"\r\n",
        b"nonsense\r\n",
        b"GET /\r\n",
        b"GET  / HTTP/1.1\r\n",
        b" GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1 \r\n",
        b"GET\t/ HTTP/1.1\r\n",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/x\r\n",
        b"GET / HTTP/1.10\r\n",
        b"GET / http/1.1\r\n",
        b"GET /\xff HTTP/1.1\r\n",
        b"GET /\0 HTTP/1.1\r\n",
        b"G(T / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n",
    ],
)
def test_what_does_not_begin_as_a_request_is_none(first: bytes) -> None:
    assert status(first=first) is HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3.0"])
def test_other_versions_are_not_spoken(version: bytes) -> None:
    assert status(first=b"GET / " + version + b"\r\n") is HTTPStatus.HTTP_VERSION_NOT_SUPPORTED


def test_there_are_so_many_headers_at_most() -> None:
    assert len(head(*(b"X-%d: x\r\n" % number for number in range(99))).headers) == 100
    assert status(*[b"X: x\r\n"] * 100) is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


PIECES = (FIRST, HOST, b"\r\n", b"\n", b"\r", b"Content-Length: 0\r\n", b"Content-Length", b": ", b"40", b" ", b"\xff")


@given(said=st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=20).map(b"".join))
def test_whatever_is_said_it_is_a_request_or_none_and_no_request_ends_elsewhere(said: bytes) -> None:
    lines = io.BytesIO(said)
    try:
        found = read(lines)
    except BadHeadError:
        return
    if found is not None:
        assert said[: lines.tell()].count(b"\r\n\r\n") == 1
        assert said[: lines.tell()].endswith(b"\r\n\r\n")
