"""Every way to fail that a person can do something about, each with its exit code."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What the process's exit status says; the same for every command."""

    OK = 0
    DISAGREE = 1
    USAGE = 2
    CANNOT = 3
    UNREADABLE = 4
    INCONCLUSIVE = 5
    FAULT = 70
    """The tool itself failed; as sysexits.h has it."""
    OUTPUT = 74
    """Standard output cannot be written; as sysexits.h has it."""


class SwiotlbTopError(Exception):
    """One line for stderr: what is wrong and what to do about it."""

    exit_code: Exit = Exit.CANNOT


class CannotError(SwiotlbTopError):
    """This machine, kernel or privilege cannot do what was asked (exit 3).

    :param because: what stands in the way.
    :param next_step: what to do about it.
    """

    exit_code = Exit.CANNOT

    def __init__(self, because: str, next_step: str = "") -> None:
        super().__init__(f"{because}; {next_step}" if next_step else because)
        self.because = because
        self.next_step = next_step


class UnreadableError(SwiotlbTopError):
    """An input file cannot be read or believed (exit 4)."""

    exit_code = Exit.UNREADABLE


class UsageError(SwiotlbTopError):
    """The command line asks for something that is not there (exit 2)."""

    exit_code = Exit.USAGE
