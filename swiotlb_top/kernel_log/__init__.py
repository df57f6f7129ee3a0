"""What the kernel's log says of swiotlb: its own lines, read, counted and explained.

The kernel says "full" of every refusal. Here is what such a line tells all the same, and what it does not.
"""

from __future__ import annotations

from swiotlb_top.kernel_log.causes import LogCause
from swiotlb_top.kernel_log.lines import Line, read
from swiotlb_top.kernel_log.tally import Found, Group, Tally

__all__ = ["Found", "Group", "Line", "LogCause", "Tally", "read"]
