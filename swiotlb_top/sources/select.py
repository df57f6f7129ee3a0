"""Which source to look through: this machine's, or a recording, which is shown only to those who ask for one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from swiotlb_top import bundled
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.errors import CannotError, SwiotlbTopError
from swiotlb_top.kernel.no_pool import NoPoolError
from swiotlb_top.sources import Player, PlayOrder, Source, recording_of
from swiotlb_top.sources.logged import logged, wanted_all_the_same

Opener = Callable[[], Source]


class RetoldSource:
    """A source that adds something to the snapshots of another one.

    :param retell: returns a snapshot with the addition.
    :param held: what the source needs, and is given up when it is closed.
    """

    def __init__(self, source: Source, retell: Callable[[Snapshot], Snapshot], held: ExitStack | None = None) -> None:
        self._source = source
        self._retell = retell
        self._held = held or ExitStack()

    @property
    def recording(self) -> Path | None:
        """The file that the other one shows."""
        return recording_of(self._source)

    def snapshot(self) -> Snapshot:
        return self._retell(self._source.snapshot())

    def close(self) -> None:
        with self._held:
            self._source.close()

    def play(self, order: PlayOrder) -> None:
        """Passed on to a source that plays a recording."""
        if isinstance(self._source, Player):
            self._source.play(order)


def open_live(program: Path | None = None) -> Source:
    """The probes.

    :param program: the program file, or a directory with such files; None: the program is compiled.
    :raises CannotError: no privilege, no probes on this kernel, or swiotlb is off.
    :raises UnreadableError: the program file cannot be read, or not be believed.
    """
    from swiotlb_top.probes.compile.given import images
    from swiotlb_top.sources.live import open_live as attach

    return logged(attach(images(program)))


def open_debugfs() -> Source:
    """The counters in debugfs; :raises CannotError: where there are none."""
    from swiotlb_top.sources.debugfs import DebugfsSource

    return logged(DebugfsSource())


def open_trace(path: Path, speed: float = 1.0, start_s: float = 0.0, *, loops: bool = False) -> Player:
    """A recording from ``start_s`` (seconds) on, over and over if it ``loops``.

    :raises UnreadableError: the file is no recording.
    :raises UsageError: the recording is over before ``start_s``.
    """
    from swiotlb_top.sources.replay import ReplaySource

    return ReplaySource(path, speed, int(start_s * 1e9), loops=loops)


def open_demo(speed: float = 1.0, start_s: float = 0.0, *, loops: bool = False) -> Source:
    """The recording that is installed with the tool; each snapshot says that it does not show this machine.

    :raises CannotError: none is installed.
    """
    with ExitStack() as held:
        recordings = sorted(held.enter_context(bundled.on_disk("recordings")).glob("*.swtrace"))
        if not recordings:
            raise CannotError(
                "no recording is installed with swiotlb-top: install it again, or show one with --trace FILE"
            )
        shown = open_trace(recordings[0], speed, start_s, loops=loops)
        return RetoldSource(shown, lambda snapshot: replace(snapshot, demo=True), held.pop_all())


KERNEL_SOURCES: Final[dict[str, Opener]] = {"live": open_live, "debugfs": open_debugfs}
"""Sources that look at this machine, best first."""


def kernel_sources(program: Path | None, only: str | None = None) -> dict[str, Opener]:
    """:data:`KERNEL_SOURCES`, with what :func:`open_live` is given; or ``only`` one of them."""
    openers = dict(KERNEL_SOURCES)
    if program is not None:
        openers["live"] = partial(open_live, program)
    return openers if only is None else {only: openers[only]}


def first_that_opens(openers: dict[str, Opener]) -> Source:
    """Open the first source that opens; its snapshots say why those before it do not.

    :raises NoPoolError: swiotlb has no memory, so that no other source is tried.
    :raises SwiotlbTopError: no source opens; the error is that of the first, which is the best of them.
    """
    best: tuple[str, SwiotlbTopError] | None = None
    for name, opener in openers.items():
        try:
            source = opener()
        except NoPoolError as none:
            raise wanted_all_the_same(none) from none
        except SwiotlbTopError as refusal:
            best = best or (name, refusal)
        else:
            return _instead_of(*best, source) if best else source
    assert best is not None  # noqa: S101 (there is always a source to try)
    raise best[1]


def _instead_of(name: str, refusal: SwiotlbTopError, source: Source) -> Source:
    """``source``, whose snapshots also say why the better source ``name`` could not be opened."""
    return RetoldSource(source, lambda snapshot: replace(snapshot, reason=f"{name}: {refusal}; so: {snapshot.reason}"))
