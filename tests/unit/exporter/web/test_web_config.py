"""What the file of --web.config.file may say: each key of Prometheus's own form is taken, or refused by its name."""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_exporter.web import tls as names
from swiotlb_exporter.web import web_config
from swiotlb_exporter.web.guard import Guard
from swiotlb_exporter.web.rate_limit import RateLimit
from swiotlb_exporter.web.web_config import HEADERS, HTTP_KEYS, RATE_KEYS, SECTIONS, TLS_KEYS, WebConfig
from swiotlb_top.errors import CannotError, Exit, UnreadableError
from tests.support.credentials import HASH, PASSWORD, written

DOCS = Path(__file__).parents[4] / "docs" / "exporter.md"
SERVER = "cert_file: a, key_file: b"
CLIENTS = f"{SERVER}, client_auth_type: RequireAndVerifyClientCert"


def read(directory: Path, text: str) -> WebConfig:
    return web_config.read(written(directory, text))


# The file is read first, then certificates are: those of these tests are not there.
def transport(directory: Path, keys: str) -> names.Tls:
    found = read(directory, f"tls_server_config: {{{keys}}}").tls
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("keys", "field", "value"),
    [
        ("min_version: TLS13", "min_version", ssl.TLSVersion.TLSv1_3),
        ("max_version: TLS12", "max_version", ssl.TLSVersion.TLSv1_2),
        ("client_auth_type: NoClientCert", "client_auth", ssl.CERT_NONE),
        ("client_auth_type: VerifyClientCertIfGiven", "client_auth", ssl.CERT_OPTIONAL),
        ("client_auth_type: RequireAndVerifyClientCert", "client_auth", ssl.CERT_REQUIRED),
        ("cipher_suites: []", "ciphers", ()),
        (
            "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]",
            "ciphers",
            ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ),
        ("prefer_server_cipher_suites: false", "prefers_own_ciphers", False),
        ("curve_preferences: []", "curve", ""),
        ("curve_preferences: [CurveP384]", "curve", "secp384r1"),
    ],
)
def test_a_key_of_tls_is_taken(keys: str, field: str, value: object, tmp_path: Path) -> None:
    assert getattr(transport(tmp_path, f"{SERVER}, {keys}"), field) == value


def test_without_them_it_is_as_prometheus_exporters_have_it(tmp_path: Path) -> None:
    found = transport(tmp_path, SERVER)
    assert (found.min_version, found.max_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    assert (found.client_auth, found.prefers_own_ciphers, found.ciphers, found.curve) == (ssl.CERT_NONE, True, (), "")


def test_files_are_sought_beside_the_configuration(tmp_path: Path) -> None:
    found = transport(tmp_path, "cert_file: a.pem, key_file: /b.key")
    assert (found.certificate.path, found.private_key.path) == (tmp_path / "a.pem", Path("/b.key"))


def test_what_is_inline_is_no_file_that_is_watched(tmp_path: Path) -> None:
    config = read(tmp_path, "tls_server_config: {cert: PEM, key_file: b}")
    assert config.tls is not None
    assert config.tls.certificate.inline == "PEM"
    assert config.files == (tmp_path / "web.yml", tmp_path / "b")


def test_a_key_without_a_value_is_left_out(tmp_path: Path) -> None:
    found = transport(tmp_path, f"{SERVER}, cert: '', client_ca_file: , min_version: ")
    assert (found.client_ca, found.min_version) == (None, ssl.TLSVersion.TLSv1_2)
    assert read(tmp_path, "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n").tls is None


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("{interval: 1s, burst: 20}", RateLimit(1.0, 20)),
        ("{interval: 1m30s500ms, burst: 1}", RateLimit(90.5, 1)),
        ("{interval: 0, burst: 20}", None),
        ("{burst: 20}", None),
        ("{}", None),
    ],
)
def test_a_rate_limit_is_taken(text: str, limit: RateLimit | None, tmp_path: Path) -> None:
    assert read(tmp_path, f"rate_limit: {text}").rate_limit == limit


