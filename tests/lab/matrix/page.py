"""docs/support.md: the rows and what came of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.lab.matrix.results import Outcome
from tests.lab.matrix.rows import ROWS, Row

PAGE: Final = Path(__file__).parents[3] / "docs" / "support.md"
COLUMNS: Final = (
    *("kernel", "release", "pools", "architecture", "attach", "events", "verdict", "judged as", "restricted pools"),
    *("live screen", "exporter", "operations judged", "disagree", ""),
)
_HEAD: Final = """\
# Which kernels it was tried on

Each row is a kernel that was booted in a virtual machine with two CPUs and put under load ([`{workload}`]({path}): two
disks, requests of every size and offset). `swiotlb-top doctor` looked at it, the load was recorded, and `swiotlb-top
replay` judged what was recorded; then the live screen and the exporter watched it at once. `make matrix` does all of
it again and writes this page, and `make matrix ROWS="debian 6.6"` some rows of it.

Debian's kernels are as Debian ships them. Any other is Linux 6.12 or 7.3 as Debian packages its source, built here.
Where one is called by a release, patches of ours (`tests/lab/patches`) give it the *behaviour* of that release's
swiotlb, the members of its structures and the release's name. So what is tried is that the tool sees which it is and
judges it rightly, and not that whole release. The last rows have bugs: a tool that says *agree* there is wrong.

A row is **green** if all is as it must be: attached, no event lost, every operation compared, none disagrees (or, on a
kernel with a bug, some do), and screen and exporter watch. Else the last column says what is not.
"""
_RESTRICTED: Final = """\
*Restricted pools*: "none built in" means that the kernel is built without CONFIG_DMA_RESTRICTED_POOL. No kernel here
has such a pool. Elsewhere what is mapped in one is counted, and not judged.
"""
_DOCTOR: Final = """\
## What the doctor says

Of each kernel, before anything is recorded: which revision of swiotlb it has, why, and how sure that is. Where releases
look alike, each is named, and what the kernel does tells them apart: *judged as* is what was left in the end.
"""


def text(outcomes: Mapping[str, Outcome], rows: tuple[Row, ...] = ROWS) -> str:
    """The page."""
    green = sum(_is_green(row, outcomes.get(row.kernel)) for row in rows)
    unable = sum(bool(row.cannot) for row in rows)
    count = f"{green} of {len(rows)} rows are as they must be; {unable} of them say that it cannot be done, and why."
    table = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    table += [f"| {' | '.join(_cells(row, outcomes.get(row.kernel)))} |" for row in rows]
    head = _HEAD.format(workload="each_shape.sh", path="../tests/lab/workloads/each_shape.sh")
    return "\n".join([head, count, "", *table, "", _RESTRICTED, _DOCTOR, *_doctors(outcomes, rows)]) + "\n"


def _pools(dynamic: bool) -> str:
    return "dynamic" if dynamic else "static"


def _is_green(row: Row, outcome: Outcome | None) -> bool:
    return outcome is not None and not outcome.faults(row)


def _cells(row: Row, outcome: Outcome | None) -> Iterator[str]:
    yield row.what
    if outcome is None or outcome.cannot:
        yield from ["", _pools(row.is_dynamic), *[""] * (len(COLUMNS) - 4)]
        yield "**not tried yet**" if outcome is None else _end(row, outcome)
        return
    yield f"`{outcome.release}`"
    yield _pools(outcome.dynamic)
    yield outcome.machine
    yield outcome.attach
    yield f"{outcome.events:,}" + (f", {outcome.lost:,} lost" if outcome.lost else "")
    yield outcome.verdict
    yield outcome.judged_by if outcome.compared else ""
    yield "seen, not judged" if outcome.restricted else "none built in"
    yield outcome.screen
    yield "up" if outcome.exporter_up else "not up"
    yield f"{outcome.compared:,} of {outcome.operations:,}"
    yield f"{outcome.disagree:,}"
    yield _end(row, outcome)


def _end(row: Row, outcome: Outcome) -> str:
    faults = outcome.faults(row)
    if faults:
        return f"**not as it must be**: {'; '.join(faults)}"
    return f"cannot, because {row.cannot}" if row.cannot else "green"


def _doctors(outcomes: Mapping[str, Outcome], rows: tuple[Row, ...]) -> Iterator[str]:
    yield from ("| | pools | kernel | revision |", "|---|---|---|---|")
    for row in rows:
        if (outcome := outcomes.get(row.kernel)) and not outcome.cannot:
            said = f"{_plain(outcome.kernel_check)} | {_plain(outcome.revision)}"
            yield f"| {row.what} | {_pools(outcome.dynamic)} | {said} |"


def _plain(found: str) -> str:
    return found.replace(" (swiotlb-top revisions has each)", "").replace("|", "\\|")
