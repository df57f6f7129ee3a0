"""The page of one failed map: what was asked, why it got nothing, who had the slots, and the map of them then."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from swiotlb_top.accounting import numbers
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.scene import HolderThen, PoolThen, Scene
from swiotlb_top.accounting.snapshot import FailureView
from swiotlb_top.allocator import Cause
from swiotlb_top.tui import slot_map, styles
from swiotlb_top.tui.glyphs import Glyphs
from swiotlb_top.tui.hanging import Line, hanging, labelled
from swiotlb_top.tui.owners import Owners
from swiotlb_top.tui.view import View

_LABEL_WIDTH: Final = 10
_MOST_POOLS: Final = 8
_MAP_LINES: Final = 16
_TOO_SHORT: Final = frozenset({Cause.EXHAUSTED, Cause.FRAGMENTED})
_NOT_GROWN: Final = frozenset({Cause.CANNOT_GROW, Cause.GROW_FAILED})
"""Causes for which a longer run of free slots would do, if it is aligned; and those to which that may lead."""


def failure_page(frame: Frame, view: View, glyphs: Glyphs, width: int) -> list[Text]:
    """All that is known of the failure that was opened, as it was then."""
    failure = view.failure
    if failure is None:
        return []
    title = f"{glyphs.pointer} FAILURE of {glyphs.text(failure.device)} (Esc goes back, Up and Down scroll) "
    lines = [Text.assemble((title, styles.LABEL), (glyphs.rule * max(0, width - len(title)), styles.DIM))]
    if failure.scene is None:
        return [*lines, *hanging(_without_scene(frame, failure, glyphs), width, _LABEL_WIDTH)]
    owners = Owners(frame.now.devices)
    return [
        *lines,
        *hanging(_told(frame, failure, failure.scene, owners, glyphs), width, _LABEL_WIDTH),
        *_maps(failure.scene, owners, glyphs, width),
    ]


def _told(frame: Frame, failure: FailureView, scene: Scene, owners: Owners, glyphs: Glyphs) -> list[Line]:
    why = scene.explanation
    asked = f"{scene.size_bytes:,} bytes: {numbers.counted(why.needed_slots, 'slot')} in one run"
    free = f"{numbers.counted(scene.free_slots, 'slot')} in all, the longest run {why.longest_free_slots}"
    return [
        labelled("when", f"{_when(frame, scene.time_ns)} on CPU {scene.cpu}{_latest(frame, failure, scene)}"),
        labelled("asked", asked),
        labelled("why", glyphs.text(f"{why.cause.value}: {why.sentence}")),
        labelled("free", free),
        *(labelled("" if at else "held", *_holder(holder, owners, glyphs)) for at, holder in enumerate(scene.holders)),
        *_short_by(scene),
        *_what_helps(frame, scene),
    ]


def _what_helps(frame: Frame, scene: Scene) -> list[Line]:
    if not scene.explanation.cause.is_of_room:
        return [labelled("larger", "no size of swiotlb= helps: the device cannot use what was found")]
    return [
        labelled("smaller", scene.smaller),
        labelled("larger", _LARGER_HERE if frame.now.playback else _LARGER_LIVE),
    ]


_LARGER_HERE: Final = "S says which swiotlb= is enough for all of this recording"
_LARGER_LIVE: Final = (
    "swiotlb-top record -o FILE while it happens; then swiotlb-top size FILE says which swiotlb= is enough"
)


def _without_scene(frame: Frame, failure: FailureView, glyphs: Glyphs) -> list[Line]:
    not_known = {
        "agrees": "the slots are kept of the latest failures, and of those that are alike once a second",
        "disagrees": "the reference finds slots for this map: n goes to the disagreements of a recording",
        "not asked": "the reference was not asked, or not yet",
    }[failure.reference]
    return [
        labelled("when", f"{_when(frame, failure.time_ns)} on CPU {failure.cpu}{_alike(failure)}"),
        labelled("asked", f"{failure.size_bytes:,} bytes: {numbers.counted(failure.needed_slots, 'slot')} in one run"),
        *([labelled("why", glyphs.text(failure.sentence))] if failure.sentence else []),
        labelled("not known", f"how it stood then: {not_known}"),
    ]


def _when(frame: Frame, time_ns: int) -> str:
    now = frame.now
    if now.playback is None:
        return f"{numbers.age(now.time_ns - time_ns)} ago"
    return f"{(now.playback.position_ns - (now.time_ns - time_ns)) / 1e9:.6f} s into the recording"


def _alike(failure: FailureView) -> str:
    return f", one of {failure.times:,} in a row that failed alike" if failure.times > 1 else ""


def _latest(frame: Frame, failure: FailureView, scene: Scene) -> str:
    if failure.time_ns == scene.time_ns:
        return _alike(failure)
    in_a_row = f", {failure.times:,} in a row" if failure.times > 1 else ""
    return f"; the latest that failed alike: {_when(frame, failure.time_ns)}{in_a_row}"


def _holder(holder: HolderThen, owners: Owners, glyphs: Glyphs) -> tuple[Text, str]:
    owner = owners.of(holder.dev)
    held = f"{numbers.counted(holder.held_slots, 'slot')} in {numbers.counted(holder.mappings, 'mapping')}"
    return owner.badge, f" {glyphs.text(owner.name)}: {held}"


def _short_by(scene: Scene) -> list[Line]:
    """How much longer the longest run would have to be, where that is the reason."""
    why = scene.explanation
    more = why.needed_slots - why.longest_free_slots
    if why.pools_cause not in _TOO_SHORT or why.cause not in _TOO_SHORT | _NOT_GROWN or more <= 0:
        return []
    return [labelled("short by", f"{numbers.counted(more, 'slot')}: the longest run has {why.longest_free_slots}")]


def _maps(scene: Scene, owners: Owners, glyphs: Glyphs, width: int) -> list[Text]:
    lines = []
    for pool in scene.pools[:_MOST_POOLS]:
        lines += [
            Text(),
            Text(f"{glyphs.rule} {pool.sentence}", style=styles.LABEL),
            *_map(pool, owners, glyphs, width),
        ]
    if left := len(scene.pools) - _MOST_POOLS:
        lines += [Text(f"{glyphs.ellipsis} {numbers.counted(left, 'more pool')}", style=styles.DIM)] if left > 0 else []
    return lines


def _map(pool: PoolThen, owners: Owners, glyphs: Glyphs, width: int) -> list[Text]:
    return slot_map.told(pool.slots, owners, glyphs, width, _MAP_LINES)
