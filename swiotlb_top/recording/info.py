"""``swiotlb-top info``: what a recording is, what it holds, and what it reveals to those who get it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swiotlb_top.allocator import Candidate, choose
from swiotlb_top.errors import CannotError, Exit
from swiotlb_top.recording.clock import Clock, in_words
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.trace import Header, TraceReader
from swiotlb_top.trace.format import FORMAT
from swiotlb_top.trace.items import PARTIAL
from swiotlb_top.trace.survey import Survey, survey

_SHOWN: Final = 20
"""How many devices and pools the page names. JSON has all of them."""


@dataclass(frozen=True, slots=True)
class Info:
    """A recording's description."""

    path: Path
    size_bytes: int
    header: Header
    found: Survey

    @property
    def exit_code(self) -> Exit:
        return Exit.UNREADABLE if self.found.damage else Exit.OK

    @property
    def damage(self) -> str:
        return self.found.damage

    def as_json(self) -> dict[str, object]:
        """For machines. null means that it is not known."""
        header, kernel, found = self.header, self.header.kernel, self.found
        clock = self._clock()
        candidates, why = self._revision()
        return {
            "file": self.path.name,
            "size_bytes": self.size_bytes,
            "format": FORMAT,
            "tool_version": header.tool_version,
            "kernel_release": kernel.release,
            "kernel_version": kernel.version or None,
            "machine": kernel.machine,
            "host": header.host or None,
            "boot_id": kernel.boot_id or None,
            "cpus": str(kernel.cpus),
            "page_size_bytes": kernel.page_size_bytes or None,
            "byte_order": kernel.byte_order or None,
            "features": list(kernel.features),
            "hooks": {place.name: str(place) for place in kernel.hooks},
            "revision": candidates[0].revision.name if candidates else None,
            "may_be": [candidate.name for candidate in candidates],
            "revision_unknown_because": why or None,
            "clock": header.clock,
            "wall_clock_exact": clock.exact,
            "begin_ns": found.begin_ns or None,
            "begin_wall": in_words(clock.wall_ns(found.begin_ns)) if found.begin_ns else None,
            "end_wall": in_words(clock.wall_ns(found.begin_ns + found.length_ns)) if found.begin_ns else None,
            "duration_seconds": round(found.length_ns / 1e9, 3),
            "geometry": _geometry(found.first_state) if found.first_state else None,
            "events": found.events,
            "events_by_kind": self._by_kind(),
            "states": found.states,
            "devices": [
                {
                    "name": name.name or None if name else None,
                    "driver": name.driver or None if name else None,
                    "known_as": name.known_as or None if name else None,
                }
                for name in (found.names.get(dev) for dev in sorted(found.devices))
            ],
            "gaps": found.gaps,
            "lost": self._lost(),
            "anonymised": header.anonymised,
            "partial": header.partial,
            "complete": found.ended is not None,
            "damage": found.damage,
            "reveals": list(self._reveals()),
        }

    def as_text(self) -> str:
        """A page for people."""
        return "\n".join(f"{label:9} {text}".rstrip() for label, text in self._lines())

    def _lines(self) -> Iterator[tuple[str, str]]:
        header, kernel, found = self.header, self.header.kernel, self.found
        candidates, why = self._revision()
        revision = " or ".join(candidate.revision.name for candidate in candidates)
        yield "file", f"{self.path}: {self.size_bytes:,} bytes, format {FORMAT}, by swiotlb-top {header.tool_version}"
        yield "kernel", f"{kernel.release} ({kernel.machine}), CPUs {kernel.cpus}"
        yield "host", header.host or "not told"
        yield "time", self._span()
        yield "revision", revision or f"not known: {why}"
        yield "geometry", _in_words(found.first_state) if found.first_state else "not known: no state was recorded"
        kinds = ", ".join(f"{count:,} {name}" for name, count in self._by_kind().items())
        yield "events", f"{found.events:,}{f': {kinds}' if kinds else ''}"
        names = [_who(name) for name in found.names.values() if name.name]
        yield "devices", _some(names, len(found.devices), "none")
        yield "lost", f"{self._lost():,} events in {found.gaps} gaps" if self._lost() else "nothing"
        if header.partial:
            yield "partial", PARTIAL
        yield "damaged", "no: it has its end" if found.ended else found.damage or "it has no end"
        for place in kernel.hooks:
            yield "hook", f"{place.name}: {place}"
        for sentence in self._reveals():
            yield "reveals", sentence

    def _span(self) -> str:
        found, clock = self.found, self._clock()
        if not found.begin_ns:
            return f"started {in_words(self.header.started_realtime_ns)}; it holds nothing with a time"
        begin, end = (in_words(clock.wall_ns(at)) for at in (found.begin_ns, found.begin_ns + found.length_ns))
        about = "" if clock.exact else " (the wall clock is true to some tenths of a second)"
        return f"{begin} to {end}, {found.length_ns / 1e9:.3f} s{about}"

    def _clock(self) -> Clock:
        return Clock.of(self.header, self.found.begin_ns)

    def _revision(self) -> tuple[tuple[Candidate, ...], str]:
        """The revisions that its kernel may have, the likeliest first; and if there are none, why."""
        kernel = self.header.kernel
        try:
            choice = choose(kernel.features, kernel.release, kernel.version)
        except CannotError as error:
            return (), str(error)
        return choice.candidates, "" if choice.candidates else choice.note

    def _by_kind(self) -> dict[str, int]:
        """How many events there are of each kind, by the names that the other JSON reports use."""
        return {kind.name.lower().replace("_", ""): count for kind, count in sorted(self.found.kinds.items())}

    def _lost(self) -> int:
        return max(self.found.lost, self.found.ended.lost if self.found.ended else 0)

    def _reveals(self) -> Iterator[str]:
        """What somebody can learn from the file, one phrase for each kind of information."""
        header, found = self.header, self.found
        named = any(name.name for name in found.names.values())
        known = any(name.known_as for name in found.names.values())
        if header.anonymised:
            yield "low bits of addresses, and how pools follow each other; it was anonymised"
        elif found.events or found.first_state:
            yield "addresses of kernel objects, and physical addresses of buffers and pools"
        if named:
            yield "drivers of devices" if header.anonymised else "names and drivers of devices"
        if known:
            yield "names of disks and network interfaces"
        if header.host:
            yield f"the host's name, {header.host}"
        if header.kernel.boot_id:
            yield "the kernel's boot id, by which other files of the same boot are known"
        yield (
            "the kernel's release and build, its CPUs, and when it was recorded"
            if header.kernel.version
            else ("the kernel's release, its CPUs, and when it was recorded")
        )


