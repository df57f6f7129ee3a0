"""``--web.config.file``: who may come in and how, in the form that Prometheus's own exporters read.

One file often serves every exporter of a fleet. So each key of that form is known here (:data:`SECTIONS`), and what
cannot be done as it says is refused by its name: nothing is left out in silence.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from swiotlb_exporter.web import tls, values
from swiotlb_exporter.web.rate_limit import RateLimit
from swiotlb_exporter.web.tls import Pem, Tls
from swiotlb_exporter.web.values import RefusedError
from swiotlb_top.errors import CannotError, UnreadableError

_BCRYPT: Final = re.compile(r"\$2[abxy]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_LONGEST: Final = 1 << 20
"""Characters: of /dev/zero all of the memory would be read."""


def _header(*accepted: str) -> Callable[[Any], str]:
    def value(said: Any) -> str:
        written = values.text(said)
        if written and accepted and written not in accepted:
            raise RefusedError(f"{written!r:.60} is not one of {', '.join(accepted)}")
        if not (written.isascii() and (written.isprintable() or not written)):
            raise RefusedError("has characters that a header cannot have")
        return written

    return value


def _hash(said: Any) -> str:
    written = values.text(said)
    if not _BCRYPT.fullmatch(written):
        raise RefusedError("is no bcrypt hash (htpasswd -nBC 10 NAME makes one)")
    return written


def _users(said: Any) -> dict[str, str]:
    if not isinstance(said, dict):
        raise RefusedError("is no table of keys and values")
    hashes = {str(name): hashed or "" for name, hashed in said.items()}
    return values.table(dict.fromkeys(hashes, _hash), "a user")(hashes)


TLS_KEYS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "cert": values.text,
    "cert_file": values.text,
    "key": values.text,
    "key_file": values.text,
    "client_auth_type": values.one_of(tls.CLIENT_AUTH, tls.CANNOT_AUTH),
    "client_ca": values.text,
    "client_ca_file": values.text,
    "client_allowed_sans": values.several(values.text),
    "min_version": values.one_of(tls.VERSIONS, tls.OLD_VERSIONS),
    "max_version": values.one_of(tls.VERSIONS, tls.OLD_VERSIONS),
    "cipher_suites": values.several(values.one_of({name: name for name in tls.CIPHERS})),
    "prefer_server_cipher_suites": values.truth,
    "curve_preferences": values.several(values.one_of(tls.CURVES)),
}
HEADERS: Final = {
    "Content-Security-Policy": _header(),
    "X-Frame-Options": _header("deny", "sameorigin"),
    "X-Content-Type-Options": _header("nosniff"),
    "X-XSS-Protection": _header(),
    "Strict-Transport-Security": _header(),
}
HTTP_KEYS: Final = {"http2": values.truth, "headers": values.table(HEADERS, "a header that can be set")}
RATE_KEYS: Final = {"interval": values.duration_s, "burst": values.whole_number}
_A_KEY: Final = "what is known here"
SECTIONS: Final = {
    "tls_server_config": values.table(TLS_KEYS, _A_KEY),
    "http_server_config": values.table(HTTP_KEYS, _A_KEY),
    "basic_auth_users": _users,
    "rate_limit": values.table(RATE_KEYS, _A_KEY),
}


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What the file says; empty: plain HTTP for everybody who can reach the port."""

    tls: Tls | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Password hashes by name; empty: no authentication."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What each answer has besides."""
    rate_limit: RateLimit | None = None
    files: tuple[Path, ...] = ()
    """All files that this was made of, itself the first."""
    remarks: tuple[str, ...] = ()
    """What does less than somebody may think, a sentence each."""


def read(path: Path) -> WebConfig:
    """Read and check a configuration file.

    :raises UnreadableError: it cannot be read, is not YAML, or says what cannot be done.
    :raises CannotError: PyYAML or bcrypt is missing.
    """
    said = _parsed(path)
    try:
        config = _made(values.table(SECTIONS, _A_KEY)({} if said is None else said), path)
    except RefusedError as error:
        raise UnreadableError(f"{path}: {error}") from None
    if config.users:
        _module("bcrypt")
    return config


