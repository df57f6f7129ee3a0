"""TLS and basic authentication over real sockets, with right and with wrong credentials; and what the file may say."""

from __future__ import annotations

import base64
import shutil
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
from prometheus_client import CollectorRegistry

from swiotlb_exporter.web import web_config
from swiotlb_exporter.web.guard import Guard
from swiotlb_exporter.web.server import listen, make_app, url_of
from swiotlb_top.errors import CannotError, Exit, UnreadableError
from tests.unit.exporter.web.test_server import Standing

DEADLINE_S = 300.0
PASSWORD = "correct horse: battery ünï"  # noqa: S105
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
USERS = f"basic_auth_users:\n  prometheus: {HASH}\n"


@dataclass(frozen=True)
class Authority:
    """Certificates of a test's own: a CA, a server at 127.0.0.1 and a client signed by it, and a stranger."""

    directory: Path

    def context(self, client: str = "") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        if client:
            context.load_cert_chain(self.directory / f"{client}.pem", self.directory / f"{client}.key")
        return context


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=DEADLINE_S)


def certify(directory: Path, name: str, signer: str = "ca") -> None:
    """A key, and a certificate for 127.0.0.1 that `signer` has signed; its own if that is itself."""
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    key, certificate = (str(directory / f"{name}.{kind}") for kind in ("key", "pem"))
    by = [] if signer == name else ["-CA", str(directory / f"{signer}.pem"), "-CAkey", str(directory / f"{signer}.key")]
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    openssl(*made, "-keyout", key, "-out", certificate, *names, *by)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    directory = tmp_path_factory.mktemp("authority")
    for name, signer in (("ca", "ca"), ("server", "ca"), ("client", "ca"), ("stranger", "stranger")):
        certify(directory, name, signer)
    return Authority(directory)


@contextmanager
def served(config: Path | None) -> Iterator[str]:
    guard = Guard(config)
    with listen("127.0.0.1", 0, guard) as server:
        server.set_app(make_app(CollectorRegistry(), Standing(), guard))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield url_of(server, guard.scheme)
        server.shutdown()
        thread.join(DEADLINE_S)


def status(
    url: str, context: ssl.SSLContext | None = None, login: tuple[str, str] | None = None, header: str = ""
) -> int:
    if login:
        header = f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"
    asked = urllib.request.Request(url, headers={"Authorization": header} if header else {})  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=DEADLINE_S, context=context) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def written(directory: Path, text: str) -> Path:
    path = directory / "web.yml"
    path.write_text(text)
    return path


def tls(authority: Authority, **more: str) -> str:
    keys: Mapping[str, str | Path] = {
        "cert_file": authority.directory / "server.pem",
        "key_file": authority.directory / "server.key",
        **more,
    }
    return "tls_server_config:\n" + "".join(f"  {key}: {value}\n" for key, value in keys.items())


def test_a_user_with_the_right_password_is_let_in_and_nobody_else(tmp_path: Path) -> None:
    with served(written(tmp_path, USERS)) as url:
        page = f"{url}/metrics"
        assert status(page, login=("prometheus", PASSWORD)) == 200
        assert status(page, login=("prometheus", PASSWORD)) == 200, "what is remembered of a login"
        assert status(page) == 401
        assert status(page, login=("prometheus", "wrong")) == 401
        assert status(page, login=("prometheus", "x" * 100)) == 401
        assert status(page, login=("somebody", PASSWORD)) == 401
        assert status(page, login=("", "")) == 401
        assert status(f"{url}/") == 401
        assert status(f"{url}/healthz") == 200
        assert status(f"{url}/alerts.md") == 200


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Basic /w==", "Bearer abc", "Basic Og==", "basic"])
def test_a_header_that_is_no_login_is_refused(header: str, tmp_path: Path) -> None:
    with served(written(tmp_path, USERS)) as url:
        assert status(f"{url}/metrics", header=header) == 401


def test_over_tls_the_certificate_is_the_configured_one_and_plain_http_gets_nothing(
    authority: Authority, tmp_path: Path
) -> None:
    with served(written(tmp_path, tls(authority))) as url:
        assert url.startswith("https://")
        assert status(f"{url}/metrics", authority.context()) == 200
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            status(f"{url}/metrics", ssl.create_default_context())
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            status(url.replace("https", "http"))
        assert status(f"{url}/metrics", authority.context()) == 200


def test_old_tls_is_refused(authority: Authority, tmp_path: Path) -> None:
    old = authority.context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with served(written(tmp_path, tls(authority, min_version="TLS13"))) as url:
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            status(f"{url}/metrics", old)
        assert status(f"{url}/metrics", authority.context()) == 200


