"""Ten minutes at four CPUs: ``python -m tests.lab.soak [SECONDS]``, or ``make soak``.

The exporter watches and the recorder records, both at once, what keeps four CPUs, two disks and a network card busy.
Ends with 1 where one of them called the kernel wrong, or where what they keep resident was not flat after the first
minute: each minute's mean, for at an instant it is as large as the batch in hand. What of it is their own, without
libraries and the ring, is shown beside it.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path
from statistics import fmean

from prometheus_client.parser import text_string_to_metric_families

from tests.lab.harness import cache
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import guest_shell, replay, tried

SECONDS = 600
MINUTE_S = 60
VERDICTS = "swiotlb_verified_operations_total"
WARM_UP_MINUTES = 1
FLAT = 0.05
TOOLS = ("exporter", "recorder")
COLUMNS = tuple(f"{tool} {kind}" for tool in TOOLS for kind in ("resident", "own"))
"""Of resident_kib, behind the time."""

SCRIPT = """
    export PYTHON=$python
    url=http://127.0.0.1:9788/metrics
    resident() {{ awk '$1 == "VmRSS:" || $1 == "RssAnon:" {{ printf ",%d", $2 }}' /proc/$1/status; }}
    $tool export --source live 2>/results/exporter.err & exporter=$!
    $python $workloads/scrape.py $url --metric swiotlb_up >/dev/null
    $tool record -o /results/soak.swtrace --duration {seconds} >/results/recorder.out 2>&1 & recorder=$!
    until [ -e /results/soak.swtrace.partial ]; do sleep 1; done
    setsid nice -n 19 sh $workloads/steady.sh >/dev/null 2>&1 &
    while [ -e /results/soak.swtrace.partial ]; do
        read -r now_s _ </proc/uptime
        echo "$now_s$(resident $exporter)$(resident $recorder)" >>/results/resident_kib
        sleep 1
    done
    try scraped $python $workloads/scrape.py $url
    wait $recorder
    kill $exporter
"""


def main(seconds: int) -> int:
    with tempfile.TemporaryDirectory(prefix="swiotlb-soak-") as scratch:
        lab = Lab(cache.default_root(), Path(scratch), may_build=True)
        script = SCRIPT.format(seconds=seconds)
        ran = lab.run(
            Machine(cpus=4, swiotlb="2048,force", in_turn=True), guest_shell(script), deadline_s=10.0 * seconds + 600
        )
        if ran.status:
            print(ran.stderr, file=sys.stderr)
            return ran.status
        return report(ran.files)


def report(files: Path) -> int:
    minutes = by_minute((files / "resident_kib").read_text())
    samples = [
        sample for family in text_string_to_metric_families(tried(files, "scraped").out) for sample in family.samples
    ]
    judged = {sample.labels["verdict"]: sample.value for sample in samples if sample.name == VERDICTS}
    recorded = replay(files / "soak.swtrace").report
    flat = True
    for tool in TOOLS:
        resident, own = ([minute[f"{tool} {kind}"] for minute in minutes] for kind in ("resident", "own"))
        grown = max(resident[WARM_UP_MINUTES:]) / resident[WARM_UP_MINUTES] - 1
        flat &= grown <= FLAT
        print(f"{tool}: resident KiB {in_words(resident)}, grown by {grown:.1%}; its own {in_words(own)}")
    print(f"exporter: {judged}")
    words = ("maps", "lost", "compared", "agree", "disagree", "inconclusive", "safety_violations")
    print(f"recorder: { ({word: recorded[word] for word in words}) }")
    sound = not judged["disagree"] and judged["agree"] and not recorded["disagree"] and recorded["agree"]
    return int(not (flat and sound))


def by_minute(samples: str) -> list[dict[str, float]]:
    """The mean of each whole minute's samples, by tool and kind of memory, in KiB."""
    minutes: dict[int, list[list[int]]] = {}
    begin_s = None
    for now_s, *kib in csv.reader(samples.splitlines()):
        begin_s = begin_s or float(now_s)
        if len(kib) == len(COLUMNS):  # one that has ended has no memory
            minutes.setdefault(int((float(now_s) - begin_s) // MINUTE_S), []).append([int(one) for one in kib])
    whole = [minutes[number] for number in sorted(minutes)[:-1]]
    return [dict(zip(COLUMNS, map(fmean, zip(*minute, strict=True)), strict=True)) for minute in whole]


def in_words(kib: list[float]) -> str:
    return " ".join(f"{minute:.0f}" for minute in kib)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else SECONDS))
