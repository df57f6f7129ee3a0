"""Try mutated recordings on all that takes a recording: ``python -m tests.fuzz.run [MINUTES]`` (``make fuzz``).

Each is put to the readers of recordings (:data:`READERS`) in a process that may have no more than
:data:`MEMORY_MIB`. A reader that has not done within its deadline, in processor time, is stopped.
What fails is kept under ``fuzz/`` with what it did; at the end the slowest and the largest are
printed.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType as StackFrame
from typing import Final

from swiotlb_top.allocator import REVISIONS
from swiotlb_top.compare.report import diff
from swiotlb_top.convert.perfetto import perfetto_pieces
from swiotlb_top.convert.text import csv_pieces
from swiotlb_top.errors import SwiotlbTopError, UnreadableError, UsageError
from swiotlb_top.recording.anonymous import anonymise
from swiotlb_top.recording.clock import Moment
from swiotlb_top.recording.cut import cut
from swiotlb_top.recording.info import inspect
from swiotlb_top.recording.opened import Recording
from swiotlb_top.recording.partial import Chosen
from swiotlb_top.reports.explained import explained
from swiotlb_top.reports.replay import replay
from swiotlb_top.reports.why_recording import why_recording
from swiotlb_top.sizing.chart import Ink
from swiotlb_top.sizing.report import answer
from swiotlb_top.sizing.sized import Question
from swiotlb_top.sources import PlayOrder
from swiotlb_top.sources.replay import ReplaySource
from swiotlb_top.trace import TraceReader
from swiotlb_top.trace.survey import survey
from tests.fuzz.mutate import Frame, mutated, put_together, taken_apart
from tests.support.doctoring import FOUR_AREAS, FOUR_CPUS, GROWING, STALL

DEADLINE_S: Final = 10
MEMORY_MIB: Final = 500
_TRACES: Final = STALL.parent
_OTHERS: Final = ("format-1", "large", "unaligned", "debian-6.1-stall")
SMALL: Final = (FOUR_AREAS, FOUR_CPUS, STALL, *(_TRACES / f"{name}.swtrace" for name in _OTHERS))
"""Recordings that are judged in a second."""
ALL: Final = (*SMALL, _TRACES / "debian-7.3.swtrace", _TRACES / "seed.swtrace", GROWING)
_KEPT: Final = Path("fuzz")


# ---- what takes a recording --------------------------------------------------


def _replayed(path: Path) -> None:
    """``replay``, for people and for machines."""
    report = replay(path)
    report.as_text(explain=True).encode()
    json.dumps(report.as_json()).encode()


def _replayed_by_all(path: Path) -> None:
    """``replay --revision all``, for people and for machines."""
    report = explained(path)
    report.as_text().encode()
    json.dumps(report.as_json(), allow_nan=False).encode()


def _described(path: Path) -> None:
    """``info``, for people and for machines."""
    found = inspect(path)
    found.as_text().encode()
    json.dumps(found.as_json()).encode()


def _converted(path: Path) -> None:
    """``convert``, to a table, judged."""
    rows = Recording(path).mappings()
    for _ in csv_pieces(rows, rows.row):
        pass


def _drawn(path: Path) -> None:
    """``convert``, to a timeline."""
    recording = Recording(path)
    for _ in perfetto_pieces(recording.happenings(judged=False), recording.clock, "swiotlb"):
        pass


def _anonymised(path: Path) -> None:
    """``anonymise``; what it writes is a recording."""
    copy = path.with_suffix(".anonymous")
    copy.unlink(missing_ok=True)
    try:
        anonymise(path, copy)
        for _ in TraceReader(copy):
            pass
    finally:
        copy.unlink(missing_ok=True)


def _cut(path: Path) -> None:
    """``cut``, a second from its midst; what it writes is a recording."""
    copy = path.with_suffix(".part")
    copy.unlink(missing_ok=True)
    middle_ns = survey(TraceReader(path)).length_ns // 2
    try:
        cut(path, copy, Moment(middle_ns, on_wall=False), Moment(middle_ns + 1_000_000_000, on_wall=False))
    except UsageError:
        return  # there is nothing in its midst
    _is_read(copy)


def _cut_by_device(path: Path) -> None:
    """``cut --device``, with the first that has a name; of what it writes the judge claims nothing."""
    copy = path.with_suffix(".device")
    copy.unlink(missing_ok=True)
    names = [name.name for name in survey(TraceReader(path)).names.values()]
    try:
        cut(path, copy, chosen=Chosen(devices=frozenset(names[:1] or ("device 0000",))))
    except UsageError:
        return  # it has no call
    try:
        findings = replay(copy).findings
    finally:
        _is_read(copy)
    if findings.compared:
        raise AssertionError(f"{findings.compared} operations were judged without the others")


def _is_read(copy: Path) -> None:
    """What a command wrote is a recording that can be read to its end; it is removed."""
    try:
        for _ in TraceReader(copy):
            pass
    except UnreadableError as error:
        raise AssertionError(f"what was written cannot be read: {error}") from None
    finally:
        copy.unlink(missing_ok=True)


def _shown(path: Path) -> None:
    """The screen's frames, plain and as JSON, at its beginning, on its way, at its end."""
    from rich.console import Console

    from swiotlb_top.accounting.frame import Frame as Shown
    from swiotlb_top.tui import glyphs
    from swiotlb_top.tui.json_frames import write_frames
    from swiotlb_top.tui.plain import print_frames

    with closing(ReplaySource(path)) as source:
        frames = [Shown.of(source.snapshot(), sequence=1)]
        for step_s in (0.05, 1, 3600):
            source.play(PlayOrder(passed_ns=int(step_s * 1e9)))
            frames.append(frames[-1].then(source.snapshot()))
    print_frames(iter(frames), Console(file=io.StringIO(), width=120), glyphs.ASCII)
    write_frames(iter(frames), io.StringIO())


