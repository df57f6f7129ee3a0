"""Who is let in, how often, and with which headers; and what happens when the configuration changes."""

from __future__ import annotations

import http.client
import logging
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import bcrypt
import pytest

import swiotlb_top
from swiotlb_exporter.web import web_config
from swiotlb_exporter.web.guard import Guard
from swiotlb_exporter.web.messages import Request
from tests.support.credentials import (
    KNOWN,
    PASSWORD,
    USERS,
    Authority,
    authority,
    certify,
    login,
    status,
    tls,
    written,
)
from tests.support.prometheus import eventually
from tests.support.served import DEADLINE_S, serving

__all__ = ["authority"]

LONG = "1000h"
"""Nobody waits for the next token of a bucket."""


@contextmanager
def connected(url: str, authority: Authority | None = None) -> Iterator[http.client.HTTPConnection]:
    """A connection that stays; over TLS for whom an authority is given."""
    where = urlsplit(url)
    if authority:
        made: http.client.HTTPConnection = http.client.HTTPSConnection(
            where.netloc, timeout=DEADLINE_S, context=authority.context()
        )
    else:
        made = http.client.HTTPConnection(where.netloc, timeout=DEADLINE_S)
    with closing(made):
        yield made


def asked(
    client: http.client.HTTPConnection, page: str, authorization: str = ""
) -> tuple[int, http.client.HTTPMessage, bytes]:
    client.request("GET", page, headers={"Authorization": authorization} if authorization else {})
    answer = client.getresponse()
    return answer.status, answer.headers, answer.read()


def test_a_user_with_the_right_password_is_let_in_and_nobody_else(tmp_path: Path) -> None:
    with serving(config=written(tmp_path, USERS)) as url:
        page = f"{url}/metrics"
        assert status(page, authorization=KNOWN) == 200
        assert status(page, authorization=KNOWN) == 200, "what is remembered of a login"
        assert status(page) == 401
        assert status(page, authorization=login("prometheus", "wrong")) == 401
        assert status(page, authorization=login("prometheus", "x" * 100)) == 401
        assert status(page, authorization=login("somebody", PASSWORD)) == 401
        assert status(page, authorization=login("", "")) == 401


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Basic /w==", "Bearer abc", "Basic Og==", "basic"])
def test_a_header_that_is_no_login_is_refused(header: str, tmp_path: Path) -> None:
    with serving(config=written(tmp_path, USERS)) as url:
        assert status(f"{url}/metrics", authorization=header) == 401


def test_a_stranger_learns_neither_a_version_nor_which_pages_there_are(tmp_path: Path) -> None:
    with serving(config=written(tmp_path, USERS)) as url, connected(url) as client:
        told = {page: asked(client, page) for page in ("/", "/metrics", "/nothing", "/healthz", "/livez", "/alerts.md")}
        assert {page: code for page, (code, _, _) in told.items()} == {
            "/": 401,
            "/metrics": 401,
            "/nothing": 401,
            "/healthz": 200,
            "/livez": 200,
            "/alerts.md": 200,
        }
        for _, headers, body in told.values():
            said = f"{headers}{body.decode()}"
            assert "6.12" not in said
            assert swiotlb_top.__version__ not in said
            assert "Python" not in said
        assert b"6.12.1-secret" in asked(client, "/", KNOWN)[2]
        assert asked(client, "/nothing", KNOWN)[0] == 404


def test_whoever_asks_too_often_is_told_so_before_anything_is_looked_at(tmp_path: Path) -> None:
    config = written(tmp_path, f"{USERS}rate_limit: {{interval: {LONG}, burst: 3}}\n")
    with serving(config=config) as url, connected(url) as client:
        codes = [asked(client, "/metrics", header)[0] for header in (KNOWN, "", KNOWN, KNOWN, "")]
        assert codes == [200, 401, 200, 429, 429]
        code, headers, body = asked(client, "/")
        assert (code, headers["Retry-After"], body) == (429, str(1000 * 3600), b"too many requests\n")


def test_the_health_pages_take_none_of_the_requests_that_there_may_be(tmp_path: Path) -> None:
    config = written(tmp_path, f"rate_limit: {{interval: {LONG}, burst: 1}}\n")
    with serving(config=config) as url, connected(url) as client:
        assert [asked(client, page)[0] for page in ("/healthz", "/livez", "/metrics", "/metrics", "/healthz")] == [
            200,
            200,
            200,
            429,
            200,
        ]