def test_headers_are_taken_and_blank_ones_left_out(tmp_path: Path) -> None:
    text = "http_server_config: {http2: false, headers: {X-XSS-Protection: 0, X-Frame-Options: deny, %s: ''}}"
    assert read(tmp_path, text % "Strict-Transport-Security").headers == {
        "X-XSS-Protection": "0",
        "X-Frame-Options": "deny",
    }


@pytest.mark.parametrize("suite", [suite for suite in names.CIPHERS.values() if suite])
def test_a_cipher_suite_is_one_that_openssl_has(suite: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(suite)
    assert suite in {cipher["name"] for cipher in context.get_ciphers()}


def test_a_user_may_be_called_by_a_number(tmp_path: Path) -> None:
    assert read(tmp_path, f"basic_auth_users: {{7: {HASH}}}").users == {"7": HASH}


def test_suites_of_tls_1_3_alone_leave_nothing_else_to_speak(tmp_path: Path) -> None:
    found = transport(tmp_path, f"{SERVER}, cipher_suites: [{', '.join(names.TLS_1_3)}]")
    assert found.min_version == ssl.TLSVersion.TLSv1_3


def test_who_names_some_suites_of_tls_1_3_is_told_that_it_has_the_others(tmp_path: Path) -> None:
    some, every = names.TLS_1_3[:1], names.TLS_1_3
    suites = "tls_server_config: {%s, cipher_suites: [%s]}"
    (remark,) = read(tmp_path, suites % (SERVER, ", ".join(some))).remarks
    assert "cipher_suites: TLS_AES_128_GCM_SHA256: TLS 1.3 has the others" in remark
    assert read(tmp_path, suites % (SERVER, ", ".join(every))).remarks == ()


def test_who_asks_for_http_2_is_told_that_it_is_not_spoken(tmp_path: Path) -> None:
    assert read(tmp_path, "http_server_config: {http2: true}").remarks == (
        "http_server_config: http2: true: this exporter speaks HTTP/1.1 only",
    )
    assert read(tmp_path, "http_server_config: {http2: false}").remarks == ()


@pytest.mark.parametrize("kind", ["2a", "2b", "2x", "2y"])
def test_a_hash_is_of_any_kind_that_bcrypt_knows(kind: str, tmp_path: Path) -> None:
    hashed = f"${kind}$04${LETTERS}"
    assert read(tmp_path, f"basic_auth_users: {{me: '{hashed}'}}").users == {"me": hashed}
    assert isinstance(bcrypt.checkpw(b"x", hashed.encode()), bool)


LETTERS = "CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
"""Salt and digest of a hash."""
REFUSED = [
    ("- a list", "is no table of keys and values"),
    ("tls_server_config: {cert_file: a", "is not YAML"),
    ("tls_server_config: {cert_file: a, cert_file: b}", "cert_file is there twice"),
    ("http_sever_config: {http2: false}", "has http_sever_config; what is known here is one of tls_server_config, "),
    ("tls_server_config: yes", "tls_server_config: is no table"),
    ("tls_server_config: {cert_fil: a}", "tls_server_config: has cert_fil; "),
    ("tls_server_config: {cert_file: [a]}", "tls_server_config: cert_file: needs a text"),
    ("tls_server_config: {min_version: TLS13}", "tls_server_config: lacks cert_file or cert"),
    ("tls_server_config: {cert_file: a}", "tls_server_config: lacks key_file or key"),
    (f"tls_server_config: {{{SERVER}, cert: x}}", "cert and cert_file exclude each other"),
    (f"tls_server_config: {{{SERVER}, key: x}}", "key and key_file exclude each other"),
    (f"tls_server_config: {{{CLIENTS}, client_ca: x, client_ca_file: y}}", "client_ca and client_ca_file exclude"),
    (f"tls_server_config: {{{SERVER}, client_ca: x}}", "client_ca needs a client_auth_type"),
    (f"tls_server_config: {{{SERVER}, client_auth_type: RequestClientCert}}", "client_auth_type: RequestClientCert: "),
    (f"tls_server_config: {{{SERVER}, client_auth_type: RequireAnyClientCert}}", "without verifying it"),
    (f"tls_server_config: {{{SERVER}, client_auth_type: RequireClientCert}}", "without verifying it"),
    (f"tls_server_config: {{{SERVER}, client_auth_type: Any}}", "client_auth_type: 'Any' is not one of NoClientCert, "),
    (f"tls_server_config: {{{SERVER}, client_allowed_sans: [x]}}", "client_allowed_sans needs client_auth_type: Req"),
    (f"tls_server_config: {{{CLIENTS}, client_allowed_sans: []}}", "client_allowed_sans lets nobody in"),
    (f"tls_server_config: {{{CLIENTS}, client_allowed_sans: x}}", "client_allowed_sans: needs a list"),
    (f"tls_server_config: {{{SERVER}, min_version: TLS10}}", "min_version: TLS10: is spoken no more"),
    (f"tls_server_config: {{{SERVER}, max_version: SSL3}}", "max_version: 'SSL3' is not one of TLS12, TLS13"),
    (f"tls_server_config: {{{SERVER}, min_version: TLS13, max_version: TLS12}}", "max_version is below min_version"),
    (
        f"tls_server_config: {{{SERVER}, max_version: TLS12, cipher_suites: [TLS_AES_128_GCM_SHA256]}}",
        "max_version is below what cipher_suites are for",
    ),
    (f"tls_server_config: {{{SERVER}, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}}", "cipher_suites: 'TLS_RSA_WITH_RC4"),
    (f"tls_server_config: {{{SERVER}, prefer_server_cipher_suites: 1}}", "prefer_server_cipher_suites: 1 is neither"),
    (f"tls_server_config: {{{SERVER}, curve_preferences: [CurveP224]}}", "curve_preferences: 'CurveP224' is not one"),
    (
        f"tls_server_config: {{{SERVER}, curve_preferences: [X25519, CurveP256]}}",
        "curve_preferences: Python's ssl takes one curve, and these are 2",
    ),
    ("http_server_config: {http2: 1}", "http_server_config: http2: 1 is neither true nor false"),
    ("http_server_config: {http2: &a [x, x, x], headers: *a}", "http_server_config: http2: ['x', 'x', 'x'] is neither"),
    ("http_server_config: {headers: {X-Powered-By: x}}", "headers: has X-Powered-By; a header that can be set is one"),
    ("http_server_config: {headers: {X-Frame-Options: allow}}", "X-Frame-Options: 'allow' is not one of deny, same"),
    ('http_server_config: {headers: {X-XSS-Protection: "0\\r\\nSet-Cookie: x"}}', "characters that a header cannot"),
    ("basic_auth_users: {me: secret}", "basic_auth_users: me: is no bcrypt hash"),
    ("basic_auth_users: {me: }", "basic_auth_users: me: is no bcrypt hash"),
    *(
        (f"basic_auth_users: {{me: '{hashed}'}}", "basic_auth_users: me: is no bcrypt hash")
        for hashed in (
            f"$2b$04${LETTERS[1:]}",
            f"$2b$04${LETTERS}.",
            f"$2b$03${LETTERS}",
            f"$2b$32${LETTERS}",
            f"$2$04${LETTERS}",
            f"$2b$04${'D' * 53}",
        )
    ),
    ("basic_auth_users: [me]", "basic_auth_users: is no table"),
    ("rate_limit: {interval: 5, burst: 1}", "rate_limit: interval: 5 is no time"),
    ("rate_limit: {interval: 1s}", "rate_limit: burst: lets nobody in"),
    ("rate_limit: {interval: 1s, burst: -1}", "rate_limit: burst: -1 is no whole number"),
]


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_what_cannot_be_done_is_refused_in_a_line_that_names_the_key(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError) as refusal:
        read(tmp_path, text)
    assert said in str(refusal.value)
    assert str(refusal.value).startswith(f"{tmp_path / 'web.yml'}")
    assert "\n" not in str(refusal.value)
    assert refusal.value.exit_code is Exit.UNREADABLE


NAMES = [*SECTIONS, *TLS_KEYS, *HTTP_KEYS, *HEADERS, *RATE_KEYS]
WORDS = ["TLS12", "TLS13", "RequireAndVerifyClientCert", "TLS_AES_128_GCM_SHA256", "CurveP256", "1s", "deny", HASH]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(WORDS)
DOCUMENTS: st.SearchStrategy[object] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=20,
)


