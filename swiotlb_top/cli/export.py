"""``swiotlb-top export``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swiotlb_exporter.wanted import Part, Wanted
from swiotlb_top.cli import flight
from swiotlb_top.cli.options import (
    FileName,
    FromEnvironment,
    Seconds,
    examples,
    given,
    source_option,
    strays,
    trace_option,
)
from swiotlb_top.errors import Exit, SwiotlbTopError, UsageError

if TYPE_CHECKING:
    import socket
    from logging import Logger

    from swiotlb_exporter.run.serve import Beside, OpenSource, Watching
    from swiotlb_top.flight.hosted import Hosted
    from swiotlb_top.flight.recorder import Plan
    from swiotlb_top.sources import Source
    from swiotlb_top.sources.select import Opener

EPILOG = examples(
    "swiotlb-top export",
    "curl -s http://127.0.0.1:9788/metrics",
    "swiotlb-top export --web.listen-address :9788      on every address: mind who can reach it",
    "swiotlb-top export --textfile /var/lib/node_exporter",
    "swiotlb-top export --flight 60s                    also be a flight recorder, on the same probes",
)

DEVICES_MAX = 100_000
LISTEN = "127.0.0.1:9788"
_OF_HTTP = {"listen": "--web.listen-address", "config": "--web.config.file"}


@click.command(cls=FromEnvironment, epilog=EPILOG)
@click.option(
    "--web.listen-address",
    "listen",
    multiple=True,
    metavar="ADDRESS",
    help="HOST:PORT to serve on; no host: every address; port 0: a free one. vsock://CID:PORT: for the host of a "
    "virtual machine; no CID: any. May be given several times. Default: the sockets that systemd passes, or, where it "
    f"passes none, {LISTEN}.",
)
@click.option(
    "--web.config.file",
    "config",
    type=FileName(),
    metavar="FILE",
    help="TLS, who may come in and how often, in the form of Prometheus's own exporters. Default: plain HTTP for all.",
)
@click.option(
    "--textfile",
    type=FileName(),
    metavar="DIR",
    help="Serve nothing; write DIR/swiotlb.prom once an interval, for node_exporter. Default: none.",
)
@source_option("the first that this machine allows")
@trace_option("Export a recording, over and over: to try dashboards and alerts.")
@click.option(
    "--interval",
    "interval_s",
    type=Seconds(0.1),
    default=5.0,
    metavar="SECONDS",
    help="How often swiotlb is read, scraped or not. Default: 5.",
)
@click.option(
    "--devices",
    type=click.IntRange(1, DEVICES_MAX),
    default=100,
    metavar="N",
    help='Devices with series of their own; the others are summed up as "other". Default: 100.',
)
@click.option(
    "--only",
    multiple=True,
    metavar="PATTERN",
    help="Devices that may have series of their own: those whose name or driver matches ('0000:00:04.0', 'nvme*'); the "
    'others count as "other". May be given more than once. Default: any.',
)
@click.option(
    "--without",
    type=click.Choice([part.value for part in Part]),
    multiple=True,
    help="Series to leave out: histograms, causes that no map has failed for yet, or bytes where slots say the same. "
    "May be given more than once. Default: none.",
)
@click.option(
    "--exit-if-blind",
    is_flag=True,
    help="End with status 3 where this machine cannot be watched. Default: serve swiotlb_up 0 and the reason, and "
    "try again once a minute.",
)
@click.option(
    "--log.level",
    "log_level",
    type=click.Choice(["debug", "info", "warn", "error"]),
    default="info",
    help="What is said on standard error; debug: each request and each failed handshake, too. Default: info.",
)
@click.option(
    "--log.format",
    "log_format",
    type=click.Choice(["plain", "logfmt", "json"]),
    default="plain",
    help="How it is said: as other commands do, or with time and level, for machines. Default: plain.",
)
@flight.hosting_options
@click.pass_context
def export(
    context: click.Context,
    /,
    listen: tuple[str, ...],
    config: Path | None,
    textfile: Path | None,
    log_level: str,
    log_format: str,
    **what: Any,
) -> Exit:
    """Serve this machine's swiotlb to Prometheus, until told to stop.

    Once the probes are attached, all capabilities are given up.

    The environment sets options, too: SWIOTLB_TOP_EXPORT_WEB_LISTEN_ADDRESS is --web.listen-address, and so on.

    With --flight it is also what record --flight is: its probes record all the time, even while a file is written.
    """
    named = given(context)
    for name in sorted(named & _OF_HTTP.keys()) if textfile is not None else ():
        raise click.UsageError(f"--textfile and {_OF_HTTP[name]} exclude each other")
    _refuse(named, **what)
    listeners = [] if textfile is not None else _listeners(listen)
    from swiotlb_exporter.run import log, serve

    with log.written(log_level, log_format) as logger:
        for stray in strays(context.command, os.environ):
            logger.warning("the environment variable %s sets no option; see swiotlb-top export --help", stray)
        try:
            with _watching(logger, **what) as watching:
                if textfile is not None:
                    serve.into_directory(watching, textfile)
                else:
                    serve.over_http(watching, listeners, config=config)
        except SwiotlbTopError as error:
            logger.error("%s", error)
            return error.exit_code
    return Exit.OK


def _refuse(named: set[str], *, flight_s: float | None, trace: Path | None, source: str, **_: Any) -> None:
    if flight_s is None:
        flight.refuse(named, hosted=True)
    elif trace is not None or source == "debugfs":
        raise click.UsageError("--flight records what the probes tell: it takes no --trace and no --source debugfs")


def _listeners(listen: tuple[str, ...]) -> list[Callable[[], socket.socket]]:
    """What makes each socket to listen on.

    :raises UsageError: an address is none, or systemd passes sockets besides.
    """
    from swiotlb_exporter.run.service_manager import descriptors
    from swiotlb_exporter.web import listeners

    passed = descriptors()
    if passed and listen:
        raise UsageError("systemd passes sockets to listen on, and --web.listen-address names others: leave one out")
    if passed:
        return [partial(listeners.adopted, descriptor) for descriptor in passed]
    return [partial(listeners.listen, listeners.address(said)) for said in listen or (LISTEN,)]


@contextmanager
def _watching(
    logger: Logger,
    source: str,
    trace: Path | None,
    interval_s: float,
    devices: int,
    only: tuple[str, ...],
    without: tuple[str, ...],
    exit_if_blind: bool,
    flight_s: float | None,
    **of_flight: Any,
) -> Iterator[Watching]:
    """What is to be exported, and what runs beside it."""
    from swiotlb_exporter.run import serve
    from swiotlb_top.sources import select

    openers = select.kernel_sources(of_flight["program"], None if source == "auto" else source)
    wanted = Wanted(devices, only, frozenset(map(Part, without)))
    open_source: OpenSource = partial(select.first_that_opens, openers)
    beside: Beside = nullcontext
    with ExitStack() as stack:
        if trace is not None:
            open_source = partial(_round_and_round, trace)
        elif flight_s is not None:
            plan = flight.plan_of(flight_s=flight_s, **of_flight)
            recorder = stack.enter_context(_flight_recorder(plan, logger.warning))
            open_source, beside = partial(_on_its_probes, recorder, openers), recorder.running
        # A recording that cannot be replayed now never can.
        yield serve.Watching(open_source, interval_s, wanted, exit_if_blind or trace is not None, beside)


def _flight_recorder(plan: Plan, say: Callable[[str], object]) -> AbstractContextManager[Hosted]:
    from swiotlb_top.cli.record import advise
    from swiotlb_top.flight.hosted import hosted

    advise(plan.directory, say)
    return hosted(plan, say)


def _on_its_probes(recorder: Hosted, openers: dict[str, Opener]) -> Source:
    """The live source on the probes of a flight recorder, or the next that opens; each snapshot says which."""
    from swiotlb_top.sources import select

    source = select.first_that_opens({**openers, "live": recorder.open_live})
    return select.RetoldSource(source, recorder.retold)


def _round_and_round(trace: Path) -> Source:
    from swiotlb_exporter.run.laps import Laps
    from swiotlb_top.sources import select

    return Laps(select.open_trace(trace, loops=True))
