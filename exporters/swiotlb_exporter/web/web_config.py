"""``--web.config.file``: TLS and basic authentication, in the form that Prometheus's own exporters read.

Of that form: ``tls_server_config`` with ``cert_file``, ``key_file``, ``client_auth_type``, ``client_ca_file``,
``min_version`` and ``max_version``, and ``basic_auth_users`` with bcrypt hashes. One file often serves every exporter
of a fleet, so what newer versions of that form have besides is accepted and listed as ignored
(:attr:`WebConfig.ignored`). What that form does not have at all is a typing error, and refused.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from swiotlb_top.errors import CannotError, UnreadableError

_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_TLS_FILES: Final = ("cert_file", "key_file", "client_ca_file")
_TLS_KEYS: Final = frozenset({*_TLS_FILES, "client_auth_type", "min_version", "max_version"})
_LONGEST: Final = 1 << 20
"""Characters: of /dev/zero all of the memory would be read."""
_KEYS: Final = frozenset({"tls_server_config", "basic_auth_users"})
_IGNORED_TLS_KEYS: Final = frozenset({"cipher_suites", "curve_preferences", "prefer_server_cipher_suites"})
_IGNORED_KEYS: Final = frozenset({"http_server_config", "rate_limit"})
"""Settings of the exporter toolkit's web configuration that are not supported here. Who may come in does not hang on
them; those on which it does (``client_allowed_sans``, certificates in the file itself) are refused."""


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What the file says; empty: plain HTTP for everybody who can reach the port."""

    tls: Mapping[str, str] = field(default_factory=dict)
    """Keys and values of ``tls_server_config``, its files as absolute paths; empty: no TLS."""
    users: Mapping[str, str] = field(default_factory=dict)
    """Password hashes by name; empty: no authentication."""
    files: tuple[Path, ...] = ()
    """All files that this was made of, itself the first."""
    ignored: tuple[str, ...] = ()
    """Keys that the form has and this exporter does not support, for example ``tls_server_config.cipher_suites``."""

    def tls_context(self) -> ssl.SSLContext | None:
        """A server's context as the file has it, or None without TLS.

        :raises UnreadableError: the certificates or the key cannot be read, or do not belong together.
        """
        if not self.tls:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[self.tls.get("min_version", "TLS12")]
        context.maximum_version = _VERSIONS[self.tls.get("max_version", "TLS13")]
        try:
            context.load_cert_chain(self.tls["cert_file"], self.tls["key_file"])
            if "client_ca_file" in self.tls:
                context.load_verify_locations(self.tls["client_ca_file"])
        except (OSError, ssl.SSLError) as error:
            names = ", ".join(self.tls[name] for name in _TLS_FILES if name in self.tls)
            raise UnreadableError(f"TLS cannot be set up from {names}: {error}") from error
        context.verify_mode = _CLIENT_AUTH[self.tls.get("client_auth_type", "NoClientCert")]
        return context


def read(path: Path) -> WebConfig:
    """Read and check a configuration file.

    :raises UnreadableError: it cannot be read, is not YAML, or says what is not known here.
    :raises CannotError: PyYAML or bcrypt is missing.
    """
    yaml = _module("yaml")
    try:
        with path.open() as file:
            text = file.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise UnreadableError(f"{path} is no web configuration: it has more than {_LONGEST} characters")
        said = yaml.safe_load(text)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UnreadableError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    sections = _table(path, "the file", {} if said is None else said, _KEYS | _IGNORED_KEYS)
    given = sections.get("tls_server_config")
    said_of_tls = _table(path, "tls_server_config", {} if given is None else given, _TLS_KEYS | _IGNORED_TLS_KEYS)
    tls = _tls(path, {key: value for key, value in said_of_tls.items() if key in _TLS_KEYS})
    users = _users(path, sections.get("basic_auth_users"))
    ignored = (
        *sorted(sections.keys() & _IGNORED_KEYS),
        *(f"tls_server_config.{key}" for key in sorted(said_of_tls.keys() & _IGNORED_TLS_KEYS)),
    )
    return WebConfig(tls, users, (path, *(Path(tls[name]) for name in _TLS_FILES if name in tls)), ignored)


def _tls(path: Path, given: dict[Any, Any]) -> dict[str, str]:
    if not given:
        return {}
    tls = {key: str(value) for key, value in given.items()}
    for needed in ("cert_file", "key_file"):
        if needed not in tls:
            raise UnreadableError(f"{path}: tls_server_config lacks {needed}")
    for key, known in (("min_version", _VERSIONS), ("max_version", _VERSIONS), ("client_auth_type", _CLIENT_AUTH)):
        if tls.get(key, next(iter(known))) not in known:
            raise UnreadableError(f"{path}: {key} {tls[key]!r} is not one of {', '.join(known)}")
    if tls.get("client_auth_type", "NoClientCert") != "NoClientCert" and "client_ca_file" not in tls:
        raise UnreadableError(f"{path}: client_auth_type {tls['client_auth_type']} needs a client_ca_file")
    return {key: str(path.absolute().parent / value) if key in _TLS_FILES else value for key, value in tls.items()}


def _users(path: Path, said: Any) -> dict[str, str]:
    if not said:
        return {}
    _module("bcrypt")
    users = {str(name): str(hashed) for name, hashed in _table(path, "basic_auth_users", said).items()}
    for name, hashed in users.items():
        if not hashed.startswith("$2") or len(hashed) != 60:
            raise UnreadableError(f"{path}: the password of {name!r} is no bcrypt hash (htpasswd -nBC 10 {name})")
    return users


def _table(path: Path, what: str, said: Any, known: frozenset[str] | None = None) -> dict[Any, Any]:
    if not isinstance(said, dict):
        raise UnreadableError(f"{path}: {what} is no table of keys and values")
    unknown = [] if known is None else sorted(str(key) for key in said if key not in known)
    if unknown:
        raise UnreadableError(
            f"{path}: {what} has {', '.join(unknown)}; known here are {', '.join(sorted(known or ()))}"
        )
    return said


def _module(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        raise CannotError(f"--web.config.file needs Python's {name}: pip install 'swiotlb-top[web]'") from None
