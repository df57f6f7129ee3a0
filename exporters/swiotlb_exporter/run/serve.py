"""From a source to Prometheus until SIGTERM: over HTTP, or as a file for node_exporter."""

from __future__ import annotations

import logging
import math
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_exporter.run import privileges
from swiotlb_exporter.run.service_manager import ServiceManager
from swiotlb_exporter.run.textfile import Textfile
from swiotlb_exporter.wanted import Wanted
from swiotlb_exporter.watch import Watch
from swiotlb_exporter.web.guard import Guard
from swiotlb_exporter.web.pages import Pages
from swiotlb_exporter.web.server import Server
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.errors import CannotError, UnreadableError
from swiotlb_top.sources import Source
from swiotlb_top.sources.sampler import Sampler

_LOG: Final = logging.getLogger(__name__)
PATIENCE_S: Final = 30.0
"""A source that is so late is stuck: its last numbers are shown no more, and systemd is not told that all is well."""
RETRY_S: Final = 60.0
"""How long a kernel that cannot be watched is left alone before it is asked again: privileges and settings change."""
_BEAT_S: Final = 10.0

OpenSource = Callable[[], Source]
Beside = Callable[[], AbstractContextManager[None]]


class _Told(BaseException):
    """SIGTERM came: it ends whatever the exporter is doing, cleanly."""


@dataclass(frozen=True, slots=True)
class Watching:
    """What to export, and how often."""

    open_source: OpenSource
    interval_s: float
    wanted: Wanted
    exit_if_blind: bool = False
    """End where the source cannot be opened, rather than serve ``swiotlb_up 0`` and try again."""
    beside: Beside = nullcontext
    """What runs beside the source, from when it is open and privileges are given up."""

    @property
    def patience_s(self) -> float:
        """How long after its last answer a source is stuck."""
        return self.interval_s + PATIENCE_S


def over_http(watching: Watching, listeners: Sequence[Callable[[], socket.socket]], *, config: Path | None) -> None:
    """Serve until SIGTERM (a clean end) or KeyboardInterrupt.

    Listens before the source is opened: that takes seconds, in which /metrics says ``swiotlb_up 0``.

    :param listeners: each makes a socket that listens, or finds it made.
    :raises SwiotlbTopError: as :class:`.Guard` and ``listeners``; the recording cannot be read; or the source cannot
        be opened and ``exit_if_blind`` is set.
    """
    watch = Watch(watching.patience_s)
    guard = Guard(config)
    pages = Pages(_registry(watch, watching.wanted), watch, guard)
    with _until_told(), ExitStack() as stack:
        sockets = [stack.enter_context(listening()) for listening in listeners]
        server = stack.enter_context(Server(sockets, pages, guard))
        where = f"on {', '.join(f'{url}/metrics' for url in server.urls())}"
        with _answering(server.serve, server.stop):
            _keep_watching(watch, watching, where, lambda: None, _BEAT_S)


def into_directory(watching: Watching, directory: Path) -> None:
    """Write swiotlb.prom into ``directory`` once an interval until SIGTERM or KeyboardInterrupt.

    :raises SwiotlbTopError: the directory cannot be written to at the beginning; otherwise as :func:`over_http`.
    """
    watch = Watch(watching.patience_s)
    with _until_told():
        textfile = Textfile(directory, _registry(watch, watching.wanted))
        try:
            _keep_watching(watch, watching, f"into {directory}", textfile.write, watching.interval_s)
        finally:
            textfile.remove()


def _keep_watching(watch: Watch, watching: Watching, where: str, each_time: Callable[[], None], beat_s: float) -> None:
    """Open the source, for as long as it takes, and then read it until the process is told to end.

    :param each_time: what is done once an interval, watched or blind; its first failure ends all.
    """
    manager = ServiceManager()
    manager.tell("STATUS=attaching")
    pulse = _Pulse(watch, manager, each_time, beat_s)
    with _opened(watch, watching, where, pulse) as source:
        debugfs = source.snapshot().source == "debugfs"
        privileges.drop(keep=(privileges.CAP_DAC_READ_SEARCH,) if debugfs else ())
        sampling = Sampler(source, watching.interval_s, PATIENCE_S, Frame.alone, watch.recent)
        with watching.beside(), sampling as sampler:
            watch.begin(sampler)
            now = sampler.frame.now
            pulse.ready(f"{now.source}: {now.reason}")
            _LOG.info("%s (%s) %s", now.source, now.reason, where)
            try:
                pulse.beat()
            finally:
                manager.tell("STOPPING=1")


@contextmanager
def _opened(watch: Watch, watching: Watching, where: str, pulse: _Pulse) -> Iterator[Source]:
    """The source, as soon as it opens. Until then the reason is served, and printed when it changes."""
    said = ""
    while True:
        try:
            source = watching.open_source()
            break
        except (CannotError, UnreadableError) as refusal:
            if watching.exit_if_blind:
                raise
            watch.refusal = refusal
            if str(refusal) != said:
                _LOG.warning("%s; serving swiotlb_up 0 %s", refusal, where)
            said = str(refusal)
            pulse.ready(f"blind: {refusal}")
            pulse.beat(RETRY_S)
    with closing(source):
        yield source


class _Pulse:
    """What is done at every interval, and telling systemd, as often as it wants, that the exporter works."""

    def __init__(self, watch: Watch, manager: ServiceManager, each_time: Callable[[], None], interval_s: float) -> None:
        self._watch = watch
        self._manager = manager
        self._first_time = each_time
        self._each_time = _complaining_once(each_time)
        self._interval_s = min(interval_s, manager.watchdog_s / 3) if manager.watchdog_s else interval_s

    def ready(self, status: str) -> None:
        """Metrics are available from now on. :raises CannotError: the textfile cannot be written (any more)."""
        self._first_time()  # may be forbidden by now: a directory of somebody else's
        self._manager.tell("READY=1", f"STATUS={status}")

    def beat(self, for_s: float = math.inf) -> None:
        """Go on for ``for_s``."""
        end_s = time.monotonic() + for_s
        while (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(self._interval_s, left_s))
            self._each_time()
            if self._watch.alive():
                self._manager.tell("WATCHDOG=1")


def _registry(watch: Watch, wanted: Wanted) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(watch.snapshot, wanted=wanted, findings=lambda: watch.recent.told))
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
                _LOG.error("%s", error)
            failing = True

    return each_time
