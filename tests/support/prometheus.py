"""Debian's Prometheus, started on loopback for a test: nothing of it is there before or after."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
DEPLOYED: Final = ROOT / "exporters"
RULES: Final = tuple(DEPLOYED / "prometheus" / f"swiotlb-{kind}.yml" for kind in ("recording", "alerts"))
DEADLINE_S: Final = 300.0
POLL_S: Final = 0.2
REQUIRE_LAB: Final = "SWIOTLB_TOP_REQUIRE_LAB"


def _program(name: str) -> str | None:
    """Where `make` has unpacked it, or where it is installed."""
    return shutil.which(name, path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))


MISSING: Final = (_program("prometheus") is None or _program("promtool") is None) and not os.environ.get(REQUIRE_LAB)
WHY_MISSING: Final = "the distribution's prometheus is not there: make test unpacks it"
needs_prometheus: Final = pytest.mark.skipif(MISSING, reason=WHY_MISSING)


def promtool(*words: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool; ``given`` is its input."""
    return subprocess.run(
        [_program("promtool") or "promtool", *words],
        input=given,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A server that runs."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an instant query gives: a list of {metric, value}."""
        with urllib.request.urlopen(  # noqa: S310
            f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}", timeout=DEADLINE_S
        ) as answer:
            return list(json.load(answer)["data"]["result"])

    def alerts(self, state: str = "firing") -> list[dict[str, Any]]:
        """Alerts in a state, with labels and annotations."""
        with urllib.request.urlopen(f"{self.url}/api/v1/alerts", timeout=DEADLINE_S) as answer:  # noqa: S310
            return [alert for alert in json.load(answer)["data"]["alerts"] if alert["state"] == state]


@contextmanager
def running(
    directory: Path,
    targets: Mapping[str, str],
    *,
    every: str = "1s",
    more: Mapping[str, Any] | None = None,
    features: Sequence[str] = (),
) -> Iterator[Prometheus]:
    """A server that scrapes ``targets`` (instance -> host:port) as job swiotlb, with the deployed rules.

    :param every: interval of scrapes and rules.
    :param more: of the scrape configuration.
    :param features: what is off unless asked for.
    """
    port = free_port()
    # JSON is YAML.
    configuration = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(path) for path in RULES],
        "scrape_configs": [
            {
                "job_name": "swiotlb",
                "static_configs": [
                    {"targets": [address], "labels": {"instance": instance}} for instance, address in targets.items()
                ],
                **(more or {}),
            }
        ],
    }
    (directory / "prometheus.yml").write_text(json.dumps(configuration))
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                _program("prometheus") or "prometheus",
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
                *(f"--enable-feature={feature}" for feature in features),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        server = Prometheus(f"http://127.0.0.1:{port}")
        eventually(lambda: process.poll() is not None or answers(f"{server.url}/-/ready"))
        assert process.poll() is None, (directory / "prometheus.log").read_text()
        yield server
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def eventually(happens: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Wait until it does. AssertionError at the deadline."""
    give_up_s = time.monotonic() + deadline_s
    while not happens():
        assert time.monotonic() < give_up_s, "it never happened"
        time.sleep(POLL_S)


def answers(url: str) -> bool:
    """Whether a page is there."""
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:  # noqa: S310
            return int(answer.status) == 200
    except (urllib.error.URLError, ConnectionError):
        return False


def free_port() -> int:
    """A port of loopback that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def values(result: Sequence[Mapping[str, Any]]) -> list[float]:
    """The values of an instant query's result."""
    return [float(one["value"][1]) for one in result]