def test_a_new_limit_begins_anew_and_the_same_goes_on(tmp_path: Path) -> None:
    limit = "rate_limit: {interval: %s, burst: %d}\n"
    path = written(tmp_path, limit % (LONG, 1))
    with serving(config=path) as url, connected(url) as client:
        assert [asked(client, "/metrics")[0] for _ in range(2)] == [200, 429]
        path.write_text(limit % (LONG, 1) + "http_server_config: {headers: {X-Frame-Options: deny}}\n")
        assert asked(client, "/metrics")[0] == 429
        path.write_text(limit % (LONG, 2))
        assert [asked(client, "/metrics")[0] for _ in range(3)] == [200, 200, 429]


def test_each_answer_has_the_headers_of_the_configuration(tmp_path: Path) -> None:
    headers = {
        "Content-Security-Policy": "default-src 'none'",
        "X-Frame-Options": "deny",
        "X-Content-Type-Options": "nosniff",
        "X-XSS-Protection": "1; mode=block",
        "Strict-Transport-Security": "max-age=31536000",
    }
    lines = "".join(f'    {name}: "{value}"\n' for name, value in headers.items())
    config = written(tmp_path, f"{USERS}http_server_config:\n  headers:\n{lines}")
    with serving(config=config) as url, connected(url) as client:
        for page, authorization in (("/", KNOWN), ("/metrics", KNOWN), ("/metrics", ""), ("/healthz", "")):
            _, told, _ = asked(client, page, authorization)
            assert {name: told[name] for name in headers} == headers


def test_who_was_let_in_by_older_certificates_shakes_hands_anew(authority: Authority, tmp_path: Path) -> None:
    for name in ("server.pem", "server.key"):
        shutil.copy(authority.directory / name, tmp_path)
    path = written(tmp_path, "tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
    with serving(config=path) as url, connected(url, authority) as client:
        assert [asked(client, "/metrics")[0] for _ in range(2)] == [200, 200]
        certify(tmp_path, "server", "server")
        with pytest.raises(http.client.RemoteDisconnected):
            asked(client, "/metrics")


def test_a_change_that_cannot_be_read_leaves_things_as_they_were_and_is_said_once(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, tls(authority) + USERS)
    with serving(config=path) as url:
        path.write_text("tls_server_config: {")
        for _ in range(3):
            assert status(f"{url}/metrics", authority.context()) == 401
        assert status(f"{url}/metrics", authority.context(), KNOWN) == 200
    (said,) = warnings(caplog)
    assert "what was in force stays" in said


def test_what_a_change_lacked_is_taken_as_soon_as_it_is_there(authority: Authority, tmp_path: Path) -> None:
    path = written(tmp_path, tls(authority))
    with serving(config=path) as url:
        path.write_text(tls(authority, client_ca_file="late.pem", client_auth_type="RequireAndVerifyClientCert"))
        assert status(f"{url}/metrics", authority.context()) == 200
        shutil.copy(authority.directory / "ca.pem", tmp_path / "late.pem")
        guest, stranger = authority.context("client"), authority.context()

        def is_refused() -> bool:
            try:
                return status(f"{url}/metrics", stranger) != 200
            except OSError:
                return True

        eventually(is_refused)
        assert status(f"{url}/metrics", guest) == 200


def test_what_is_written_while_it_is_read_is_read_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, USERS)
    read = web_config.read

    def slowly(path: Path) -> web_config.WebConfig:
        found = read(path)
        monkeypatch.undo()
        path.write_text("")
        return found

    monkeypatch.setattr(web_config, "read", slowly)
    guard = Guard(path)
    assert told(guard, "") == 401
    guard.secured()
    assert told(guard, "") == 200


