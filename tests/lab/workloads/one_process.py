"""one_process.py DIRECTORY NAME MODULE ARGUMENTS... [, NAME MODULE ARGUMENTS...]...: several commands in one process.

Each is a module run as `python -m` does it, and ends as `try NAME` keeps it: DIRECTORY/NAME.out, .err and .status. What
takes seconds in an emulated machine is had but once: Python itself, its modules, and what the kernel is.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SEPARATOR = ","


def split(words: Sequence[str]) -> Iterator[list[str]]:
    """The commands."""
    command: list[str] = []
    for word in (*words, SEPARATOR):
        if word == SEPARATOR:
            yield command
            command = []
        else:
            command.append(word)


@contextmanager
def kept(stream: int, path: Path) -> Iterator[None]:
    """What this process and its children write to a stream goes to a file."""
    before = os.dup(stream)
    with path.open("wb") as file:
        os.dup2(file.fileno(), stream)
    yield
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(before, stream)
    os.close(before)


def run(module: str, arguments: Sequence[str]) -> int:
    """Its exit status."""
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def main() -> None:
    directory = Path(sys.argv[1])
    for name, module, *arguments in split(sys.argv[2:]):
        with kept(1, directory / f"{name}.out"), kept(2, directory / f"{name}.err"):
            status = run(module, arguments)
        (directory / f"{name}.status").write_text(f"{status}\n")


if __name__ == "__main__":
    main()
