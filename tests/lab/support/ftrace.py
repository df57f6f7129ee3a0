"""Maps and unmaps as ftrace tells them: a witness that has nothing to do with the tool."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FAILED: Final = (1 << 64) - 1
"""DMA_MAPPING_ERROR."""

# Arguments by register: their names are BTF's to tell, and not every kernel's events ask it. A device begins with the
# pointer to its name.
WORDS: Final = """
tracing=/sys/kernel/tracing
unmap=$(sed -n 's/.* [tT] \\(__\\)\\?swiotlb_tbl_unmap_single$/\\1swiotlb_tbl_unmap_single/p' /proc/kallsyms)
echo 'p:lab/map swiotlb_tbl_map_single device=+0(+0(%di)):string orig_addr=%si:u64 size=%dx:u64' >$tracing/kprobe_events
echo 'r:lab/mapped swiotlb_tbl_map_single tlb_addr=$retval:u64' >>$tracing/kprobe_events
echo "p:lab/unmap $unmap tlb_addr=%si:u64" >>$tracing/kprobe_events
echo mono >$tracing/trace_clock
traced() {
    name=$1; shift
    echo 16384 >$tracing/buffer_size_kb
    echo >$tracing/trace
    echo 1 >$tracing/events/lab/enable
    "$@" >/results/$name.out 2>&1
    echo $? >/results/$name.status
    echo 0 >$tracing/events/lab/enable
    lost=$(cat $tracing/per_cpu/cpu*/stats | awk '/^overrun:/ { lost += $2 } END { print lost }')
    dd if=$tracing/trace of=/results/$name.ftrace bs=1M iflag=fullblock status=none
    echo "lost $lost" >>/results/$name.ftrace
}
counted() {
    name=$1; shift
    echo >$tracing/trace
    echo 1 >$tracing/events/lab/map/enable
    "$@" >/results/$name.out 2>&1
    echo 0 >$tracing/events/lab/map/enable
    cat $tracing/per_cpu/cpu*/stats >/results/$name.stats
}
"""
"""For a guest's shell: `traced NAME COMMAND...` keeps for :func:`traced` what COMMAND did, `counted` only how many maps
it made, for :func:`maps_by_cpu`, and takes no time to print each."""


def tracing_shell(script: str) -> list[str]:
    """A command for `Lab.run`: a script with WORDS."""
    return ["sh", "-c", WORDS + script]


@dataclass(frozen=True, slots=True)
class Map:
    """A call of swiotlb_tbl_map_single() that has returned."""

    cpu: int
    device: str
    orig_addr: int
    size_bytes: int
    """As the caller asked: without padding."""
    tlb_addr: int
    """FAILED if it did."""
    at_ns: int
    """When it returned, by CLOCK_MONOTONIC, to the microsecond."""


@dataclass(frozen=True, slots=True)
class Unmap:
    """A call of swiotlb_tbl_unmap_single() that has begun."""

    tlb_addr: int


@dataclass(frozen=True, slots=True)
class Traced:
    """What came of a command, and what it made swiotlb do."""

    status: int
    out: str
    calls: list[Map | Unmap]
    """In the order of their times. A few in a thousand may be missing: in an interrupt, kprobes are."""

    @property
    def maps(self) -> list[Map]:
        return [call for call in self.calls if isinstance(call, Map)]


def traced(files: Path, name: str) -> Traced:
    """What `traced NAME` kept. AssertionError if the buffer was too small for it."""
    status, out, text = ((files / f"{name}.{kind}").read_text() for kind in ("status", "out", "ftrace"))
    assert text.endswith("\nlost 0\n"), text[-200:]
    return Traced(int(status), out, list(_calls(text)))


def maps_by_cpu(files: Path, name: str) -> list[int]:
    """How many maps `counted NAME` saw begin on each CPU."""
    stats = (files / f"{name}.stats").read_text()
    kept, overrun = (map(int, re.findall(rf"^{what}: (\d+)$", stats, re.MULTILINE)) for what in ("entries", "overrun"))
    return [sum(both) for both in zip(kept, overrun, strict=True)]


def _calls(text: str) -> Iterator[Map | Unmap]:
    # A call in an interrupt returns before the one it interrupted, and none changes its CPU.
    under_way: dict[str, list[tuple[str, dict[str, int]]]] = defaultdict(list)
    lines = re.findall(r"\[(\d+)\] .* (\d+)\.(\d{6}): (map|mapped|unmap): \(.*?\)(.*)", text)
    for cpu, seconds, microseconds, event, told in lines:
        fields = {field: int(value) for field, value in re.findall(r"(\w+)=(\d+)", told)}
        if event == "unmap":
            yield Unmap(**fields)
        elif event == "map":
            device = re.search(r'device="(.*?)"', told)
            under_way[cpu].append((device[1] if device else "", fields))
        elif under_way[cpu]:
            name, entered = under_way[cpu].pop()
            at_ns = (int(seconds) * 1_000_000 + int(microseconds)) * 1000
            yield Map(int(cpu), name, entered["orig_addr"], entered["size"], fields["tlb_addr"], at_ns)