def _parsed(path: Path) -> Any:
    yaml = _module("yaml")

    class Loader(yaml.SafeLoader):  # type: ignore[misc,name-defined] # PyYAML is imported when it is needed
        """Takes no key twice: of two values one would be left out in silence."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value]
            for key in keys:
                if keys.count(key) > 1:
                    raise yaml.constructor.ConstructorError(None, None, f"{key} is there twice", node.start_mark)
            return super().construct_mapping(node, deep)

    try:
        with path.open() as file:
            text = file.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise UnreadableError(f"{path} is no web configuration: it has more than {_LONGEST} characters")
        return yaml.load(text, Loader)
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UnreadableError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def _made(sections: Mapping[str, Any], path: Path) -> WebConfig:
    said = {name: sections.get(name, {}) for name in SECTIONS}
    try:
        transport = _tls(said["tls_server_config"], path.absolute().parent)
    except RefusedError as error:
        raise RefusedError(f"tls_server_config: {error}") from None
    headers = {name: value for name, value in said["http_server_config"].get("headers", {}).items() if value}
    files = (path, *(transport.paths if transport else ()))
    remarks = (*_of_suites(transport, said["tls_server_config"]), *_of_http2(said["http_server_config"]))
    return WebConfig(transport, said["basic_auth_users"], headers, _rate_limit(said["rate_limit"]), files, remarks)


def _tls(said: Mapping[str, Any], directory: Path) -> Tls | None:
    if not said:
        return None
    certificate, key, authorities = (_pem(name, said, directory) for name in ("cert", "key", "client_ca"))
    if certificate is None or key is None:
        raise RefusedError("lacks cert_file or cert" if certificate is None else "lacks key_file or key")
    suites = said.get("cipher_suites", ())
    ciphers = tuple(tls.CIPHERS[name] for name in suites if tls.CIPHERS[name])
    # Where none is left for TLS 1.2, nobody can speak that.
    least = ssl.TLSVersion.TLSv1_3 if suites and not ciphers else ssl.TLSVersion.TLSv1_2
    made = Tls(
        certificate,
        key,
        client_auth=said.get("client_auth_type", ssl.CERT_NONE),
        client_ca=authorities,
        allowed_sans=frozenset(said.get("client_allowed_sans", ())),
        min_version=max(least, said.get("min_version", least)),
        max_version=said.get("max_version", ssl.TLSVersion.TLSv1_3),
        ciphers=ciphers,
        prefers_own_ciphers=said.get("prefer_server_cipher_suites", True),
        curve=_curve(said.get("curve_preferences", ())),
    )
    _check(made, said)
    return made


def _pem(name: str, said: Mapping[str, Any], directory: Path) -> Pem | None:
    file_name, inline = said.get(f"{name}_file", ""), said.get(name, "")
    if file_name and inline:
        raise RefusedError(f"{name} and {name}_file exclude each other")
    if file_name:
        return Pem(f"{name}_file", directory / file_name)
    return Pem(name, inline=inline) if inline else None


def _curve(preferred: tuple[str, ...]) -> str:
    if len(preferred) > 1:
        raise RefusedError(f"curve_preferences: Python's ssl takes one curve, and these are {len(preferred)}")
    return preferred[0] if preferred else ""


def _check(made: Tls, said: Mapping[str, Any]) -> None:
    """What each key allows, and all together do not."""
    if made.min_version > made.max_version:
        only_1_3 = said.get("cipher_suites") and not made.ciphers
        raise RefusedError(f"max_version is below {'what cipher_suites are for' if only_1_3 else 'min_version'}")
    if made.client_ca and made.client_auth == ssl.CERT_NONE:
        raise RefusedError(f"{made.client_ca.key} needs a client_auth_type that asks for a certificate")
    if "client_allowed_sans" in said and not made.allowed_sans:
        raise RefusedError("client_allowed_sans lets nobody in: name somebody, or leave it out")
    if made.allowed_sans and made.client_auth != ssl.CERT_REQUIRED:
        raise RefusedError("client_allowed_sans needs client_auth_type: RequireAndVerifyClientCert")


def _of_suites(transport: Tls | None, said: Mapping[str, Any]) -> tuple[str, ...]:
    named = said.get("cipher_suites", ())
    of_1_3 = [name for name in tls.TLS_1_3 if name in named]
    if not transport or not of_1_3 or len(of_1_3) == len(tls.TLS_1_3):
        return ()
    return (f"tls_server_config: cipher_suites: {', '.join(of_1_3)}: TLS 1.3 has the others, too, as it has in Go",)


def _of_http2(said: Mapping[str, Any]) -> tuple[str, ...]:
    # Said is what is the default elsewhere: a client that offers both is answered all the same.
    return ("http_server_config: http2: true: this exporter speaks HTTP/1.1 only",) if said.get("http2") else ()


def _rate_limit(said: Mapping[str, Any]) -> RateLimit | None:
    interval_s, burst = said.get("interval", 0.0), said.get("burst", 0)
    if interval_s and not burst:
        raise RefusedError("rate_limit: burst: lets nobody in: 1 or more are needed")
    return RateLimit(interval_s, burst) if interval_s else None


def _module(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        raise CannotError(f"--web.config.file needs Python's {name}: pip install 'swiotlb-top[web]'") from None