def _exported(path: Path) -> None:
    """Two scrapes of ``export --trace``."""
    from prometheus_client import CollectorRegistry, generate_latest

    from swiotlb_exporter.collector import SnapshotCollector

    with closing(ReplaySource(path)) as source:
        for after_s in (0, 3600):
            source.play(PlayOrder(passed_ns=after_s * 1_000_000_000))
            snapshot = source.snapshot()
            registry = CollectorRegistry()
            registry.register(SnapshotCollector(lambda shown=snapshot: shown))  # type: ignore[misc]
            if b"\nswiotlb_up 1.0\n" not in generate_latest(registry):
                raise AssertionError("the collector cannot show what the source gives")


def _sized(path: Path) -> None:
    """``size``, for people and for machines."""
    report = answer([path], Question(), None)
    report.as_text(ink=Ink("#", ".", ">")).encode()
    json.dumps(report.as_json()).encode()


def _explained(path: Path) -> None:
    """``why``, for people and for machines."""
    report = why_recording(path)
    report.as_text().encode()
    json.dumps(report.as_json(), allow_nan=False).encode()


def _compared(path: Path) -> None:
    """``diff``, for people and for machines, with a recording that is sound."""
    report = diff(path, FOUR_CPUS)
    report.as_text().encode()
    json.dumps(report.as_json(), allow_nan=False).encode()


@dataclass(frozen=True)
class Reader:
    """One command that takes a recording."""

    read: Callable[[Path], None]
    deadline_s: int = DEADLINE_S
    one_in: int = 1
    """It is given one of so many inputs."""

    def __call__(self, path: Path) -> None:
        self.read(path)


READERS: Final[dict[str, Reader]] = {
    "info": Reader(_described),
    "replay": Reader(_replayed),
    "replay-by-all": Reader(_replayed_by_all, DEADLINE_S * len(REVISIONS), one_in=10),
    "convert": Reader(_converted),
    "timeline": Reader(_drawn),
    "anonymise": Reader(_anonymised),
    "cut": Reader(_cut),
    "cut-by-device": Reader(_cut_by_device),
    "screen": Reader(_shown),
    "export": Reader(_exported),
    "size": Reader(_sized),
    "why": Reader(_explained, 2 * DEADLINE_S, one_in=4),
    "diff": Reader(_compared),
}
"""Every command that takes a recording. ``replay --revision all`` is a replay for each revision, so it may take as long
as that, and ``why`` as a replay and all sizes; these are not given every input."""


# ---- one input ---------------------------------------------------------------


@dataclass(frozen=True)
class Tried:
    """What one recording did to one reader."""

    reader: str
    outcome: str
    """"ok", the one line it was refused with, or a traceback."""
    failed: bool
    seconds: float


class _TooLongError(BaseException):
    """The deadline."""


