"""TLS over real sockets: what each key of tls_server_config does to a handshake."""

from __future__ import annotations

import os
import pty
import shutil
import socket
import ssl
import sys
import textwrap
import urllib.error
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from swiotlb_exporter.web.tls import CURVES, Pem, Tls
from swiotlb_top.errors import UnreadableError
from tests.support.credentials import USERS, Authority, authority, certify, openssl, status, tls, written
from tests.support.served import DEADLINE_S, serving

__all__ = ["authority"]

LET_IN = "client_auth_type: RequireAndVerifyClientCert"
NOT_LET_IN = r"alert|reset|closed|EOF|without response"
ECDSA = "TLS_ECDHE_ECDSA_WITH_"


def requiring(authority: Authority, **more: str) -> str:
    """A configuration that asks clients for a certificate of the authority."""
    return tls(
        authority,
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=authority.directory / "ca.pem",
        **more,
    )


def shaken(url: str, context: ssl.SSLContext) -> tuple[str | None, str]:
    """Version and cipher suite that a handshake comes to."""
    where = urlsplit(url)
    with (
        socket.create_connection((where.hostname or "", where.port or 0), DEADLINE_S) as plain,
        context.wrap_socket(plain, server_hostname=where.hostname) as secure,
    ):
        return secure.version(), (secure.cipher() or ("",))[0]


def test_of_what_a_client_offers_http_1_1_is_chosen_and_nothing_is_negotiated_anew(
    authority: Authority, tmp_path: Path
) -> None:
    with serving(config=written(tmp_path, tls(authority))) as url:
        where, context = urlsplit(url), authority.context()
        for offered, chosen in ((["h2", "http/1.1"], "http/1.1"), (["h2"], None), ([], None)):
            context.set_alpn_protocols(offered)
            with (
                socket.create_connection((where.hostname or "", where.port or 0), DEADLINE_S) as plain,
                context.wrap_socket(plain, server_hostname=where.hostname) as secure,
            ):
                assert secure.selected_alpn_protocol() == chosen
                secure.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert secure.recv(15) == b"HTTP/1.1 200 OK"
    pems = (Pem("cert_file", authority.directory / "server.pem"), Pem("key_file", authority.directory / "server.key"))
    assert Tls(*pems).context().options & ssl.OP_NO_RENEGOTIATION


def speaking(authority: Authority, version: ssl.TLSVersion, ciphers: str = "") -> ssl.SSLContext:
    context = authority.context()
    context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    return context


def test_the_certificate_is_the_configured_one_and_plain_http_gets_nothing(
    authority: Authority, tmp_path: Path
) -> None:
    with serving(config=written(tmp_path, tls(authority))) as url:
        assert url.startswith("https://")
        assert status(f"{url}/metrics", authority.context()) == 200
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            status(f"{url}/metrics", ssl.create_default_context())
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            status(url.replace("https", "http"))
        assert status(f"{url}/metrics", authority.context()) == 200


@pytest.mark.parametrize(
    ("keys", "spoken", "not_spoken"),
    [
        ({"min_version": "TLS13"}, ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2),
        ({"max_version": "TLS12"}, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3),
        ({"cipher_suites": "[TLS_AES_128_GCM_SHA256]"}, ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2),
    ],
)
def test_a_version_that_is_not_wanted_is_not_spoken(
    keys: dict[str, str], spoken: ssl.TLSVersion, not_spoken: ssl.TLSVersion, authority: Authority, tmp_path: Path
) -> None:
    with serving(config=written(tmp_path, tls(authority, **keys))) as url:
        assert (shaken(url, speaking(authority, spoken))[0] or "").replace(".", "_") == spoken.name
        with pytest.raises(OSError, match=NOT_LET_IN):
            shaken(url, speaking(authority, not_spoken))


