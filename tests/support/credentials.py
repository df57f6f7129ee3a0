"""What somebody shows at the door, and what the exporter is told to look at: certificates and a password."""

from __future__ import annotations

import base64
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import bcrypt
import pytest

from tests.support.served import DEADLINE_S

PASSWORD: Final = "correct horse: battery ünï"  # noqa: S105
HASH: Final = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
USERS: Final = f"basic_auth_users:\n  prometheus: {HASH}\n"
LOOPBACK: Final = "IP:127.0.0.1"


@dataclass(frozen=True)
class Authority:
    """Certificates of a test's own: a CA, a server at 127.0.0.1 and a client signed by it, and a stranger."""

    directory: Path

    def context(self, client: str = "") -> ssl.SSLContext:
        """What a client needs that trusts the CA, and shows a certificate if it is to."""
        context = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        if client:
            context.load_cert_chain(self.directory / f"{client}.pem", self.directory / f"{client}.key")
        return context

    def text(self, name: str) -> str:
        """The text of a file."""
        return (self.directory / name).read_text()


def openssl(*words: str) -> None:
    """Run it."""
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=DEADLINE_S)


def certify(directory: Path, name: str, signer: str = "ca", names: str = LOOPBACK) -> None:
    """A key, and a certificate for ``names`` that ``signer`` has signed; its own if that is itself."""
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    key, certificate = (str(directory / f"{name}.{kind}") for kind in ("key", "pem"))
    by = [] if signer == name else ["-CA", str(directory / f"{signer}.pem"), "-CAkey", str(directory / f"{signer}.key")]
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName={names}"]
    openssl(*made, "-keyout", key, "-out", certificate, *subject, *by)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Made anew for a module."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    directory = tmp_path_factory.mktemp("authority")
    for name, signer in (("ca", "ca"), ("server", "ca"), ("client", "ca"), ("stranger", "stranger")):
        certify(directory, name, signer)
    return Authority(directory)


def tls(authority: Authority, **more: str | Path) -> str:
    """A configuration with the authority's server, and more keys."""
    keys: Mapping[str, str | Path] = {
        "cert_file": authority.directory / "server.pem",
        "key_file": authority.directory / "server.key",
        **more,
    }
    return "tls_server_config:\n" + "".join(f"  {key}: {value}\n" for key, value in keys.items())


def written(directory: Path, text: str) -> Path:
    """The file for --web.config.file."""
    path = directory / "web.yml"
    path.write_text(text)
    return path


def login(name: str, password: str) -> str:
    """The header that a user shows."""
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


KNOWN: Final = login("prometheus", PASSWORD)


def status(url: str, context: ssl.SSLContext | None = None, authorization: str = "") -> int:
    """What whoever asks for a page is told."""
    headers = {"Authorization": authorization} if authorization else {}
    asked = urllib.request.Request(url, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=DEADLINE_S, context=context) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