@contextmanager
def _no_longer_than(seconds: int) -> Iterator[None]:
    """:raises _TooLongError: what is done here took more of the processor's time."""
    end_s = time.process_time() + seconds

    def stop(_signal: int, _frame: StackFrame | None) -> None:
        # The timer counts ticks, and on a busy machine a fifth too many of them.
        if (left_s := end_s - time.process_time()) <= 0:
            raise _TooLongError
        signal.setitimer(signal.ITIMER_PROF, left_s)

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        with suppress(_TooLongError):  # it may ring until it is off
            signal.setitimer(signal.ITIMER_PROF, 0)


def tried(path: Path, number: int) -> Iterator[Tried]:
    """Put a recording to all readers whose turn it is, here.

    :param number: its number among the inputs.
    """
    turn = {name: reader for name, reader in READERS.items() if number % reader.one_in == 0}
    for name, reader in turn.items():
        begin_s = time.process_time()
        failed = True
        try:
            with _no_longer_than(reader.deadline_s):
                reader(path)
            outcome, failed = "ok", False
        except SwiotlbTopError as refused:
            line = str(refused)
            outcome, failed = line, not line or "\n" in line
        except _TooLongError:
            outcome = "not done in time\n" + traceback.format_exc()
        except BaseException:
            outcome = traceback.format_exc()
        yield Tried(name, outcome, failed, time.process_time() - begin_s)


@dataclass
class Summary:
    """What a worker saw."""

    inputs: int = 0
    refused: int = 0
    peak_kib: int = 0
    slowest: list[tuple[float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def fuzz(seed: int, originals: Sequence[Path], inputs: int | None, until_s: float, keep: Path) -> Summary:
    """Try so many inputs, or until a time; all follows from ``seed``."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MIB << 20, MEMORY_MIB << 20))
    chance = random.Random(seed)  # noqa: S311 (it has to be the same again)
    apart: dict[Path, list[Frame]] = {}
    summary = Summary()
    keep.mkdir(parents=True, exist_ok=True)
    path = keep / f"trying-{seed}.swtrace"
    while (inputs is None or summary.inputs < inputs) and time.monotonic() < until_s:
        original = chance.choice(originals)
        frames = apart.setdefault(original, taken_apart(original))
        path.write_bytes(put_together(mutated(frames, chance)))
        summary.inputs += 1
        for one in tried(path, summary.inputs):
            _note(one, path, f"{original.stem}-{seed}-{summary.inputs}", keep, summary)
    path.unlink(missing_ok=True)
    summary.peak_kib = _peak_kib()
    return summary


def _peak_kib() -> int:
    """The most memory that this process had. ``ru_maxrss`` is the parent's where that had more: exec keeps it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1])


def _note(one: Tried, path: Path, name: str, keep: Path, summary: Summary) -> None:
    summary.refused += one.outcome != "ok" and not one.failed
    summary.slowest = sorted([*summary.slowest, (one.seconds, f"{one.reader} {name}")], reverse=True)[:5]
    if one.failed:
        kept = keep / f"{name}.swtrace"
        kept.write_bytes(path.read_bytes())
        (keep / f"{name}.{one.reader}.txt").write_text(one.outcome)
        summary.failures.append(f"{one.reader} {kept}: {one.outcome.strip().splitlines()[-1]}")


# ---- all of it -----------------------------------------------------------------


def fuzz_in_processes(
    seeds: Sequence[int], originals: Sequence[Path], inputs: int | None, minutes: float, keep: Path
) -> list[Summary]:
    """One process a seed: the memory that one takes, no other has."""
    until_s = time.monotonic() + minutes * 60
    with multiprocessing.get_context("spawn").Pool(len(seeds), maxtasksperchild=1) as pool:
        return pool.starmap(fuzz, [(seed, originals, inputs, until_s, keep) for seed in seeds])


def main(arguments: list[str]) -> int:
    """Try as long as the first argument says, in minutes, and say what came out."""
    minutes = float(arguments[0]) if arguments else 60.0
    first_seed = int(arguments[1]) if len(arguments) > 1 else int(time.time())
    found = fuzz_in_processes([first_seed, first_seed + 1], ALL, None, minutes, _KEPT)
    print(f"{sum(one.inputs for one in found)} inputs from seed {first_seed} on", end=", ")
    print(f"{sum(one.refused for one in found)} times refused, {sum(len(one.failures) for one in found)} failures")
    print(f"largest process: {max(one.peak_kib for one in found) >> 10} MiB")
    for seconds, name in sorted((slow for one in found for slow in one.slowest), reverse=True)[:5]:
        print(f"slowest: {seconds:.1f} s {name}")
    for failure in (failure for one in found for failure in one.failures):
        print(failure)
    return any(one.failures for one in found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