FILES: st.SearchStrategy[object] = DOCUMENTS | st.dictionaries(st.sampled_from([*SECTIONS]), DOCUMENTS)


@given(said=FILES)
def test_whatever_is_said_it_is_taken_or_refused_in_a_line(
    said: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.getbasetemp()
    try:
        config = read(directory, json.dumps(said))
    except UnreadableError as error:
        assert "\n" not in str(error)  # noqa: PT017 (either is right)
    else:
        assert config.files[0] == directory / "web.yml"


@pytest.mark.parametrize(
    "text", ["[" * 10_000, "burst: " + "9" * 5_000, "? {a: b}\n: c", "a: !!python/none x", "\0", "%"]
)
def test_what_yaml_itself_cannot_read_is_refused_in_a_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError) as refusal:
        read(tmp_path, text)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("key", ["cert_file", "key_file", "client_ca_file"])
def test_a_file_that_is_not_there_is_said_by_its_key(key: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"tls_server_config: {{{CLIENTS}, {'client_ca_file: c' if 'ca' in key else ''}}}")
    with pytest.raises(UnreadableError, match=r"TLS cannot be set up from .*cert_file"):
        Guard(path)


def keys() -> Iterator[str]:
    """All there are, as docs/exporter.md has them."""
    yield from (f"tls_server_config.{key}" for key in TLS_KEYS)
    yield from (f"http_server_config.{key}" for key in HTTP_KEYS if key != "headers")
    yield from (f"http_server_config.headers.{name}" for name in HEADERS)
    yield "basic_auth_users"
    yield from (f"rate_limit.{key}" for key in RATE_KEYS)


