"""Who may see the metrics: what ``--web.config.file`` says, read anew when it changes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import math
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from swiotlb_exporter.web import web_config
from swiotlb_exporter.web.messages import Answer, Request, told
from swiotlb_exporter.web.rate_limit import Bucket
from swiotlb_exporter.web.tls import Tls
from swiotlb_exporter.web.turns import Turns
from swiotlb_exporter.web.web_config import WebConfig
from swiotlb_top.errors import SwiotlbTopError

_LOG: Final = logging.getLogger(__name__)
_REMEMBERED: Final = 100
_TRIED_AT_ONCE: Final = 10
"""Passwords that wait to be looked at, the one that is being looked at among them."""
_TRIED_BY_ONE: Final = 5
"""Of these, from one address."""
_ASK: Final = {"WWW-Authenticate": 'Basic realm="swiotlb-top"'}
_PASSWORD_BYTES: Final = 72
"""What bcrypt takes; what follows does not count, as with Prometheus's own exporters."""
_NOBODYS_COST: Final = 10
_NOBODYS: Final = "$2b${:02}$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
"""The hash to compare with if the name is not known, at the cost of the others, so that the answer takes as long."""
_AGAIN_S: Final = 1.0
"""After which a configuration is read again that could not be read: what it lacked may be there."""


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
        self._turns = Turns(_TRIED_AT_ONCE, _TRIED_BY_ONE)
        self._admitted: set[bytes] = set()
        self._config, self._versions, self._secured = _in_force(path) if path else (WebConfig(), (), None)
        self._bucket = _bucket(self._config)
        self._again_s = math.inf
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
        shown = _basic(request.headers.get("Authorization", ""))
        if shown is None:
            return _asked_for_login()
        name, password = shown
        hashed = users.get(name) or _nobodys_hash(users)
        # bcrypt takes its time, a scraper's password is the same each time: a digest of what was right is kept.
        token = hashlib.sha256(f"{name}\0{password}\0{hashed}".encode()).digest()
        with self._lock:
            if token in self._admitted:
                return None
        # Not in that lock: somebody who tries passwords must not delay scrapers that are known already. And one at a
        # time, with few who wait for it: many who try must take neither all CPUs nor all connections.
        with self._turns.waited_for(request.client) as turn:
            if not turn:
                return _too_many("too many passwords are tried", 1.0)
            right = _matches(password, hashed) and name in users
        if not right:
            return _asked_for_login()
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
            versions = _versions(self._config.files)
            if versions == self._versions and time.monotonic() < self._again_s:
                return
            self._versions = versions
            try:
                config, versions, secured = _in_force(self._path)
                if bool(secured) != bool(self._secured):
                    raise SwiotlbTopError(f"{self._path}: TLS is turned on or off by a restart only")
            except SwiotlbTopError as error:
                # Certificate and key change one after the other: the same fault is then met twice.
                if str(error) != self._said:
                    _LOG.warning("%s; what was in force stays", error)
                self._said, self._again_s = str(error), time.monotonic() + _AGAIN_S
                return
            if config.rate_limit != self._config.rate_limit:
                self._bucket = _bucket(config)
            self._config, self._versions, self._secured = config, versions, secured
            self._said, self._again_s = "", math.inf
            self._remark()

    def _remark(self) -> None:
        for remark in self._config.remarks:
            _LOG.warning("%s: %s", self._path, remark)


def _too_many(what: str, wait_s: float) -> Answer:
    return told(HTTPStatus.TOO_MANY_REQUESTS, what, {"Retry-After": str(math.ceil(wait_s))})


def _asked_for_login() -> Answer:
    return told(HTTPStatus.UNAUTHORIZED, "a user's name and password are needed", _ASK)


def _in_force(path: Path) -> tuple[WebConfig, tuple[object, ...], Secured | None]:
    """What the files say, and which versions of them say so: of those that are written meanwhile, the one before.

    :raises SwiotlbTopError: as :func:`.web_config.read` and :meth:`.Tls.context`.
    """
    before = _versions((path,))
    config = web_config.read(path)
    versions = (*before, *_versions(config.files[1:]))
    return config, versions, Secured(config.tls, config.tls.context()) if config.tls else None


def _bucket(config: WebConfig) -> Bucket | None:
    return Bucket(config.rate_limit) if config.rate_limit else None


def _versions(files: Sequence[Path]) -> tuple[object, ...]:
    """Of each file, what changes when it is written or replaced; None where it cannot be seen."""

    def version(path: Path) -> object:
        try:
            status = path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size

    return tuple(map(version, files))


def _nobodys_hash(users: Mapping[str, str]) -> str:
    return _NOBODYS.format(max((int(hashed.split("$")[2]) for hashed in users.values()), default=_NOBODYS_COST))


def _basic(authorization: str) -> tuple[str, str] | None:
    """Name and password; None: the header is none of RFC 7617's."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if colon else None


def _matches(password: str, hashed: str) -> bool:
    import bcrypt

    try:
        return bcrypt.checkpw(password.encode()[:_PASSWORD_BYTES], hashed.encode())
    except ValueError:  # older ones take no NUL
        return False
