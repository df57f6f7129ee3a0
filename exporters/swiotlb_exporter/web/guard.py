"""Who may see the metrics: what ``--web.config.file`` says, read anew when it changes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import math
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from swiotlb_exporter.web import web_config
from swiotlb_exporter.web.messages import Answer, Request, told
from swiotlb_exporter.web.rate_limit import Bucket
from swiotlb_exporter.web.tls import Tls
from swiotlb_exporter.web.web_config import WebConfig
from swiotlb_top.errors import SwiotlbTopError

_LOG: Final = logging.getLogger(__name__)
_REMEMBERED: Final = 100
_TRIED_AT_ONCE: Final = 10
"""Passwords that wait to be looked at, the one that is being looked at among them."""
_ASK: Final = {"WWW-Authenticate": 'Basic realm="swiotlb-top"'}
_NOBODYS_HASH: Final = "$2b$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
"""The hash to compare with if the name is not known, so that the answer takes as long."""


@dataclass(frozen=True, slots=True, eq=False)
class Secured:
    """TLS as it is in force: those who shook hands by another shake hands anew."""

    tls: Tls
    context: ssl.SSLContext


class Guard:
    """The configuration in force. Certificates are renewed and users changed while the exporter runs.

    :param path: of the file, or None for plain HTTP without authentication.
    :raises SwiotlbTopError: as :func:`.web_config.read` and :meth:`.Tls.context`. Later such faults are logged once,
        and what was in force stays so.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._trying = threading.Lock()
        self._queue = threading.Semaphore(_TRIED_AT_ONCE)
        self._admitted: set[bytes] = set()
        self._config = web_config.read(path) if path else WebConfig()
        self._secured = _secured(self._config)
        self._bucket = _bucket(self._config)
        self._versions = _versions(self._config)
        self._said = ""
        self._remark()

    @property
    def scheme(self) -> str:
        return "https" if self._config.tls else "http"

    @property
    def headers(self) -> Mapping[str, str]:
        """What each answer has besides."""
        return self._config.headers

    def secured(self) -> Secured | None:
        """TLS for a connection, as the files have it now; None: plain HTTP."""
        self._renew()
        return self._secured

    def refusal(self, request: Request) -> Answer | None:
        """What somebody is told who asks too often or is no user; None: the page may be shown."""
        bucket = self._bucket
        # First: to look at a password takes long.
        if bucket and not bucket.take():
            return _too_many("too many requests", bucket.limit.interval_s)
        users = self._config.users
        if not users:
            return None
        name, password = _basic(request.headers.get("Authorization", ""))
        hashed = users.get(name, _NOBODYS_HASH)
        # bcrypt takes its time, a scraper's password is the same each time: a digest of what was right is kept.
        token = hashlib.sha256(f"{name}\0{password}\0{hashed}".encode()).digest()
        with self._lock:
            if token in self._admitted:
                return None
        # Not in that lock: somebody who tries passwords must not delay scrapers that are known already. And one at a
        # time, with few who wait for it: many who try must take neither all CPUs nor all connections.
        if not self._queue.acquire(blocking=False):
            return _too_many("too many passwords are tried", 1.0)
        try:
            with self._trying:
                right = _matches(password, hashed) and name in users
        finally:
            self._queue.release()
        if not right:
            return told(HTTPStatus.UNAUTHORIZED, "a user's name and password are needed", _ASK)
        self._remember(token)
        return None

    def _remember(self, token: bytes) -> None:
        with self._lock:
            if len(self._admitted) >= _REMEMBERED:
                self._admitted.clear()
            self._admitted.add(token)

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
                secured = _secured(config)
                if bool(secured) != bool(self._secured):
                    raise SwiotlbTopError(f"{self._path}: TLS is turned on or off by a restart only")
            except SwiotlbTopError as error:
                # Certificate and key change one after the other: the same fault is then met twice.
                if str(error) != self._said:
                    _LOG.warning("%s; what was in force stays", error)
                self._said = str(error)
                return
            if config.rate_limit != self._config.rate_limit:
                self._bucket = _bucket(config)
            self._config, self._secured, self._said = config, secured, ""
            self._versions = _versions(config)
            self._remark()

    def _remark(self) -> None:
        for remark in self._config.remarks:
            _LOG.warning("%s: %s", self._path, remark)


def _too_many(what: str, wait_s: float) -> Answer:
    return told(HTTPStatus.TOO_MANY_REQUESTS, what, {"Retry-After": str(math.ceil(wait_s))})


def _secured(config: WebConfig) -> Secured | None:
    return Secured(config.tls, config.tls.context()) if config.tls else None


def _bucket(config: WebConfig) -> Bucket | None:
    return Bucket(config.rate_limit) if config.rate_limit else None


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
