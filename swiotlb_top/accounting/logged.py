"""The kernel log of a snapshot, in the words of the screen, of JSON and of ``doctor``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from swiotlb_top.kernel_log.report import maps_failed, upshot, who
from swiotlb_top.kernel_log.tally import Found, Group
from swiotlb_top.kernel_log.watch import KernelLog

_MOST_IN_A_LINE: Final = 3


def failed(log: KernelLog) -> str:
    """A sentence on failed maps: how many, and the latest; empty if the log tells of none."""
    parts = [
        f"{maps_failed(found)} {when}"
        for found, when in ((log.before, "before this began to look"), (log.since, "since"))
        if found.failed_maps
    ]
    if not parts:
        return ""
    latest = _latest(log)
    return f"{' and '.join(parts)}, as the kernel's log has it; the last {_at(log, latest)}: {who(latest)}"


def lines(log: KernelLog) -> Iterator[str]:
    """One line for each device and cause."""
    for group in log.trouble:
        number = f"{'at least ' if group.at_least else ''}{group.lines}"
        what = "failed" if group.cause.fails_maps else "told"
        yield f"{who(group)}: {group.cause.value}, {number} {what}, the last {_at(log, group)}"


def other_trouble(log: KernelLog) -> str:
    """A sentence on trouble other than failed maps; empty if the log tells of none."""
    words = dict.fromkeys(group.cause.value for group in log.trouble if not group.cause.fails_maps)
    if log.not_printed and not log.trouble:
        return f"the kernel's log has {log.not_printed} lines of swiotlb's that were not printed"
    return f"the kernel's log tells of trouble ({', '.join(words)}): swiotlb-top why explains it" if words else ""


def in_a_line(log: KernelLog) -> str:
    """The whole log in one line, for ``doctor``."""
    if log.unreadable:
        return f"not known what failed before: {log.unreadable}"
    found = _both(log)
    told = [upshot(found) if found.groups or found.suppressed else "it tells of no failed map"]
    told += list(lines(log))[:_MOST_IN_A_LINE]
    told += [f"{len(log.trouble) - _MOST_IN_A_LINE} more"] if len(log.trouble) > _MOST_IN_A_LINE else []
    told += [f"not all of it could be read: {log.missing}"] if log.missing else []
    return "; ".join([*told, "swiotlb-top why explains it"] if log.trouble else told)


def as_json(log: KernelLog | None) -> dict[str, object] | None:
    """The log as JSON; None (null) for a recording, and for a source that does not read the log."""
    if log is None:
        return None
    unknown = bool(log.unreadable)
    return {
        "unreadable": log.unreadable or None,
        "missing": log.missing or None,
        "failed_maps_before": None if unknown else log.before.failed_maps,
        "failed_maps_since": None if unknown else log.since.failed_maps,
        "not_printed": None if unknown else log.not_printed,
        "groups": [
            {
                "device": group.device or None,
                "driver": group.driver or None,
                "cause": group.cause.value,
                "possible": [cause.value for cause in group.cause.possible],
                "lines": group.lines,
                "at_least": group.at_least,
                "since": since,
                "last_time": log.wall_s(group),
                "last_line": group.text,
            }
            for since, found in ((False, log.before), (True, log.since))
            for group in found.groups
        ],
    }


def _latest(log: KernelLog) -> Group:
    return max((group for group in log.trouble if group.cause.fails_maps), key=lambda group: group.last_seconds or 0.0)


def _at(log: KernelLog, group: Group) -> str:
    wall_s = log.wall_s(group)
    if wall_s is None:
        return f"at {group.last_when} of the kernel's clock" if group.last_when else "at an unknown time"
    then, now = time.localtime(wall_s), time.localtime()
    form = "%H:%M:%S" if then[:3] == now[:3] else "%Y-%m-%d %H:%M:%S"
    return f"at {time.strftime(form, then)}"


def _both(log: KernelLog) -> Found:
    return Found(
        (*log.before.groups, *log.since.groups),
        (*log.before.suppressed, *log.since.suppressed),
    )
