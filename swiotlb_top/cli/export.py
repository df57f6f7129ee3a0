"""``swiotlb-top export``."""

from __future__ import annotations

from contextlib import closing

import click

from swiotlb_top.cli.options import examples
from swiotlb_top.errors import Exit, UsageError

EPILOG = examples(
    "swiotlb-top export",
    "curl -s http://127.0.0.1:9788/metrics",
    "swiotlb-top export --web.listen-address :9788      on every address: mind who can reach it",
)

PORT_MAX = 65_535


@click.command(epilog=EPILOG)
@click.option(
    "--web.listen-address",
    "listen",
    default="127.0.0.1:9788",
    metavar="HOST:PORT",
    help="Address to serve on; no host: every address; port 0: a free one. Default: 127.0.0.1:9788.",
)
@click.option(
    "--source",
    type=click.Choice(["auto", "live", "debugfs"]),
    default="auto",
    help="Probes, debugfs counters, or auto: the first that can be had. Default: auto.",
)
def export(listen: str, source: str) -> Exit:
    """Serve this machine's swiotlb to Prometheus, until told to stop.

    Never serves a recording: a node's metrics are about that node.
    """
    host, port = listen_address(listen)
    from swiotlb_exporter.server import serve
    from swiotlb_top.sources import select

    openers = select.KERNEL_SOURCES if source == "auto" else {source: select.KERNEL_SOURCES[source]}
    with closing(select.first_that_opens(openers)) as opened:
        serve(opened, host, port)
    return Exit.OK


def listen_address(listen: str) -> tuple[str, int]:
    """Split HOST:PORT, [HOST]:PORT (for IPv6) or :PORT; an empty host is every address.

    :raises UsageError: anything else.
    """
    host, colon, port = listen.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed) or not (port.isascii() and port.isdigit()) or int(port) > PORT_MAX:
        raise UsageError(f"{listen!r} is no HOST:PORT to listen on; for example 127.0.0.1:9788 or [::1]:9788")
    return (host[1:-1] if bracketed else host), int(port)
