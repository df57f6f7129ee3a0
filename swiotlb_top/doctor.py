"""Can this machine be watched, how, and what is missing?"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from swiotlb_top.errors import CannotError, Exit, SwiotlbTopError
from swiotlb_top.kernel import debugfs, layout
from swiotlb_top.kernel.privileges import missing_capabilities


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. ``needed`` says that live watching is impossible without it."""

    name: str
    ok: bool
    found: str
    needed: bool = True


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """Everything looked at, and each hook's place."""

    checks: tuple[Check, ...]
    hooks: tuple[tuple[str, str], ...]

    @property
    def exit_code(self) -> Exit:
        return Exit.OK if all(check.ok for check in self.checks if check.needed) else Exit.CANNOT

    def as_json(self) -> dict[str, object]:
        """Flat: a key a check, and the plan."""
        return {
            "ok": self.exit_code is Exit.OK,
            "checks": {
                check.name: {"ok": check.ok, "needed": check.needed, "found": check.found} for check in self.checks
            },
            "hooks": dict(self.hooks),
        }

    def as_text(self) -> str:
        """A line a check, a line a hook."""
        width = max(len(name) for name in [*(check.name for check in self.checks), *(name for name, _ in self.hooks)])
        lines = [f"{_mark(check):9} {check.name:{width}}  {check.found}" for check in self.checks]
        lines += [f"{'hook':9} {name:{width}}  {how}" for name, how in self.hooks]
        live = "can" if self.exit_code is Exit.OK else "cannot"
        return "\n".join([*lines, f"swiotlb {live} be watched live here"])


def _mark(check: Check) -> str:
    if check.ok:
        return "ok"
    return "MISSING" if check.needed else "degraded"


def examine() -> DoctorReport:
    """Look at this machine; attaches the probes for a moment, to see where they go."""
    hooks: list[tuple[str, str]] = []
    checks = [
        Check("kernel", True, f"{os.uname().release} ({os.uname().machine})"),
        _try("swiotlb types (BTF) and symbols", _types),
        _capabilities(),
        _try("debugfs", lambda: _slots(debugfs.read_default().nslabs), needed=False),
        _try("probes", lambda: _attach(hooks)),
    ]
    if not hooks:
        _try("plan", lambda: _plan(hooks))
    return DoctorReport(tuple(checks), tuple(hooks))


def _try(name: str, look: Callable[[], str], *, needed: bool = True) -> Check:
    try:
        return Check(name, True, look(), needed)
    except SwiotlbTopError as error:
        return Check(name, False, str(error), needed)


def _types() -> str:
    found = layout.load()
    found.default_mem()
    return f"static pool, {', '.join(found.features)}" if not found.dynamic else ", ".join(found.features)


def _slots(nslabs: int) -> str:
    return f"io_tlb_nslabs {nslabs}"


def _capabilities() -> Check:
    missing = missing_capabilities()
    if missing:
        return Check("capabilities", False, f"without {', '.join(missing)}: run as root, not in a container")
    return Check("capabilities", True, "all that is needed")


def _plan(hooks: list[tuple[str, str]]) -> str:
    """Where the probes would go; what cannot be attached can still be planned."""
    from swiotlb_top.probes import plan
    from swiotlb_top.probes.program import kernel_has_kprobes

    planned = plan.make(layout.load(), kprobes=kernel_has_kprobes()).describe()
    hooks += ((name, f"planned: {how}") for name, how in planned)
    return "planned"


def _attach(hooks: list[tuple[str, str]]) -> str:
    from swiotlb_top.probes.session import Session

    with Session() as session:
        hooks += session.kernel.hooks
        state, _, _ = session.settle()
        if not state.settled:
            raise CannotError("attached, but swiotlb is too busy for its state to be read")
        return f"attached and detached again; {len(state.pools)} pools read, {state.nslabs} slots"
