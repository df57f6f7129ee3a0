"""wait_for_tasks.py TIMES: wait so often until every task has left the kernel, and say what there is of it afterwards.

Prints JSON: what the kernel says of preemption; of each wait whether it is known then, and how many seconds it took;
and what of BPF and ftrace there is more than before.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time

from swiotlb_top.kernel import layout, preemption, symbols
from swiotlb_top.probes.attach.grace import TaskGrace
from tests.lab.workloads.endings import DETACH_S, belongings, wait_for


def main() -> None:
    libbpf = ctypes.CDLL("libbpf.so.1")
    function_id = layout.load().idle_function_id()
    before = belongings(libbpf)
    grace = TaskGrace(function_id)
    waits = []
    for _ in range(int(sys.argv[1])):
        began_s = time.monotonic()
        known = grace.wait(int)
        waits.append((known, time.monotonic() - began_s))
    grace.close()
    wait_for(lambda: not any(belongings(libbpf).more_than(before).values()), DETACH_S)
    after = belongings(libbpf).more_than(before) | {"trampolines": symbols.trampolines(function_id or 0)}
    print(json.dumps({"preemption": preemption.here().name, "waits": waits, "after": after}))


if __name__ == "__main__":
    main()
