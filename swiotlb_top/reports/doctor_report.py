"""What the doctor says: its checks, the place of each hook, and the devices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from swiotlb_top.errors import CannotError, Exit, SwiotlbTopError
from swiotlb_top.reports.devices import DeviceReport

_SHOWN: Final = 20
"""So many devices are on the page; JSON has all."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. ``needed``: without it, this machine cannot be watched live."""

    name: str
    ok: bool
    found: str
    needed: bool = True

    @property
    def key(self) -> str:
        """Its name in JSON."""
        return re.sub(r"\W+", "_", self.name).strip("_").lower()


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """The results of all checks, the place of each hook, and why devices bounce."""

    checks: tuple[Check, ...]
    hooks: tuple[tuple[str, str], ...]
    refusal: SwiotlbTopError | None = None
    """Why the probes could not be attached; None if they were."""
    devices: tuple[DeviceReport, ...] = ()
    """Those that people know by a name."""

    @property
    def exit_code(self) -> Exit:
        return Exit.OK if all(check.ok for check in self.checks if check.needed) else Exit.CANNOT

    def as_json(self) -> dict[str, object]:
        """A flat object: one key for each check, and the plan."""
        return {
            "ok": self.exit_code is Exit.OK,
            "because": self._because,
            "next_step": self._next_step or None,
            "checks": {
                check.key: {"ok": check.ok, "needed": check.needed, "found": check.found} for check in self.checks
            },
            "hooks": dict(self.hooks),
            "devices": [device.as_json() for device in self.devices],
        }

    def as_text(self) -> str:
        """One line for each check, one for each hook, and one for each device."""
        names = [*(check.name for check in self.checks), *(name for name, _ in self.hooks)]
        width = max(map(len, names))
        lines = [*self._upshot(), ""]
        lines += [f"{_mark(check):9} {check.name:{width}}  {check.found}" for check in self.checks]
        lines += [f"{'hook':9} {name:{width}}  {how}" for name, how in self.hooks]
        lines += [f"{'device':9} {device.name:{width}}  {device.line()}" for device in self.devices[:_SHOWN]]
        if len(self.devices) > _SHOWN:
            lines.append(f"{'device':9} {len(self.devices) - _SHOWN} more: --json has all")
        return "\n".join(lines)

    def _upshot(self) -> Iterator[str]:
        """The answer, why, and the one step to take."""
        if self.exit_code is Exit.OK:
            yield "swiotlb can be watched live here"
            return
        yield f"swiotlb cannot be watched live here, because {self._because}"
        if self._next_step:
            yield f"next: {self._next_step}"

    @property
    def _because(self) -> str | None:
        if self.exit_code is Exit.OK:
            return None
        if isinstance(self.refusal, CannotError):
            return self.refusal.because
        return str(self.refusal) if self.refusal else next(c.found for c in self.checks if c.needed and not c.ok)

    @property
    def _next_step(self) -> str:
        failed = self.exit_code is not Exit.OK
        return self.refusal.next_step if failed and isinstance(self.refusal, CannotError) else ""


def _mark(check: Check) -> str:
    if check.ok:
        return "ok"
    return "MISSING" if check.needed else "degraded"
