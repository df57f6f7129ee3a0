"""What swiotlb-top says of a kernel under load, as Markdown to attach to a patch: ``python -m tests.lab report``.

Each workload is recorded in the guest and judged on the host. The report names all that is needed to do it again.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swiotlb_top.compare.measured import measure
from swiotlb_top.compare.sample import quantile
from swiotlb_top.errors import Exit
from tests.lab.harness.errors import LostVMError
from tests.lab.harness.images import is_path
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine, kernel_command_line
from tests.lab.harness.vm import CHECKOUT, Result
from tests.lab.support.tool import Replayed, guest_shell, replay

WORKLOADS: Final[Mapping[str, str]] = {
    "busy": "$workloads/busy.sh 1",
    "counted": "$workloads/counted.sh 1009 nvme0n1",
    "large": "dd if=/dev/vda of=/dev/null bs=1M count=64 iflag=direct status=none",
}
"""What is recorded, by name. What each does stands at its head, in tests/lab/workloads."""
OPTIONS: Final = ("SWIOTLB", "SWIOTLB_DYNAMIC", "DMA_RESTRICTED_POOL", "PREEMPT", "SMP", "DEBUG_INFO_BTF", "KASAN")
_ABOUT: Final = (
    "uname -r >/results/release; uname -v >/results/version; "
    "zcat /proc/config.gz >/results/config 2>/dev/null || rm -f /results/config; "
)


@dataclass(frozen=True, slots=True)
class Judged:
    """One workload."""

    name: str
    replayed: Replayed
    seconds: float
    map_p50_ns: float | None
    map_p99_ns: float | None

    @classmethod
    def of(cls, name: str, path: Path) -> Judged:
        """Judge a recording."""
        measured = measure(path)
        latencies = measured.latencies_ns.values
        p50, p99 = (quantile(latencies, share) if latencies else None for share in (0.5, 0.99))
        return cls(name, replay(path), measured.found.length_ns / 1e9, p50, p99)


@dataclass(frozen=True, slots=True)
class PatchReport:
    """What came of one machine."""

    kernel: str
    """Name, or path."""
    sha256: str
    """Of the file that was booted."""
    commit: str
    """Of the tree in which a bzImage lies; empty if it lies in none."""
    tool_commit: str
    release: str
    version: str
    config: Mapping[str, str] | None
    """Options that tell; None if the kernel does not have its configuration."""
    command_line: str
    cpus: int
    memory_mb: int
    judged: tuple[Judged, ...]
    failed: tuple[str, ...]
    """Workloads that were not recorded, each with the reason."""

    @property
    def status(self) -> int:
        """That of ``replay``: the worst of all."""
        order = (Exit.OK, Exit.INCONCLUSIVE, Exit.UNREADABLE, Exit.DISAGREE)
        statuses = [one.replayed.status for one in self.judged] + [Exit.INCONCLUSIVE] * len(self.failed)
        return max(statuses, key=lambda status: order.index(Exit(status)) if status in order else len(order))

    def as_markdown(self) -> str:
        """All of it."""
        return "\n".join([*self._about(), "", *self._verdicts(), "", *self._figures(), "", *self._differing()]) + "\n"

    def _about(self) -> list[str]:
        config = (
            "not known (CONFIG_IKCONFIG_PROC is not set)"
            if self.config is None
            else ", ".join(f"{name}={self.config.get(name, 'n')}" for name in OPTIONS)
        )
        return [
            f"# swiotlb-top on {self.release}",
            "",
            f"- kernel: `{self.kernel}`, commit {self.commit or 'not known'}, {self.version}",
            f"- booted file: sha256 `{self.sha256}`",
            f"- configuration: {config}",
            f"- machine: {self.cpus} CPUs, {self.memory_mb} MB, `{self.command_line}`",
            f"- swiotlb-top: {self.tool_commit or 'not known'}",
        ]

    def _verdicts(self) -> list[str]:
        head = "| workload | operations | agree | disagree | inconclusive | unsafe | lost | miscounts | verdict |"
        rows = [head, "|---|--:|--:|--:|--:|--:|--:|--:|---|"]
        for one in self.judged:
            of = one.replayed.report
            counts = [one.replayed.operations, of["agree"], of["disagree"], of["inconclusive"], of["safety_violations"]]
            cells = [*(f"{count:,}" for count in (*counts, of["lost"], len(of["miscounts"]))), of["verdict"]]
            rows.append(f"| `{one.name}`: {WORKLOADS.get(one.name, '')} | " + " | ".join(cells) + " |")
        return [*rows, *(f"\n{line}" for line in self.failed)]

    def _figures(self) -> list[str]:
        rows = [
            "| workload | seconds | maps | failed | pools added | map p50 | map p99 |",
            "|---|--:|--:|--:|--:|--:|--:|",
        ]
        for one in self.judged:
            of = one.replayed.report
            counts = " | ".join(f"{of[name]:,}" for name in ("maps", "map_failures", "pools_added"))
            times = " | ".join("?" if ns is None else f"{ns / 1000:,.1f} us" for ns in (one.map_p50_ns, one.map_p99_ns))
            rows.append(f"| `{one.name}` | {one.seconds:.1f} | {counts} | {times} |")
        return [*rows, "", "Times are of an emulated machine: they compare with those of another kernel here, only."]

    def _differing(self) -> list[str]:
        lines = []
        for one in self.judged:
            if first := one.replayed.report["first_disagreement"]:
                lines += [f"First disagreement in `{one.name}`, operation {first['operation']}:", ""]
                lines += [f"    kernel:    {first['observed']}", f"    reference: {first['expected']}", ""]
        return lines or ["No disagreement."]


def made(lab: Lab, machine: Machine) -> PatchReport:
    """Boot the machine, record each workload in it, and judge the recordings.

    :raises LostVMError: the machine does not come up, or is lost.
    """
    record = [
        f"$tool record -o /results/{name}.swtrace -- {workload} >/results/{name}.out 2>&1 "
        f'|| echo "$?: $(tail -n 1 /results/{name}.out)" >/results/{name}.failed; '
        for name, workload in WORKLOADS.items()
    ]
    ran = lab.run(machine, guest_shell(_ABOUT + "".join(record)))
    if not (ran.files / "release").exists():
        raise LostVMError(f"the guest tells nothing of its kernel: {ran.stderr}")
    return of_run(lab, machine, ran)


def of_run(lab: Lab, machine: Machine, ran: Result) -> PatchReport:
    """The report on what a guest left."""
    files, boots = ran.files, lab.image(machine.kernel).bootable
    judged = [Judged.of(name, path) for name in WORKLOADS if (path := files / f"{name}.swtrace").exists()]
    failed = [
        f"`{name}` ended with {path.read_text().strip()}"
        for name in WORKLOADS
        if (path := files / f"{name}.failed").exists()
    ]
    config = files / "config"
    return PatchReport(
        machine.kernel,
        hashlib.sha256(boots.read_bytes()).hexdigest(),
        commit_at(Path(machine.kernel).resolve().parent) if is_path(machine.kernel) else "",
        commit_at(CHECKOUT),
        (files / "release").read_text().strip(),
        (files / "version").read_text().strip(),
        options(config.read_text()) if config.exists() else None,
        kernel_command_line(machine),
        machine.cpus,
        machine.memory_mb,
        tuple(judged),
        tuple(failed),
    )


def options(config: str) -> dict[str, str]:
    """The options of a kernel's configuration that are told, without "CONFIG_"."""
    pairs = (line.removeprefix("CONFIG_").partition("=") for line in config.splitlines() if line.startswith("CONFIG_"))
    return {name: value for name, _, value in pairs if name in OPTIONS}


def commit_at(directory: Path) -> str:
    """The commit of a tree, with "-dirty" if it was changed since; empty if it is no git tree."""
    command = ["git", "-C", str(directory), "describe", "--always", "--dirty", "--abbrev=12", "--exclude", "*"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.stdout.strip() if ran.returncode == 0 else ""
