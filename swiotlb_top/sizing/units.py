"""Numbers for people."""

from __future__ import annotations


def memory(size_bytes: int) -> str:
    """``512 KiB``, ``1 MiB``, ``1.5 GiB``: up to three digits, exact for powers of two."""
    size, unit = abs(size_bytes) / 1024, "KiB"
    for larger in ("MiB", "GiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{'-' if size_bytes < 0 else ''}{size:.4g} {unit}"


def duration(time_ns: int) -> str:
    """``38.9ms``; nothing for 0."""
    return f"{time_ns / 1e6:.3g}ms" if time_ns else ""


def number(count: int | None, unknown: str = "?") -> str:
    """A count, or what stands for one that is not known."""
    return unknown if count is None else str(count)
