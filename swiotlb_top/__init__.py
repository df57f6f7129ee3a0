"""See what the kernel's bounce-buffer allocator is doing, and know that what you see is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from swiotlb_top.recording.opened import Recording

__version__ = "0.1.0"


def open(path: str | os.PathLike[str], revision: str | None = None) -> Recording:
    """Open a recording: its events, and tables of mappings, failures, pools, devices and slots (docs/recordings.md).

    :param revision: name of the revision to judge by, or None for its kernel's own.
    :raises swiotlb_top.errors.UnreadableError: it is no recording.
    """
    from swiotlb_top.recording.opened import Recording

    return Recording(path, revision)
