"""The report on a program file: for which kernel its programs are, and what they probe there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swiotlb_top.kernel.hooks import HOOKS
from swiotlb_top.probes.compile import bpf_files
from swiotlb_top.probes.compile.given import raw_of, unpacked
from swiotlb_top.probes.compile.program_file import ProgramFile
from swiotlb_top.state import How

_SHOWN_DIGITS: Final = 12
"""Of a digest, for people."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A function at which a hook is seen."""

    hook: str
    how: How
    function: str


@dataclass(frozen=True, slots=True)
class ProgramReport:
    """What a program file holds."""

    content: ProgramFile
    file_bytes: int
    sources: str
    """The digest of this tool's own sources."""

    @property
    def is_of_this_tool(self) -> bool:
        """Whether this tool loads it, if the kernel is right."""
        return self.content.made.sources == self.sources

    def probes(self) -> list[Probe]:
        """Where its programs are attached, each place once: they may differ between machines."""
        found = {probe: None for macros in self.content.images for probe in _probes(dict(macros))}
        order = [hook.name for hook in HOOKS]
        return sorted(found, key=lambda probe: order.index(probe.hook))

    def as_text(self) -> str:
        """Some lines for people."""
        return "\n".join(self._lines())

    def as_json(self) -> dict[str, object]:
        """The same as a JSON object; docs/json.md tells of the keys."""
        made = self.content.made
        return {
            "kernel": {"release": made.release or None, "machine": made.machine, "btf": made.btf},
            "made_by": {
                "tool": made.tool,
                "compiler": made.compiler or None,
                "sources": made.sources,
                "is_this_tool": self.is_of_this_tool,
            },
            "programs": len(self.content.images),
            "file_bytes": self.file_bytes,
            "probes": [
                {"hook": probe.hook, "how": probe.how.value, "function": probe.function} for probe in self.probes()
            ],
        }

    def _lines(self) -> Iterator[str]:
        made, programs = self.content.made, len(self.content.images)
        release = made.release or "of a release that nobody said"
        same = "those of this one" if self.is_of_this_tool else "others than those of this one: build it anew"
        yield f"kernel    {release}, {made.machine}, BTF {made.btf[:_SHOWN_DIGITS]}"
        yield f"made by   swiotlb-top {made.tool} with bcc {made.compiler or 'of a version that is not known'}"
        yield f"from      sources {made.sources[:_SHOWN_DIGITS]}, {same}"
        yield f"programs  {programs} in {self.file_bytes:,} bytes, for any number of CPUs"
        for number, probe in enumerate(self.probes()):
            yield f"{'' if number else 'probes':9} {probe.hook:14} {probe.how.value} {probe.function}"


def shown(path: Path) -> ProgramReport:
    """Make the report. :raises UnreadableError: the file is no program file."""
    raw = raw_of(path)
    return ProgramReport(unpacked(path, raw), len(raw), bpf_files.digest())


def _probes(macros: dict[str, str]) -> Iterator[Probe]:
    for hook in HOOKS:
        for how in (How.FENTRY, How.KPROBE):
            if {f"{hook.macro}_{how.name}", hook.macro} <= macros.keys():
                yield Probe(hook.name, how, macros[hook.macro])
