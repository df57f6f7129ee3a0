"""A benchmark's part that runs in the lab, and what it prints there."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.lab.harness import cache
from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine

DEADLINE_S: Final = 580.0


@contextmanager
def ran(module: str, machine: Machine) -> Iterator[tuple[list[Any], Path]]:
    """The rows that a module prints in a machine, a JSON object a line, and where its files are until the context ends.

    Where it cannot be run, or fails, standard error says why, and the benchmark ends.
    """
    with tempfile.TemporaryDirectory(prefix="swiotlb-bench-") as scratch:
        lab = Lab(cache.default_root(), Path(scratch), may_build=True)
        try:
            result = lab.run(machine, [sys.executable, "-m", module], deadline_s=DEADLINE_S)
        except LabUnavailableError as error:
            print(f"bench: {error}", file=sys.stderr)
            sys.exit(error.exit_status)
        if result.status:
            print(result.stderr, file=sys.stderr)
            sys.exit(result.status)
        yield [json.loads(line) for line in result.stdout.splitlines()], result.files
