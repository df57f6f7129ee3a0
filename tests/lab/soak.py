"""Ten minutes at four CPUs: ``python -m tests.lab.soak [SECONDS]``, or ``make soak``.

The exporter watches and the recorder records, both at once, what keeps four CPUs, two disks and a network card busy.
Ends with 1 where one of them called the kernel wrong, or where their memory was not flat after the first minutes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.lab import cache
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.tool import guest_shell, replay, tried

SECONDS = 600
MINUTE_S = 60
VERDICTS = "swiotlb_verified_operations_total"
WARM_UP_MINUTES = 2
FLAT = 0.05
TOOLS = ("exporter", "recorder")

SCRIPT = """
    export PYTHON=$python
    url=http://127.0.0.1:9788/metrics
    resident() {{ sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\) kB/\\1/p' /proc/$1/status; }}
    $tool export --source live 2>/results/exporter.err & exporter=$!
    $python $workloads/scrape.py $url --metric swiotlb_up >/dev/null
    $tool record -o /results/soak.swtrace --duration {seconds} >/results/recorder.out 2>&1 & recorder=$!
    until [ -e /results/soak.swtrace.partial ]; do sleep 1; done
    setsid sh $workloads/busy.sh 100000 >/dev/null 2>&1 &
    for _ in $(seq {minutes}); do
        sleep {minute}
        echo "{{\\"exporter\\": $(resident $exporter), \\"recorder\\": $(resident $recorder)}}" >>/results/resident_kib
    done
    try scraped $python $workloads/scrape.py $url
    wait $recorder
    kill $exporter
"""


def main(seconds: int) -> int:
    with tempfile.TemporaryDirectory(prefix="swiotlb-soak-") as scratch:
        lab = Lab(cache.default_root(), Path(scratch), may_build=True)
        script = SCRIPT.format(seconds=seconds, minutes=max(1, seconds // MINUTE_S - 1), minute=MINUTE_S)
        ran = lab.run(
            Machine(cpus=4, swiotlb="2048,force", in_turn=True), guest_shell(script), deadline_s=10.0 * seconds + 600
        )
        if ran.status:
            print(ran.stderr, file=sys.stderr)
            return ran.status
        return report(ran.files)


def report(files: Path) -> int:
    resident = [json.loads(line) for line in (files / "resident_kib").read_text().splitlines()]
    samples = [
        sample for family in text_string_to_metric_families(tried(files, "scraped").out) for sample in family.samples
    ]
    judged = {sample.labels["verdict"]: sample.value for sample in samples if sample.name == VERDICTS}
    recorded = replay(files / "soak.swtrace").report
    flat = True
    for tool in TOOLS:
        settled = [minute[tool] for minute in resident[WARM_UP_MINUTES - 1 :]]
        grown = max(settled) / settled[0] - 1
        flat &= grown <= FLAT
        print(f"{tool}: {' '.join(str(minute[tool]) for minute in resident)} KiB a minute, grown by {grown:.1%}")
    print(f"exporter: {judged}")
    words = ("maps", "lost", "compared", "agree", "disagree", "inconclusive", "safety_violations")
    print(f"recorder: { ({word: recorded[word] for word in words}) }")
    sound = not judged["disagree"] and judged["agree"] and not recorded["disagree"] and recorded["agree"]
    return int(not (flat and sound))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else SECONDS))