def inspect(path: Path) -> Info:
    """Describe a recording up to its end, or to where it is damaged.

    :raises UnreadableError: the file is no recording.
    """
    trace = TraceReader(path)
    return Info(path, path.stat().st_size, trace.header, survey(trace))


def _geometry(mem: MemState) -> dict[str, object]:
    return {
        "nslabs": mem.nslabs,
        "dynamic": mem.dynamic,
        "can_grow": mem.can_grow,
        "default_nslabs": mem.default_nslabs,
        "default_nareas": mem.default_nareas,
        "pools": [{"start": f"{pool.start:#x}", "nslabs": pool.nslabs, "nareas": pool.nareas} for pool in mem.pools],
    }


def _in_words(mem: MemState) -> str:
    kind = "dynamic" if mem.dynamic else "static"
    pools = [f"{pool.nslabs} in {pool.nareas} area{'s' * (pool.nareas != 1)} at {pool.start:#x}" for pool in mem.pools]
    return f"{kind}, {mem.nslabs:,} slots at first: {_some(pools, len(pools), 'no pool')}"


def _who(name: DeviceName) -> str:
    driver = name.driver or "?"
    return f"{name.name} ({driver}, {name.known_as})" if name.known_as else f"{name.name} ({driver})"


def _some(shown: list[str], of_all: int, none: str) -> str:
    """The first :data:`_SHOWN`, and how many more there are.

    :param none: what is said if there are none.
    """
    more = of_all - min(len(shown), _SHOWN)
    return ", ".join([*shown[:_SHOWN], *([f"{more:,} more"] if more else [])]) or none
