"""Small recordings, as many as time allows: ``python -m tests.fuzz.small [MINUTES [SEED]]``.

Each is the beginning of a real recording, some kilobytes, with a few things changed. It goes through the reader, and
through one of ``info``, ``convert`` to a table and ``convert`` to a timeline. What is no recording has to be refused in
one line; anything else that is raised is a fault, and the recording that shows it is kept under ``fuzz/``.
:mod:`.atheris_small` tries the same, guided by coverage.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from swiotlb_top.convert.perfetto import perfetto_pieces
from swiotlb_top.convert.text import csv_pieces
from swiotlb_top.errors import SwiotlbTopError
from swiotlb_top.recording.info import inspect
from swiotlb_top.recording.opened import Recording
from swiotlb_top.trace import TraceReader
from swiotlb_top.trace import format as layout
from tests.fuzz.mutate import mutated, put_together, taken_apart
from tests.fuzz.run import SMALL

MOST_BYTES: Final = 8192
RECORDS: Final = 8
"""So many records of each frame are in the recordings that it begins with."""
FRAMES: Final = 5
_KEPT: Final = Path("fuzz")
_SCRATCH: Final = Path("/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir())


class Target:
    """Puts inputs to what takes a recording.

    :param path: where each input is written to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.refused = 0

    def __call__(self, content: bytes) -> None:
        """Try one input. :raises AssertionError: it is refused in more than one line."""
        self._path.write_bytes(content)
        further = (self._describe, self._convert, self._draw)[zlib.crc32(content) % 3]
        for take in (self._read, further):
            try:
                take()
            except SwiotlbTopError as refused:
                self.refused += 1
                line = str(refused)
                if not line or "\n" in line:
                    raise AssertionError(f"refused in {line!r}, which is not one line") from refused

    def _read(self) -> None:
        for _ in TraceReader(self._path).stream():
            pass

    def _describe(self) -> None:
        found = inspect(self._path)
        found.as_text()
        json.dumps(found.as_json(), allow_nan=False)

    def _convert(self) -> None:
        rows = Recording(self._path).mappings(judged=False)
        for _ in csv_pieces(rows, rows.row):
            pass

    def _draw(self) -> None:
        recording = Recording(self._path)
        for _ in perfetto_pieces(recording.happenings(judged=False), recording.clock, "swiotlb"):
            pass


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory in memory, where there is one."""
    with tempfile.TemporaryDirectory(dir=_SCRATCH) as directory:
        yield Path(directory)


def originals() -> dict[str, bytes]:
    """The beginnings of real recordings, each a recording that is whole."""
    found = {path.stem: small(path) for path in SMALL}
    return {name: content for name, content in found.items() if len(content) <= MOST_BYTES}


def small(path: Path) -> bytes:
    """The first frames and records of a recording, and its end."""
    frames = taken_apart(path)
    kept = [*frames[: FRAMES - 1], frames[-1]] if len(frames) > FRAMES else frames
    for frame in kept:
        del frame.records[RECORDS:]
    return put_together(kept)


def mended(content: bytes) -> bytes:
    """The same with right checksums, as far as there are whole frames."""
    if len(content) < layout.PREAMBLE.size:
        return content
    made = [content[: layout.PREAMBLE.size]]
    at, crc = layout.PREAMBLE.size, layout.preamble_crc(made[0])
    while at + layout.FRAME.size <= len(content):
        kind, length, _ = layout.FRAME.unpack_from(content, at)
        payload = content[at + layout.FRAME.size : at + layout.FRAME.size + length]
        if len(payload) < length:
            break
        crc = layout.frame_crc(kind, payload, crc)
        made += [layout.FRAME.pack(kind, length, crc), payload]
        at += layout.FRAME.size + length
    return b"".join([*made, content[at:]])


def broken(content: bytes, chance: random.Random) -> bytes:
    """The same with a few bytes changed, added or gone, and right checksums."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(changed) + 1)
        changed[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
    return mended(bytes(changed))


def tried(seed: int, inputs: int | None, until_s: float, keep: Path = _KEPT) -> tuple[int, int, list[Path]]:
    """Try so many inputs (None: any number), or until a time of the monotonic clock; all follows from ``seed``.

    :returns: how many were tried, how many times one was refused, and the files that show a fault.
    """
    chance = random.Random(seed)  # noqa: S311 (it has to be the same again)
    contents = [*originals().values()]
    number, faults = 0, []
    with scratch() as directory:
        target, path = Target(directory / "trying.swtrace"), directory / "taken-apart.swtrace"
        apart = []
        for content in contents:
            path.write_bytes(content)
            apart.append(taken_apart(path))
        while (inputs is None or number < inputs) and time.monotonic() < until_s:
            number += 1
            if chance.random() < 0.8:
                made = put_together(mutated(chance.choice(apart), chance))
            else:
                made = broken(chance.choice(contents), chance)
            try:
                target(made)
            except Exception:
                keep.mkdir(exist_ok=True)
                faults.append(keep / f"small-{seed}-{number}.swtrace")
                faults[-1].write_bytes(made)
                faults[-1].with_suffix(".txt").write_text(traceback.format_exc())
    return number, target.refused, faults


def main(arguments: list[str]) -> int:
    """Try as long as the first argument says, in minutes, and say what came out."""
    minutes = float(arguments[0]) if arguments else 60.0
    seed = int(arguments[1]) if len(arguments) > 1 else int(time.time())
    number, refused, faults = tried(seed, None, time.monotonic() + minutes * 60)
    rate = number / (minutes * 60)
    print(f"{number} inputs from seed {seed}, {rate:.0f} a second, {refused} times refused, {len(faults)} faults")
    for path in faults:
        print(path)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
