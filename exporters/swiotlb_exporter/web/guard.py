"""Who may see the metrics: TLS and basic authentication as ``--web.config.file`` says, read anew when it changes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from swiotlb_exporter.web import web_config
from swiotlb_exporter.web.web_config import WebConfig
from swiotlb_top.errors import SwiotlbTopError

_REMEMBERED: Final = 100
_NOBODYS_HASH: Final = "$2b$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
"""The hash to compare with if the name is not known, so that the answer takes as long."""


class Guard:
    """The configuration in force. Certificates are renewed and users changed while the exporter runs.

    :param path: of the file, or None for plain HTTP without authentication.
    :raises SwiotlbTopError: as :func:`.web_config.read` and :meth:`.WebConfig.tls_context`. Later such faults are
        said on stderr once, and what was in force stays so.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._admitted: set[bytes] = set()
        self._config = web_config.read(path) if path else WebConfig()
        self._context = self._config.tls_context()
        self._versions = _versions(self._config)
        self._said = ""
        for ignored in self._config.ignored:
            print(f"swiotlb-top: {path}: {ignored} is ignored: this exporter does not have it", file=sys.stderr)

    @property
    def scheme(self) -> str:
        return "https" if self._config.tls else "http"

    def tls_context(self) -> ssl.SSLContext | None:
        """For the next connection; None: no TLS."""
        self._renew()
        return self._context

    def admits(self, authorization: str) -> bool:
        """Whether an ``Authorization`` header is that of a user; always true where there are none."""
        users = self._config.users
        if not users:
            return True
        name, password = _basic(authorization)
        hashed = users.get(name, _NOBODYS_HASH)
        # bcrypt takes its time, a scraper's password is the same each time: a digest of what was right is kept.
        token = hashlib.sha256(f"{name}\0{password}\0{hashed}".encode()).digest()
        with self._lock:
            if token in self._admitted:
                return True
        # Outside the lock: somebody who tries passwords must not delay scrapers that are known already.
        if not _matches(password, hashed) or name not in users:
            return False
        with self._lock:
            if len(self._admitted) >= _REMEMBERED:
                self._admitted.clear()
            self._admitted.add(token)
        return True

    def _renew(self) -> None:
        if self._path is None:
            return
        with self._lock:
            versions = _versions(self._config)
            if versions == self._versions:
                return
            self._versions = versions
            try:
                config = web_config.read(self._path)
                context = config.tls_context()
                if bool(config.tls) != bool(self._config.tls):
                    raise SwiotlbTopError(f"{self._path}: TLS is turned on or off by a restart only")
            except SwiotlbTopError as error:
                # Certificate and key change one after the other: the same fault is then met twice.
                if str(error) != self._said:
                    print(f"swiotlb-top: {error}; what was in force stays", file=sys.stderr)
                self._said = str(error)
                return
            self._config, self._context, self._said = config, context, ""
            self._versions = _versions(config)


def guarded(app: Callable[..., Any], guard: Guard) -> Callable[..., Any]:
    """``app`` for users only; others are told 401."""

    def ask(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if guard.admits(environ.get("HTTP_AUTHORIZATION", "")):
            return app(environ, start_response)
        body = b"a user's name and password are needed\n"
        headers = [("WWW-Authenticate", 'Basic realm="swiotlb-top"'), ("Content-Type", "text/plain; charset=utf-8")]
        start_response("401 Unauthorized", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    return ask


def _versions(config: WebConfig) -> tuple[object, ...]:
    """Of each file, what changes when it is written or replaced; None where it cannot be seen."""

    def version(path: Path) -> object:
        try:
            status = path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    return tuple(version(path) for path in config.files)


def _basic(authorization: str) -> tuple[str, str]:
    """Name and password; both empty where the header is none of RFC 7617's."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, password


def _matches(password: str, hashed: str) -> bool:
    import bcrypt

    try:
        return bcrypt.checkpw(password.encode(), hashed.encode())
    except ValueError:  # longer than bcrypt takes
        return False
