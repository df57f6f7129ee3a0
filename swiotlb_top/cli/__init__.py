"""The command line: every way to end, in one place."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from click.shell_completion import shell_complete

from swiotlb_top.cli import streams
from swiotlb_top.cli.group import swiotlb_top
from swiotlb_top.errors import Exit, SwiotlbTopError

COMPLETE: Final = "_SWIOTLB_TOP_COMPLETE"
"""Set by a shell that completes a command line, as click has it."""
TRACEBACK: Final = "SWIOTLB_TOP_TRACEBACK"
"""Names the file that gets the traceback where the tool itself fails."""
INTERRUPTED: Final = 128 + signal.SIGINT
READER_GONE: Final = 128 + signal.SIGPIPE
"""Never 0: whoever reads only the first lines of a report has not seen its verdict."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``arguments`` (None: the process's own) and give the exit status.

    Every error becomes one line on standard error, and only a fault of the tool itself has status 70.
    """
    with streams.complaints():
        try:
            with streams.output():
                return _run(list(sys.argv[1:] if arguments is None else arguments))
        except BrokenPipeError:
            return READER_GONE
        except streams.OutputError as error:
            if error.reader_gone:
                return READER_GONE
            complain(str(error))
            return Exit.OUTPUT
        except (KeyboardInterrupt, click.Abort):
            return INTERRUPTED


def complain(message: str) -> None:
    """Print one line on standard error, with blanks for characters that are not printable."""
    words = "".join(char if char.isprintable() else " " for char in message)
    print(f"swiotlb-top: {words}", file=sys.stderr)


def _run(arguments: Sequence[str]) -> int:
    try:
        if asked := os.environ.get(COMPLETE):
            return _complete(asked)
        with swiotlb_top.make_context("swiotlb-top", list(arguments)) as context:
            return int(swiotlb_top.invoke(context) or Exit.OK)
    except SwiotlbTopError as error:
        complain(str(error))
        return error.exit_code
    except click.ClickException as error:
        asked = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "swiotlb-top"
        complain(f"{error.format_message().rstrip('.')}; {asked} --help says what there is")
        return Exit.USAGE
    except click.exceptions.Exit as end:
        return end.exit_code
    except (streams.OutputError, BrokenPipeError, click.Abort):
        raise
    except Exception as fault:
        complain(_own(fault))
        return Exit.FAULT


def _complete(asked: str) -> int:
    """Print completions of a command line, or the script with which a shell asks for them."""
    if shell_complete(swiotlb_top, {}, "swiotlb-top", COMPLETE, asked):
        complain(f"{COMPLETE} is {asked!r}, which no shell sets: for example, bash_source prints what bash needs")
        return Exit.USAGE
    return Exit.OK


def _own(fault: Exception) -> str:
    """The message for a fault of the tool itself, and where its traceback is or how to get it."""
    what = f"a fault in swiotlb-top itself, please report it: {type(fault).__name__}: {fault}"
    path = os.environ.get(TRACEBACK)
    if not path:
        return f"{what} ({TRACEBACK}=FILE keeps the traceback)"
    try:
        Path(path).write_text("".join(traceback.format_exception(fault)), errors="backslashreplace")
    except (OSError, ValueError) as error:
        return f"{what} (the traceback cannot be written to {path}: {error})"
    return f"{what} (the traceback is in {path})"
