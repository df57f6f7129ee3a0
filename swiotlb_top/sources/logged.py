"""A source that also reads the kernel's own log: which maps failed before, and what no counter tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.kernel.no_pool import NoPoolError
from swiotlb_top.kernel_log.report import maps_failed
from swiotlb_top.kernel_log.watch import KernelLog, LogWatch, read_once
from swiotlb_top.sources import Source

NOT_KNOWN: Final = "what failed before is not known"


class LoggedSource:
    """``source``, with the log of the machine that it looks at; both are closed together."""

    def __init__(self, source: Source, log: LogWatch) -> None:
        self._source = source
        self._log = log

    def snapshot(self) -> Snapshot:
        """The source's, with what the log had before and has had since."""
        shown, log = self._source.snapshot(), self._log.read()
        notes = [f"{NOT_KNOWN}: {log.unreadable}"] if log.unreadable else []
        return replace(shown, kernel_log=log, notes=(*shown.notes, *notes))

    def close(self) -> None:
        self._log.close()
        self._source.close()


def logged(source: Source) -> Source:
    """``source``, with this machine's log."""
    return LoggedSource(source, LogWatch())


def wanted_all_the_same(none: NoPoolError, log: Callable[[], KernelLog] = read_once) -> NoPoolError:
    """``none``, or the same error with a warning, if the kernel's log tells of maps that failed without swiotlb."""
    found = log().before
    if not found.failed_maps:
        return none
    told = f"yet the kernel's log says that {maps_failed(found)}: swiotlb-top why explains it"
    return NoPoolError(none.why, told)