def test_of_cipher_suites_only_the_named_ones_are_spoken(authority: Authority, tmp_path: Path) -> None:
    named = f"[{ECDSA}AES_256_GCM_SHA384]"
    with serving(config=written(tmp_path, tls(authority, cipher_suites=named))) as url:
        assert shaken(url, speaking(authority, ssl.TLSVersion.TLSv1_2))[1] == "ECDHE-ECDSA-AES256-GCM-SHA384"
        with pytest.raises(OSError, match=NOT_LET_IN):
            shaken(url, speaking(authority, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256"))
        assert shaken(url, speaking(authority, ssl.TLSVersion.TLSv1_3))[0] == "TLSv1.3"


@pytest.mark.parametrize(("ours", "taken"), [("true", "AES256"), ("false", "AES128")])
def test_the_order_of_suites_is_the_servers_unless_it_is_the_clients(
    ours: str, taken: str, authority: Authority, tmp_path: Path
) -> None:
    named = f"[{ECDSA}AES_256_GCM_SHA384, {ECDSA}AES_128_GCM_SHA256]"
    text = tls(authority, cipher_suites=named, prefer_server_cipher_suites=ours)
    theirs = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
    with serving(config=written(tmp_path, text)) as url:
        assert taken in shaken(url, speaking(authority, ssl.TLSVersion.TLSv1_2, theirs))[1]


@pytest.mark.parametrize("curve", ["CurveP256", "CurveP384", "CurveP521"])
def test_the_preferred_curve_is_the_only_one(curve: str, authority: Authority, tmp_path: Path) -> None:
    with serving(config=written(tmp_path, tls(authority, curve_preferences=f"[{curve}]"))) as url:
        for name in ("prime256v1", "secp384r1", "secp521r1"):
            client = authority.context()
            client.set_ecdh_curve(name)
            if name == CURVES[curve]:
                assert shaken(url, client)[0] == "TLSv1.3"
            else:
                with pytest.raises(OSError, match=NOT_LET_IN):
                    shaken(url, client)


def test_x25519_is_used_or_refused_by_its_name(authority: Authority, tmp_path: Path) -> None:
    path = written(tmp_path, tls(authority, curve_preferences="[X25519]"))
    try:
        with serving(config=path) as url:
            assert shaken(url, authority.context())[0] == "TLSv1.3"
    except UnreadableError as error:
        assert "curve_preferences X25519: " in str(error)  # noqa: PT017 (which of the two it is depends on Python)


def inline(authority: Authority) -> str:
    """The same server and authority, whose texts are in the file itself."""
    names = {"cert": "server.pem", "key": "server.key", "client_ca": "ca.pem"}
    texts = {key: textwrap.indent(authority.text(name), "    ") for key, name in names.items()}
    return "tls_server_config:\n" + "".join(f"  {key}: |\n{text}" for key, text in texts.items()) + f"  {LET_IN}\n"


@pytest.mark.parametrize("configuration", [requiring, inline])
def test_a_client_must_show_a_certificate_where_that_is_asked(
    configuration: Callable[[Authority], str], authority: Authority, tmp_path: Path
) -> None:
    with serving(config=written(tmp_path, configuration(authority))) as url:
        assert status(f"{url}/metrics", authority.context("client")) == 200
        for stranger in ("", "stranger"):
            with pytest.raises(OSError, match=NOT_LET_IN):
                status(f"{url}/metrics", authority.context(stranger))


def test_a_certificate_that_need_not_be_shown_is_looked_at_if_it_is(authority: Authority, tmp_path: Path) -> None:
    text = tls(authority, client_auth_type="VerifyClientCertIfGiven", client_ca_file=authority.directory / "ca.pem")
    with serving(config=written(tmp_path, text)) as url:
        for client in ("", "client"):
            assert status(f"{url}/metrics", authority.context(client)) == 200
        with pytest.raises(OSError, match=NOT_LET_IN):
            status(f"{url}/metrics", authority.context("stranger"))


def test_without_an_authority_the_systems_are_those_who_sign(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, tls(authority, client_auth_type="RequireAndVerifyClientCert"))
    with serving(config=path) as url, pytest.raises(OSError, match=NOT_LET_IN):
        status(f"{url}/metrics", authority.context("client"))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.directory / "ca.pem"))
    with serving(config=path) as url:
        assert status(f"{url}/metrics", authority.context("client")) == 200


NAMED = "DNS:head.example,IP:192.0.2.7,IP:2001:DB8::1,email:ops@example.org,URI:spiffe://example.org/head"


@pytest.mark.parametrize(
    "allowed", ["head.example", "192.0.2.7", "2001:db8::1", "ops@example.org", "spiffe://example.org/head"]
)
def test_of_the_names_of_a_client_one_must_be_allowed(allowed: str, authority: Authority, tmp_path: Path) -> None:
    for name, names in (("named", NAMED), ("other", "DNS:other.example,DNS:head.example.org")):
        certify(authority.directory, name, names=names)
    text = requiring(authority, client_allowed_sans=f'["somebody.example", "{allowed}"]')
    with serving(config=written(tmp_path, text)) as url:
        assert status(f"{url}/metrics", authority.context("named")) == 200
        for stranger in ("other", "client", ""):
            with pytest.raises(OSError, match=NOT_LET_IN):
                status(f"{url}/metrics", authority.context(stranger))


def test_new_certificates_and_users_are_taken_over_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    for name in ("server.pem", "server.key"):
        shutil.copy(authority.directory / name, tmp_path)
    path = written(tmp_path, "tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
    with serving(config=path) as url:
        assert status(f"{url}/metrics", authority.context()) == 200
        path.write_text(path.read_text() + USERS)
        assert status(f"{url}/metrics", authority.context()) == 401
        certify(tmp_path, "server", "server")
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            status(f"{url}/metrics", authority.context())


def said_on_a_terminal(*words: str) -> bytes:
    """What a command says that has a terminal, to its end or until it asks for a password."""
    process, terminal = pty.fork()
    if not process:
        os.execve(words[0], words, {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # noqa: S606 (no shell)
    said = b""
    with suppress(OSError):  # that is how a terminal ends
        while b"pass phrase" not in said and (more := os.read(terminal, 4096)):
            said += more
    os.close(terminal)
    os.waitpid(process, 0)
    return said


def test_a_key_with_a_password_is_refused_and_nobody_asked_for_it(authority: Authority, tmp_path: Path) -> None:
    key, locked = authority.directory / "server.key", authority.directory / "locked.key"
    openssl("ec", "-in", str(key), "-aes128", "-passout", "pass:x", "-out", str(locked))
    config = written(tmp_path, tls(authority, key_file=locked))
    said = said_on_a_terminal(sys.executable, "-m", "swiotlb_top", "export", "--web.config.file", str(config))
    assert f"key_file {locked}: ".encode() in said
    assert b"pass phrase" not in said
    assert said.count(b"\n") == 1


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    certificate, key = authority.directory / "server.pem", authority.directory / "client.key"
    with pytest.raises(UnreadableError, match=r"TLS cannot be set up from cert_file .*, key: "):
        Tls(Pem("cert_file", certificate), Pem("key", inline=key.read_text())).context()


def test_an_authority_that_is_none_is_refused_by_its_key(authority: Authority) -> None:
    certificate, key = (authority.directory / f"server.{kind}" for kind in ("pem", "key"))
    server = Tls(Pem("cert_file", certificate), Pem("key_file", key), client_auth=ssl.CERT_REQUIRED)
    with pytest.raises(UnreadableError, match="TLS cannot be set up from client_ca: "):
        replace(server, client_ca=Pem("client_ca", inline="no PEM")).context()
