"""Which capabilities this process has, checked before they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_CAPABILITIES: Final = {"CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}
_LEAST: Final = {"CAP_BPF", "CAP_PERFMON"}
_TO_PROBE: Final = ({"CAP_SYS_ADMIN"}, _LEAST)
"""Either set does (include/uapi/linux/capability.h, 2c78ee898d8f, 5.8)."""


def missing_capabilities(status: Path = Path("/proc/self/status")) -> tuple[str, ...]:
    """Which of CAP_BPF and CAP_PERFMON this process lacks; empty if it has both, or CAP_SYS_ADMIN."""
    line = next(line for line in status.read_text().splitlines() if line.startswith("CapEff:"))
    effective = int(line.split()[1], 16)
    held = {name for name, bit in _CAPABILITIES.items() if effective >> bit & 1}
    if any(enough <= held for enough in _TO_PROBE):
        return ()
    return tuple(sorted(_LEAST - held))