def test_the_same_fault_met_in_two_steps_is_said_once(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("server.pem", "server.key"):
        shutil.copy(authority.directory / name, tmp_path)
    path = written(tmp_path, "tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
    with serving(config=path) as url:
        for name in ("server.pem", "server.key"):
            (tmp_path / name).write_text("torn")
            assert status(f"{url}/metrics", authority.context()) == 200
    assert len(warnings(caplog)) == 1


def test_tls_is_not_turned_off_by_a_change(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, tls(authority))
    with serving(config=path) as url:
        path.write_text("")
        assert status(f"{url}/metrics", authority.context()) == 200
    assert warnings(caplog) == [f"{path}: TLS is turned on or off by a restart only; what was in force stays"]


def test_what_does_less_than_one_may_think_is_said(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Guard(written(tmp_path, tls(authority, cipher_suites="[TLS_AES_128_GCM_SHA256]")))
    (said,) = warnings(caplog)
    assert "cipher_suites: TLS_AES_128_GCM_SHA256: TLS 1.3 has the others, too" in said


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def told(guard: Guard, authorization: str, client: str = "") -> int:
    """The status of what somebody is told; 200: nothing stands in the way."""
    refusal = guard.refusal(Request(headers={"Authorization": authorization}, client=client))
    return refusal.status if refusal else 200


class Trials:
    """In place of bcrypt: wrong passwords are looked at until a test says that it is enough."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.enough = threading.Semaphore(0), threading.Event()
        self.at_once: list[int] = []
        self._now = 0
        monkeypatch.setattr(bcrypt, "checkpw", self._check)

    def _check(self, password: bytes, hashed: bytes) -> bool:
        self._now += 1
        self.at_once.append(self._now)
        self.begun.release()
        assert self.enough.wait(DEADLINE_S)
        self._now -= 1
        return False


def test_who_shows_no_login_costs_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard(written(tmp_path, USERS))
    trials = Trials(monkeypatch)
    assert [told(guard, shown) for shown in ("", "Basic", "Basic !", "Bearer x", "Basic bm8gY29sb24=")] == [401] * 5
    assert trials.at_once == []


@pytest.mark.parametrize("cost", ["04", "10", "12"])
def test_a_name_that_is_not_known_takes_as_long_as_one_that_is(
    cost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(written(tmp_path, USERS.replace("$04$", f"${cost}$")))
    looked_at: list[bytes] = []
    monkeypatch.setattr(bcrypt, "checkpw", lambda password, hashed: looked_at.append(hashed))
    for name in ("prometheus", "nobody"):
        assert told(guard, login(name, "x")) == 401
    known, unknown = looked_at
    assert known != unknown
    assert known[:7] == unknown[:7] == f"$2b${cost}$".encode()


def test_nobody_knows_the_password_of_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard(written(tmp_path, USERS))
    monkeypatch.setattr(bcrypt, "checkpw", lambda password, hashed: True)
    assert told(guard, login("nobody", "x")) == 401


def test_of_a_long_password_as_much_counts_as_bcrypt_takes(tmp_path: Path) -> None:
    long = "x" * 72
    hashed = bcrypt.hashpw(long.encode(), bcrypt.gensalt(4)).decode()
    guard = Guard(written(tmp_path, f"basic_auth_users: {{me: '{hashed}'}}"))
    assert [told(guard, login("me", said)) for said in (long, f"{long}y", long[1:], "\0")] == [200, 200, 401, 401]


def test_whoever_tries_passwords_holds_up_nobody_who_is_known_and_few_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(written(tmp_path, USERS))
    assert told(guard, KNOWN) == 200
    trials = Trials(monkeypatch)
    codes: list[int] = []
    trying = [
        threading.Thread(target=lambda number=str(number): codes.append(told(guard, login("me", number), number)))
        for number in range(30)
    ]
    for thread in trying:
        thread.start()
    assert trials.begun.acquire(timeout=DEADLINE_S)
    eventually(lambda: len(codes) == 20)
    assert codes == [429] * 20
    assert told(guard, KNOWN) == 200
    trials.enough.set()
    for thread in trying:
        thread.join(DEADLINE_S)
    assert codes == [429] * 20 + [401] * 10
    assert trials.at_once == [1] * 10, "one after the other"
    assert told(guard, login("prometheus", "again")) == 401


def test_whoever_tries_passwords_without_end_keeps_nobody_else_from_trying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = Trials(monkeypatch)
    wrong = login("prometheus", "wrong")
    with serving(config=written(tmp_path, USERS)) as url:

        def flood() -> int:
            return status(f"{url}/metrics", authorization=wrong)

        with ThreadPoolExecutor(20) as clients:
            codes = [clients.submit(flood) for _ in range(20)]
            eventually(lambda: sum(code.done() for code in codes) == 15)
            trials.enough.set()
    assert sorted(code.result() for code in codes) == [401] * 5 + [429] * 15
