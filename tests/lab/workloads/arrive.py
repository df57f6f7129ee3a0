"""arrive.py DIRECTORY TIMES: record in the middle of the traffic, TIMES over, each time into a file of its own.

Every time the probes are attached, the state is read, what goes on is recorded for a moment, and the probes are
detached, as `swiotlb-top record` does it; only the program is compiled but once (and a kretprobe stays, where a hook
has no better place).
"""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

from swiotlb_top.kernel.grace import wait_for_calls_under_way
from swiotlb_top.probes.loader import DEVICE_PLACES_SHIFT, possible_cpus
from swiotlb_top.probes.program import Mode
from swiotlb_top.probes.session import Session
from swiotlb_top.recorder import record_session

MOMENT_S = 0.5
TRACING = ("spare__", "kfunc__", "kretfunc__")
"""Prefixes of fentry and fexit programs' names; spares are attached first."""
TOTALS_U64 = 24
"""``struct totals``: dev, driver, and counts."""
DRIVER_UNSEEN = 1


def attach(session: Session) -> None:
    objects = session.program._objects
    for kind in TRACING:
        for name in objects.programs:
            if name.startswith(kind):
                objects.attach(name)
    wait_for_calls_under_way()
    forget(objects.maps["devices"])
    session.program.set_mode(Mode.RECORD)


def detach(session: Session) -> None:
    objects = session.program._objects
    for name in [name for name in objects.links if name.startswith(TRACING)]:
        objects.detach(name)


def forget(devices: int) -> None:
    """What a new program would not know either: what was counted, and who has introduced itself."""
    size_bytes = (possible_cpus() << DEVICE_PLACES_SHIFT) * TOTALS_U64 * 8
    with mmap.mmap(devices, size_bytes) as mapped, memoryview(mapped).cast("Q") as words:
        for at in range(0, len(words), TOTALS_U64):
            if words[at]:
                words[at + 1] = DRIVER_UNSEEN
                for count in range(at + 2, at + TOTALS_U64):
                    words[count] = 0


def main(directory: str, times: str) -> None:
    with Session() as session:
        for number in range(int(times)):
            if number:
                attach(session)
            report = record_session(session, Path(directory) / f"arrived-{number:02}.swtrace", MOMENT_S, (), [])
            detach(session)
            print(f"{report.records} events, {report.lost} lost")


if __name__ == "__main__":
    main(*sys.argv[1:])