def test_each_key_is_in_the_documentation_and_no_other() -> None:
    assert {key.split(".")[0] for key in keys()} == SECTIONS.keys()
    _, _, section = DOCS.read_text().partition("## Who may see it")
    table = [line.split("|")[1] for line in section.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    assert [name.strip(" `") for cell in table for name in cell.split(", ")] == list(keys())


def test_secrets_are_not_shown_with_the_rest(tmp_path: Path) -> None:
    shown = repr(read(tmp_path, f"tls_server_config: {{cert: PEM, key: SECRET}}\nbasic_auth_users: {{me: {HASH}}}"))
    assert "SECRET" not in shown
    assert HASH not in shown
    assert PASSWORD not in shown


def test_a_file_that_is_not_there_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="cannot be read"):
        Guard(tmp_path / "web.yml")


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(UnreadableError, match="more than 1048576 characters"):
        Guard(Path("/dev/zero"))


def test_an_empty_file_protects_nothing_and_says_so_by_its_scheme(tmp_path: Path) -> None:
    assert Guard(written(tmp_path, "")).scheme == "http"


def test_without_yaml_the_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(CannotError, match=r"pip install 'swiotlb-top\[web\]'"):
        read(tmp_path, "")


def test_without_bcrypt_too_where_there_are_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    with pytest.raises(CannotError, match=r"needs Python's bcrypt: pip install 'swiotlb-top\[web\]'"):
        read(tmp_path, f"basic_auth_users: {{me: {HASH}}}")
