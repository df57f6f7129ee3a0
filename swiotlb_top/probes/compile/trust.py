"""Whom a file must belong to whose programs are loaded: they read the kernel's memory."""

from __future__ import annotations

import os
from typing import Final

_OTHERS_MAY_WRITE: Final = 0o022
_ROOT: Final = 0


def is_trusted(status: os.stat_result) -> bool:
    """Whether nobody but root and this user could have written a file."""
    return status.st_uid in (_ROOT, os.geteuid()) and not status.st_mode & _OTHERS_MAY_WRITE
