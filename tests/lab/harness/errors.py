"""The ways in which the lab itself fails, as opposed to a command that ran and failed."""

from __future__ import annotations

from typing import Final


class LabUnavailableError(Exception):
    """This machine cannot run the lab, and why: a tool, a package or a kernel is missing. Tests skip on it."""

    exit_status: Final = 69
    """Of the commands of the lab and of the oracle; EX_UNAVAILABLE of sysexits.h."""


class LostVMError(Exception):
    """The guest ended, or had to be ended, without saying how its command ended.

    Carries what is needed for a diagnosis: the reason, and the tail of the kernel's console.
    """

    def __init__(self, reason: str, console_tail: str = "") -> None:
        self.reason = reason
        self.console_tail = console_tail
        super().__init__(f"{reason}\n--- end of the guest's console ---\n{console_tail}" if console_tail else reason)


class PanicError(LostVMError):
    """The guest's kernel panicked."""
