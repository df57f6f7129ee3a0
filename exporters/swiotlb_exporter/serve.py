"""From a source to Prometheus until SIGTERM: over HTTP, or as a file for node_exporter."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector

from swiotlb_exporter import privileges
from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_exporter.guard import Guard
from swiotlb_exporter.server import listen, make_app, url_of
from swiotlb_exporter.service_manager import ServiceManager
from swiotlb_exporter.textfile import Textfile
from swiotlb_exporter.watch import Watch
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.errors import CannotError
from swiotlb_top.sources import Source
from swiotlb_top.sources.sampler import Sampler

PATIENCE_S: Final = 30.0
"""A source that is so late is stuck: its last numbers are shown no more, and systemd is not told that all is well."""
_BEAT_S: Final = 10.0


class _Told(BaseException):
    """SIGTERM came: a clean end, out of whatever is being done."""


def over_http(
    open_source: Callable[[], Source], host: str, port: int, *, config: Path | None, interval_s: float, devices: int
) -> None:
    """Serve until SIGTERM (a clean end) or KeyboardInterrupt.

    Listens before the source is opened: that takes seconds, in which /metrics says ``swiotlb_up 0``.

    :param devices: how many have series of their own.
    :raises SwiotlbTopError: as :class:`.Guard` and :func:`.listen`; or the source cannot be opened.
    """
    watch = Watch()
    guard = Guard(config)
    with _until_told(), listen(host, port, guard) as server:
        server.set_app(make_app(_registry(watch, devices), watch.trouble, guard))
        with _answering(server.serve_forever, server.shutdown), _watched(watch, open_source, interval_s) as reason:
            _say(f"{reason} on {url_of(server, guard.scheme)}/metrics")
            _beat(watch, _BEAT_S, lambda: None, interval_s + PATIENCE_S)


def into_directory(open_source: Callable[[], Source], directory: Path, *, interval_s: float, devices: int) -> None:
    """Write swiotlb.prom into ``directory`` once an interval until SIGTERM or KeyboardInterrupt.

    :raises SwiotlbTopError: the directory cannot be written to at the beginning, or the source not opened.
    """
    watch = Watch()
    with _until_told():
        textfile = Textfile(directory, _registry(watch, devices))
        try:
            with _watched(watch, open_source, interval_s) as reason:
                textfile.write()  # may be forbidden by now: a directory of somebody else's
                _say(f"{reason} into {directory}")
                _beat(watch, interval_s, _complaining_once(textfile.write), interval_s + PATIENCE_S)
        finally:
            textfile.remove()


@contextmanager
def _watched(watch: Watch, open_source: Callable[[], Source], interval_s: float) -> Iterator[str]:
    """Open the source, give up what that needed, and sample it; yields what it is, in words."""
    manager = ServiceManager()
    manager.tell("STATUS=attaching")
    with closing(open_source()) as source:
        debugfs = source.snapshot().source == "debugfs"
        privileges.drop(keep=(privileges.CAP_DAC_READ_SEARCH,) if debugfs else ())
        with Sampler(source, interval_s, PATIENCE_S, Frame.alone) as sampler:
            watch.sampler = sampler
            now = sampler.frame.now
            manager.tell("READY=1", f"STATUS={now.source}: {now.reason}")
            try:
                yield f"{now.source} ({now.reason})"
            finally:
                manager.tell("STOPPING=1")


def _registry(watch: Watch, devices: int) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(watch.snapshot, devices=devices))
    # Under a name of its own: node_exporter, which reads the file, has process_* too.
    ProcessCollector(namespace="swiotlb_exporter", registry=registry)
    return registry


@contextmanager
def _until_told() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _Told

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except _Told:
        return
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _answering(serve: Callable[[], None], shutdown: Callable[[], None]) -> Iterator[None]:
    """Answer requests in a thread that may do nothing else."""

    def answer() -> None:
        # Where this fails it fails in the main thread too, which says so.
        with suppress(CannotError):
            privileges.drop()
        serve()

    thread = threading.Thread(target=answer, name="http", daemon=True)
    thread.start()
    try:
        yield
    finally:
        shutdown()
        thread.join()


def _beat(watch: Watch, interval_s: float, each_time: Callable[[], None], patience_s: float) -> None:
    """Do it once an interval, and tell systemd, as often as it wants, that the source answered in time."""
    manager = ServiceManager()
    if manager.watchdog_s:
        interval_s = min(interval_s, manager.watchdog_s / 3)
    while True:
        time.sleep(interval_s)
        each_time()
        if watch.alive(patience_s):
            manager.tell("WATCHDOG=1")


def _complaining_once(write: Callable[[], None]) -> Callable[[], None]:
    """``write``, whose failures are said when they begin: a full disk may have room again."""
    failing = False

    def each_time() -> None:
        nonlocal failing
        try:
            write()
            failing = False
        except CannotError as error:
            if not failing:
                _say(str(error))
            failing = True

    return each_time


def _say(line: str) -> None:
    print(f"swiotlb-top: {line}", file=sys.stderr, flush=True)
