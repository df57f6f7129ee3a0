"""``swiotlb-top export``."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swiotlb_exporter.wanted import Part, Wanted
from swiotlb_top.cli import flight
from swiotlb_top.cli.options import FileName, Seconds, examples, given, source_option, trace_option
from swiotlb_top.errors import Exit, UsageError

if TYPE_CHECKING:
    from swiotlb_exporter.run.serve import Beside, OpenSource
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

PORT_MAX = 65_535
DEVICES_MAX = 100_000
_OF_HTTP = {"listen": "--web.listen-address", "config": "--web.config.file"}


@click.command(epilog=EPILOG)
@click.option(
    "--web.listen-address",
    "listen",
    default="127.0.0.1:9788",
    metavar="HOST:PORT",
    help="Address to serve on; no host: every address; port 0: a free one. Default: 127.0.0.1:9788.",
)
@click.option(
    "--web.config.file",
    "config",
    type=FileName(),
    metavar="FILE",
    help="TLS and basic authentication, in the form of Prometheus's own exporters. Default: neither.",
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
@flight.hosting_options
@click.pass_context
def export(
    context: click.Context,
    /,
    listen: str,
    config: Path | None,
    textfile: Path | None,
    source: str,
    trace: Path | None,
    interval_s: float,
    devices: int,
    only: tuple[str, ...],
    without: tuple[str, ...],
    exit_if_blind: bool,
    flight_s: float | None,
    **of_flight: Any,
) -> Exit:
    """Serve this machine's swiotlb to Prometheus, until told to stop.

    Once the probes are attached, all capabilities are given up.

    With --flight it is also what record --flight is: its probes record all the time, even while a file is written.
    """
    named = given(context)
    for name in sorted(named & _OF_HTTP.keys()) if textfile is not None else ():
        raise click.UsageError(f"--textfile and {_OF_HTTP[name]} exclude each other")
    host, port = listen_address(listen)
    if flight_s is None:
        flight.refuse(named, hosted=True)
    elif trace is not None or source == "debugfs":
        raise click.UsageError("--flight records what the probes tell: it takes no --trace and no --source debugfs")
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
            recorder = stack.enter_context(_flight_recorder(flight.plan_of(flight_s=flight_s, **of_flight)))
            open_source, beside = partial(_on_its_probes, recorder, openers), recorder.running
        # A recording that cannot be replayed now never can.
        watching = serve.Watching(open_source, interval_s, wanted, exit_if_blind or trace is not None, beside)
        if textfile is not None:
            serve.into_directory(watching, textfile)
        else:
            serve.over_http(watching, host, port, config=config)
    return Exit.OK


def _flight_recorder(plan: Plan) -> AbstractContextManager[Hosted]:
    from swiotlb_top.cli import complain
    from swiotlb_top.cli.record import advise
    from swiotlb_top.flight.hosted import hosted

    advise(plan.directory)
    return hosted(plan, complain)


def _on_its_probes(recorder: Hosted, openers: dict[str, Opener]) -> Source:
    """The live source on the probes of a flight recorder, or the next that opens; each snapshot says which."""
    from swiotlb_top.sources import select

    source = select.first_that_opens({**openers, "live": recorder.open_live})
    return select.RetoldSource(source, recorder.retold)


def _round_and_round(trace: Path) -> Source:
    from swiotlb_exporter.run.laps import Laps
    from swiotlb_top.sources import select

    return Laps(select.open_trace(trace, loops=True))


def listen_address(listen: str) -> tuple[str, int]:
    """Split HOST:PORT, [HOST]:PORT (for IPv6) or :PORT; an empty host is every address.

    :raises UsageError: anything else.
    """
    host, colon, port = listen.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    numeric = port.isascii() and port.isdigit() and len(port) <= len(str(PORT_MAX)) and int(port) <= PORT_MAX
    if not colon or (":" in host and not bracketed) or not numeric:
        raise UsageError(f"{listen!r} is no HOST:PORT to listen on; for example 127.0.0.1:9788 or [::1]:9788")
    return (host[1:-1] if bracketed else host), int(port)
