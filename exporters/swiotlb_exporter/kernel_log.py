"""Samples of what the kernel's own log says of swiotlb; none where nobody looked, or where it cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from swiotlb_exporter.devices import OTHER, UNNAMED
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.kernel_log import Found
from swiotlb_top.kernel_log.tally import OTHER as OTHER_DEVICES

Label: TypeAlias = tuple[str, str, str]
"""Device, driver, cause."""


def failures(now: Snapshot) -> Iterator[tuple[Label, int]]:
    """Lines since the exporter began, each a failed map; 0 for who failed before only, so that the first is a rise."""
    if now.kernel_log and not now.kernel_log.unreadable:
        yield from (dict.fromkeys(_counts(now.kernel_log.before), 0) | _counts(now.kernel_log.since)).items()


def earlier_failures(now: Snapshot) -> Iterator[tuple[Label, int]]:
    """Those that were there when the exporter began."""
    if now.kernel_log and not now.kernel_log.unreadable:
        yield from _counts(now.kernel_log.before).items()


def not_printed(now: Snapshot) -> Iterator[tuple[tuple[()], int]]:
    """Lines since the exporter began that the kernel says it did not print."""
    if now.kernel_log and not now.kernel_log.unreadable:
        yield (), now.kernel_log.since.not_printed


def readable(now: Snapshot) -> Iterator[tuple[tuple[()], int]]:
    """Whether the log can be read; nothing of a recording, which has none."""
    if now.kernel_log:
        yield (), int(not now.kernel_log.unreadable)


def _counts(found: Found) -> dict[Label, int]:
    counts: dict[Label, int] = {}
    for group in found.groups:
        if group.cause.fails_maps:
            device = OTHER[0] if group.device == OTHER_DEVICES else group.device or UNNAMED
            label = (device, group.driver, group.cause.value)
            counts[label] = counts.get(label, 0) + group.lines
    return counts
