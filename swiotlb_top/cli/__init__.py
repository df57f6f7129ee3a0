"""The command line: every way to end, in one place."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

import click
from click.shell_completion import shell_complete

from swiotlb_top.cli.group import swiotlb_top
from swiotlb_top.errors import Exit, SwiotlbTopError

INTERRUPTED: Final = 128 + signal.SIGINT
COMPLETE: Final = "_SWIOTLB_TOP_COMPLETE"
"""Set by a shell that completes a command line, as click has it."""
READER_GONE: Final = 128 + signal.SIGPIPE
"""Never 0: whoever reads only the first lines of a report has not seen its verdict."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``arguments`` (None: the process's own) and give the exit status.

    Errors a person can do something about become one line on standard error.
    """
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up_output()
        return READER_GONE
    except OSError as error:
        _give_up_output()
        _complain(str(error))
        return Exit.CANNOT
    return status


def _give_up_output() -> None:
    """Python flushes once more at exit; give it somewhere to write."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: Sequence[str] | None) -> int:
    if asked := os.environ.get(COMPLETE):
        return shell_complete(swiotlb_top, {}, "swiotlb-top", COMPLETE, asked)
    try:
        with swiotlb_top.make_context("swiotlb-top", list(sys.argv[1:] if arguments is None else arguments)) as context:
            status = swiotlb_top.invoke(context)
    except SwiotlbTopError as error:
        _complain(str(error))
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except click.exceptions.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    return int(status or Exit.OK)


def _complain(message: str) -> None:
    words = "".join(char if char.isprintable() else " " for char in message)
    print(f"swiotlb-top: {words}", file=sys.stderr)