def test_a_client_must_show_a_certificate_where_that_is_asked(authority: Authority, tmp_path: Path) -> None:
    text = tls(
        authority,
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=str(authority.directory / "ca.pem"),
    )
    with served(written(tmp_path, text)) as url:
        assert status(f"{url}/metrics", authority.context("client")) == 200
        for stranger in ("", "stranger"):
            with pytest.raises(OSError, match=r"alert|reset|closed|EOF"):
                status(f"{url}/metrics", authority.context(stranger))


def test_new_certificates_and_users_are_taken_over_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    for name in ("server.pem", "server.key"):
        shutil.copy(authority.directory / name, tmp_path)
    path = written(tmp_path, "tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
    with served(path) as url:
        assert status(f"{url}/metrics", authority.context()) == 200
        path.write_text(path.read_text() + USERS)
        assert status(f"{url}/metrics", authority.context()) == 401
        certify(tmp_path, "server", "server")
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            status(f"{url}/metrics", authority.context())


def test_a_change_that_cannot_be_read_leaves_things_as_they_were_and_is_said_once(
    authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, tls(authority) + USERS)
    with served(path) as url:
        path.write_text("tls_server_config: {")
        for _ in range(3):
            assert status(f"{url}/metrics", authority.context()) == 401
        assert status(f"{url}/metrics", authority.context(), login=("prometheus", PASSWORD)) == 200
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "what was in force stays" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a list", "the file is no table of keys and values"),
        ("tls_server_config: {cert_file: a", "is not YAML"),
        ("tls_server_config: yes", "tls_server_config is no table"),
        ("tls_server_config: {cert_file: a}", "lacks key_file"),
        ("tls_server_config: {cert_file: a, key_file: b, client_allowed_sans: [x]}", "has client_allowed_sans; known"),
        ("tls_server_config: {cert_file: a, key_file: b, min_version: TLS10}", "min_version 'TLS10' is not one of"),
        ("tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert}", "is not one of"),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAndVerifyClientCert}",
            "needs a client_ca_file",
        ),
        ("tls_server_config: {cert_file: a, key_file: b}", "TLS cannot be set up from"),
        ("http_sever_config: {http2: false}", "has http_sever_config"),
        ("basic_auth_users: {me: secret}", "no bcrypt hash"),
        ("basic_auth_users: [me]", "basic_auth_users is no table"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError) as refusal:
        Guard(written(tmp_path, text))
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert refusal.value.exit_code is Exit.UNREADABLE


def test_what_a_fleets_file_has_for_other_exporters_is_ignored_aloud(
    authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, tls(authority, cipher_suites="[TLS_AES_128_GCM_SHA256]") + "rate_limit: {burst: 3}\n")
    with served(path) as url:
        assert status(f"{url}/metrics", authority.context()) == 200
    assert capsys.readouterr().err.splitlines() == [
        f"swiotlb-top: {path}: {key} is ignored: this exporter does not have it"
        for key in ("rate_limit", "tls_server_config.cipher_suites")
    ]


def test_whoever_tries_passwords_holds_up_nobody_who_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard(written(tmp_path, USERS))
    known, stranger = (
        f"Basic {base64.b64encode(f'prometheus:{password}'.encode()).decode()}" for password in (PASSWORD, "wrong")
    )
    assert guard.admits(known)
    checking, admitted = threading.Event(), threading.Event()

    def slow_check(password: bytes, hashed: bytes) -> bool:
        checking.set()
        return not admitted.wait(DEADLINE_S)

    monkeypatch.setattr(bcrypt, "checkpw", slow_check)
    guesses: list[bool] = []
    guessing = threading.Thread(target=lambda: guesses.append(guard.admits(stranger)))
    guessing.start()
    assert checking.wait(DEADLINE_S)
    assert guard.admits(known)
    admitted.set()
    guessing.join(DEADLINE_S)
    assert guesses == [False]


def test_the_same_fault_met_in_two_steps_is_said_once(
    authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("server.pem", "server.key"):
        shutil.copy(authority.directory / name, tmp_path)
    path = written(tmp_path, "tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
    with served(path) as url:
        for name in ("server.pem", "server.key"):
            (tmp_path / name).write_text("torn")
            assert status(f"{url}/metrics", authority.context()) == 200
    assert capsys.readouterr().err.count("\n") == 1


def test_a_file_that_is_not_there_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="cannot be read"):
        Guard(tmp_path / "web.yml")


def test_an_empty_file_protects_nothing_and_says_so_by_its_scheme(tmp_path: Path) -> None:
    assert Guard(written(tmp_path, "")).scheme == "http"


def test_without_yaml_the_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(CannotError, match=r"pip install 'swiotlb-top\[web\]'"):
        web_config.read(written(tmp_path, ""))
