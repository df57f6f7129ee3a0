"""Tries a row: boots its kernel, watches it under load in every way, and judges what was recorded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from tests.lab.harness import cache, images
from tests.lab.harness.errors import LabUnavailableError, LostVMError
from tests.lab.harness.lab import Lab
from tests.lab.harness.vm import Result
from tests.lab.matrix.results import Outcome
from tests.lab.matrix.rows import Row
from tests.lab.support.tool import guest_shell, records, replay, tried

PATIENCE_S: Final = 300
HUNG_S: Final = 900.0
SCRIPT: Final = f"""
    uname -r >/results/release
    uname -m >/results/machine
    $python $workloads/one_process.py /results doctor swiotlb_top doctor --json , \
        record swiotlb_top record -o /results/row.swtrace -- sh $workloads/each_shape.sh
    (while [ ! -e /results/over ]; do
        dd if=/dev/vda of=/dev/null bs=4096 count=8 iflag=direct status=none; sleep 0.3
    done) &
    $tool export --source live --textfile /results --interval 1 2>/results/export.err &
    exporter=$!
    $python $workloads/one_process.py /results screen swiotlb_top -n 2 -d 1 --json
    for _ in $(seq {PATIENCE_S}); do grep -qs '^swiotlb_up 1' /results/swiotlb.prom && break; sleep 1; done
    # It takes its file away when it ends.
    cp /results/swiotlb.prom /results/page.prom
    touch /results/over
    kill $exporter
    wait
"""


def tried_in(lab: Lab, row: Row) -> Outcome:
    """What came of a row."""
    try:
        ran = lab.run(row.machine, guest_shell(SCRIPT), deadline_s=HUNG_S)
    except LostVMError as lost:
        return Outcome(cannot=f"the machine was lost: {str(lost).splitlines()[0]}")
    except LabUnavailableError as unavailable:
        return Outcome(cannot=str(unavailable).splitlines()[0])
    if not (ran.files / "row.swtrace").exists():
        return Outcome(cannot=f"nothing was recorded: {_why(ran)}")
    return outcome_of(ran.files, _config(lab.root, row.kernel))


def _why(ran: Result) -> str:
    """What the command that records said last, or if it was not reached, the guest."""
    said = (_text(ran.files / "record.err") or ran.stderr or ran.stdout).strip().splitlines()
    return said[-1] if said else f"the guest ended with {ran.status}"


def outcome_of(files: Path, config: str) -> Outcome:
    """What a guest left in its results."""
    doctor, frame = json.loads(tried(files, "doctor").out), _last_frame(tried(files, "screen").out)
    checks = {name: check["found"] for name, check in doctor["checks"].items()}
    trace, judged = files / "row.swtrace", frame.get("verdict") or {}
    replayed = replay(trace)
    report, page = replayed.report, _text(files / "page.prom")
    return Outcome(
        release=_text(files / "release").strip(),
        machine=_text(files / "machine").strip(),
        dynamic=not checks["swiotlb_types_btf_and_symbols"].startswith("static pool"),
        restricted="CONFIG_DMA_RESTRICTED_POOL=y" in config,
        attach=_attached(doctor["hooks"]),
        revision=checks["revision"],
        kernel_check=checks["kernel"],
        events=records(trace),
        lost=report["lost"],
        operations=replayed.operations,
        compared=report["compared"],
        disagree=report["disagree"],
        inconclusive=report["inconclusive"],
        unsafe=report["safety_violations"],
        miscounts=len(report["miscounts"]),
        pools_added=report["pools_added"],
        transient_pools=report["transient_pools"],
        judged_by=report["revision"],
        verdict=report["verdict"],
        doctor_status=tried(files, "doctor").status,
        screen=f"{frame.get('source', '')} {(frame.get('state') or {}).get('level', '')}".strip(),
        screen_disagree=judged.get("disagree", 0),
        exporter_up=re.search(r"^swiotlb_up 1", page, re.MULTILINE) is not None,
    )


def _config(root: Path, kernel: str) -> str:
    return _text(images.located(kernel, root).directory / "config")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _last_frame(out: str) -> dict[str, Any]:
    lines = out.strip().splitlines()
    frame: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return frame


def _attached(hooks: dict[str, str]) -> str:
    """The ways of attaching, and how many hooks are seen; those that nothing tells of are named."""
    ways = {way for how in hooks.values() for way in ("fentry", "kprobe") if way in how.split()[0]}
    absent = sorted(name for name, how in hooks.items() if how.startswith("absent"))
    seen = f"{' and '.join(sorted(ways)) or 'nothing'}, {len(hooks) - len(absent)} hooks"
    return f"{seen}; without {', '.join(absent)}" if absent else seen


def lab_in(directory: Path) -> Lab:
    """A lab that makes what it lacks, and leaves what guests wrote in `directory`."""
    return Lab(cache.default_root(), directory, may_build=True)
