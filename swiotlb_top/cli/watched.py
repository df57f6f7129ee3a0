"""This machine's demand: it is recorded for a while, into a private file that is gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from swiotlb_top.cli import progress
from swiotlb_top.errors import CannotError, UnreadableError

if TYPE_CHECKING:
    from swiotlb_top.sizing.demand import Demand


def demand(duration_s: float | None, revision: str | None, program: Path | None) -> Demand:
    """What this machine asks of swiotlb for ``duration_s``, or until SIGINT or SIGTERM comes.

    :param revision: name of what other configurations have; None: this kernel's own.
    :param program: as :func:`.select.open_live` has it.
    :raises CannotError: this machine or these privileges do not allow it, or nothing was mapped meanwhile.
    :raises UsageError: there is no such revision.
    """
    from swiotlb_top.allocator import named
    from swiotlb_top.probes.compile.given import images
    from swiotlb_top.recorder import record
    from swiotlb_top.sizing.demand import THIS_MACHINE
    from swiotlb_top.sizing.recordings import read

    if revision is not None:
        named(revision)  # before anybody waits for what is recorded
    with _private_directory() as directory:
        path = directory / "live.swtrace"
        with progress.shown(terminal_is_shared=False) as watch:
            record(path, duration_s, (), watch=watch, images=images(program))
        try:
            return read(path, revision, THIS_MACHINE)
        except UnreadableError as error:
            raise CannotError(str(error)) from None


@contextmanager
def _private_directory() -> Iterator[Path]:
    try:
        directory = tempfile.TemporaryDirectory(prefix="swiotlb-top-")
    except OSError as error:
        raise CannotError(
            f"there is no place for what is recorded: {error.strerror or error}", "set TMPDIR to a directory with room"
        ) from None
    with directory as name:
        yield Path(name)
