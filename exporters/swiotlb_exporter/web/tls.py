"""TLS as ``tls_server_config`` has it: Go's names and what OpenSSL calls them, the context, the names of a client."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from swiotlb_top.errors import UnreadableError

VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_OLD: Final = "is spoken no more (RFC 8996)"
OLD_VERSIONS: Final = {"TLS10": _OLD, "TLS11": _OLD}

CLIENT_AUTH: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_UNVERIFIED: Final = (
    "Python's ssl cannot ask for a certificate without verifying it; RequireAndVerifyClientCert lets in who has one"
)
CANNOT_AUTH: Final = dict.fromkeys(("RequestClientCert", "RequireAnyClientCert", "RequireClientCert"), _UNVERIFIED)

TLS_1_3: Final = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""Cipher suites that TLS 1.3 always has: here, as in Go, a list of suites is for the versions before."""
CIPHERS: Final = dict.fromkeys(TLS_1_3, "") | {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
"""Those of Go's tls.CipherSuites(); empty: OpenSSL is not told."""
CURVES: Final = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}

_MATCHED: Final = ("DNS", "email", "URI")
"""Kinds of subject alternative names that are compared as they are written."""


@dataclass(frozen=True, slots=True)
class Pem:
    """Certificates or a key: a file, or the text itself."""

    key: str
    """The key of the configuration that gives it."""
    path: Path | None = None
    inline: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.key} {self.path}" if self.path else self.key

    @contextmanager
    def file_name(self) -> Iterator[str]:
        """The name of a file that has it; what is inline is in memory only."""
        if self.path:
            yield str(self.path)
            return
        with open(os.memfd_create(self.key), "wb") as file:
            file.write(self.inline.encode())
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"


@dataclass(frozen=True, slots=True)
class Tls:
    """What ``tls_server_config`` says, in OpenSSL's words."""

    certificate: Pem
    private_key: Pem
    client_auth: ssl.VerifyMode = ssl.CERT_NONE
    client_ca: Pem | None = None
    """Who signs clients' certificates; None: the system's authorities."""
    allowed_sans: frozenset[str] = frozenset()
    """Names of which a client's certificate must have one; empty: any."""
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    max_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: tuple[str, ...] = ()
    """Suites for TLS 1.2, the best first; empty: Python's."""
    prefers_own_ciphers: bool = True
    curve: str = ""
    """The only one; empty: OpenSSL's."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are read."""
        return tuple(pem.path for pem in (self.certificate, self.private_key, self.client_ca) if pem and pem.path)

    def context(self) -> ssl.SSLContext:
        """A server's context.

        :raises UnreadableError: the certificates or the key cannot be read, or do not belong together.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version, context.maximum_version = self.min_version, self.max_version
        if self.ciphers:
            context.set_ciphers(":".join(self.ciphers))
        context.options |= ssl.OP_NO_RENEGOTIATION
        if self.prefers_own_ciphers:
            context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        else:
            context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_alpn_protocols(["http/1.1"])
        if self.curve:
            # Not every Python's ssl has X25519 here.
            with _saying(f"curve_preferences {self.curve}"):
                context.set_ecdh_curve(self.curve)
        with (
            _saying(f"{self.certificate}, {self.private_key}"),
            self.certificate.file_name() as certificate,
            self.private_key.file_name() as key,
        ):
            # A password, so that none is asked for on the terminal.
            context.load_cert_chain(certificate, key, password="")
        context.verify_mode = self.client_auth
        if self.client_ca:
            with _saying(str(self.client_ca)), self.client_ca.file_name() as authorities:
                context.load_verify_locations(authorities)
        elif self.client_auth != ssl.CERT_NONE:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return context

    def allows(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a client may come in that has shown this certificate, which was verified; None: it has shown none."""
        return not self.allowed_sans or not self.allowed_sans.isdisjoint(_names(certificate or {}))


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    """The names of a certificate as Go writes them: an IPv6 address is shortened."""
    for kind, name in certificate.get("subjectAltName", ()):
        if kind in _MATCHED:
            yield name
        elif kind == "IP Address":
            yield str(ipaddress.ip_address(name.strip()))


@contextmanager
def _saying(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise UnreadableError(f"TLS cannot be set up from {what}: {error}") from error
