"""The pages that take the panels' place: all that is known of one device, all findings, and the help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise, zip_longest
from typing import Any, Final, NamedTuple, TypeVar

from rich.text import Text

from swiotlb_top.accounting import fields, numbers, reach
from swiotlb_top.accounting.bounces import because, questions
from swiotlb_top.accounting.fields import Field, Unit
from swiotlb_top.accounting.finding import Finding
from swiotlb_top.accounting.frame import HISTORY, Frame
from swiotlb_top.accounting.headline import open_questions
from swiotlb_top.accounting.past import DevicePast
from swiotlb_top.accounting.snapshot import HOLD_BUCKETS_NS, LATENCY_BUCKETS_NS, DeviceView
from swiotlb_top.accounting.words import SECTIONS
from swiotlb_top.constants import SIZE_BUCKETS_SLOTS
from swiotlb_top.tui import charts, styles, tables
from swiotlb_top.tui.glyphs import Glyphs
from swiotlb_top.tui.hanging import folded, hanging, labelled
from swiotlb_top.tui.keys import KEYS, PLAY_KEYS
from swiotlb_top.tui.view import View

_T = TypeVar("_T")

_LABEL_WIDTH: Final = 14
_WORD_WIDTH: Final = 17
_BAR_CELLS: Final = 40
_LEAST_BLOCK: Final = 38
_BLOCK_GAP: Final = 2
"""Columns of a block of bars beside others, and between two."""
_NOTHING_TO_SIZE: Final = (
    "Only a recording has each call, and so tells how large swiotlb must be. Make one while devices are busy, and "
    "press S where it is shown:",
    "",
    "  swiotlb-top record -o disk.swtrace --duration 60",
    "  swiotlb-top --trace disk.swtrace",
    "",
    "Or in one step, without keeping the recording:",
    "",
    "  swiotlb-top size --live --duration 60",
)
_TERMS: Final = "docs/glossary.md explains each in two sentences."
_HELP_TABLES: Final[tuple[tuple[str, Sequence[Field[Any]]], ...]] = (
    ("ABOVE", fields.TOTALS),
    ("DEVICES", fields.DEVICES),
    ("POOLS", fields.POOLS),
    ("FAILURES", fields.FAILURES),
)


def device_page(frame: Frame, view: View, glyphs: Glyphs, width: int) -> list[Text]:
    """The rates of the selected device as they went, its numbers, bars of them, why it bounces, and its limits."""
    device = next((d for d in frame.now.devices if d.dev == view.selected.get("devices")), None)
    if device is None:
        return [Text("this device is gone; Esc goes back", style=styles.DIM)]
    more = ", ".join(glyphs.text(word) for word in (device.driver, device.known_as) if word)
    told = [*_bounces(device, width), *_limits(device, width), *_askers(device, glyphs, width)]
    return [
        _rule(f"{glyphs.pointer} DEVICE {glyphs.text(device.name)}{f' ({more})' if more else ''}", glyphs, width),
        *_past_of(frame, device, glyphs, width),
        *_numbers_of(frame, device, width),
        *_all_bars(device, glyphs, width),
        *told,
        *_latest(frame, device, glyphs, width),
    ]


class _Charted(NamedTuple):
    """A field that is shown as it went."""

    field: Field[DeviceView]
    past: Callable[[Frame, int], Sequence[float]]
    """Frame and ``struct device *`` in, the latest values out, the newest last."""
    style: str = ""


def _rates(total: Callable[[DevicePast], int]) -> Callable[[Frame, int], Sequence[float]]:
    return lambda frame, dev: frame.past(lambda then: total(then.device(dev)))


_CHARTED: Final = tuple(
    _Charted(tables.DEVICES.field(name), past, style)
    for name, past, style in (
        ("maps_per_second", _rates(lambda found: found.maps), ""),
        ("map_failures_per_second", _rates(lambda found: found.map_failures), styles.FILL_BAD),
        ("mapped_bytes_per_second", _rates(lambda found: found.mapped_bytes), ""),
        ("held_slots", lambda frame, dev: frame.levels(lambda then: then.device(dev).held_slots), ""),
    )
)


def _past_of(frame: Frame, device: DeviceView, glyphs: Glyphs, width: int) -> list[Text]:
    cells = max(0, min(HISTORY, width - _LABEL_WIDTH - 12))
    lines = []
    for field, past, style in _CHARTED:
        value = field.value(frame, device)
        values = past(frame, device.dev) if value is not None else ()
        went = charts.sparkline(values, min(cells, len(values)), glyphs, style)
        shown = numbers.shown(value, field.unit)
        lines.append(Text.assemble((field.title.ljust(_LABEL_WIDTH), styles.LABEL), f"{shown:>8}   ", went))
    return lines


def _numbers_of(frame: Frame, device: DeviceView, width: int) -> list[Text]:
    """The other fields, as many beside each other as fit; the help has what they mean."""
    charted = [charted.field for charted in _CHARTED]
    cells = []
    for field in fields.DEVICES:
        value = field.value(frame, device)
        if field.unit in (Unit.WORDS, Unit.HISTOGRAM) or field in charted:
            continue
        if value is not None or field.rank < fields.RARE:
            shown = numbers.shown(value, field.unit)
            cells.append(Text.assemble((field.title.ljust(_LABEL_WIDTH), styles.LABEL), f"{shown:>8}   "))
    across = max(width // (_LABEL_WIDTH + 11), 1)
    return [Text().join(cells[at : at + across]) for at in range(0, len(cells), across)]


def _all_bars(device: DeviceView, glyphs: Glyphs, width: int) -> list[Text]:
    """Causes, sizes, latencies and hold times, a block each, beside each other where that leaves each enough room."""
    blocks = [
        ("causes of its failed maps", [(cause.value, count) for cause, count in device.causes]),
        ("maps by the slots they ask for", _sizes(device)),
        ("maps by how long they took", _durations(device.latencies, LATENCY_BUCKETS_NS)),
        ("mappings by how long they were held", _durations(device.holds, HOLD_BUCKETS_NS)),
    ]
    there = [(title, counted) for title, counted in blocks if counted]
    lines: list[Text] = []
    for across in _spread(there, (width + _BLOCK_GAP) // (_LEAST_BLOCK + _BLOCK_GAP)):
        each = (width - _BLOCK_GAP * (len(across) - 1)) // len(across)
        lines += _side_by_side([_bars(title, counted, glyphs, each) for title, counted in across], each)
    return lines


def _spread(blocks: Sequence[_T], most: int) -> list[Sequence[_T]]:
    """Blocks in as few rows as there can be, at most so many in one, and in all about as many."""
    rows = -(-len(blocks) // max(most, 1))
    ends = [len(blocks) * row // rows for row in range(rows + 1)] if rows else []
    return [blocks[begin:end] for begin, end in pairwise(ends)]


def _side_by_side(blocks: list[list[Text]], each: int) -> list[Text]:
    lines = []
    for row in zip_longest(*blocks, fillvalue=Text()):
        line = Text()
        for at, piece in enumerate(row):
            line.append_text(piece)
            line.pad_right((at + 1) * each + at * _BLOCK_GAP - len(line.plain) + (_BLOCK_GAP if row[at + 1 :] else 0))
        line.rstrip()
        lines.append(line)
    return lines


def _bounces(device: DeviceView, width: int) -> list[Text]:
    known = [labelled(reason.reason.value, reason.sentence) for reason in because(device.evidence)]
    unknown = [labelled("not known", f"{one.what}: {one.command}") for one in questions(device.evidence)]
    lines = [*known, *unknown] or [labelled("not known", "nothing that is recorded tells")]
    return [Text(), Text("why its mappings bounce", style=styles.LABEL), *hanging(lines, width, _LABEL_WIDTH)]


def _limits(device: DeviceView, width: int) -> list[Text]:
    limits = device.evidence.limits
    if limits is None:
        return []
    lines = [labelled(name, words) for name, words in reach.in_words(limits)]
    return [Text(), Text("its limits", style=styles.LABEL), *hanging(lines, width, _LABEL_WIDTH)]


def _askers(device: DeviceView, glyphs: Glyphs, width: int) -> list[Text]:
    """Each way through the kernel, from the function that asked for the mapping outwards."""
    lines = [
        labelled(numbers.short(asker.failures), glyphs.text(" < ".join(asker.functions) or "the kernel did not tell"))
        for asker in device.askers
    ]
    return (
        [Text(), Text("who asked for its failed maps", style=styles.LABEL), *hanging(lines, width, _LABEL_WIDTH)]
        if lines
        else []
    )


def _sizes(device: DeviceView) -> list[tuple[str, int]]:
    if not any(device.sizes):
        return []
    bounds = [*(str(bound) if bound < 3 else f"up to {bound}" for bound in SIZE_BUCKETS_SLOTS), "more"]
    named = list(zip(bounds, device.sizes, strict=True))
    return named if device.sizes[-1] else named[:-1]


def _durations(counts: Sequence[int], bounds_ns: Sequence[int]) -> list[tuple[str, int]]:
    """From the shortest bucket that has any to the longest."""
    bounds = [*(f"up to {numbers.duration(bound_ns)}" for bound_ns in bounds_ns), "longer"]
    there = [at for at, counted in enumerate(counts) if counted]
    return list(zip(bounds, counts, strict=True))[there[0] : there[-1] + 1] if there else []


def _bars(title: str, counted: Sequence[tuple[str, int]], glyphs: Glyphs, width: int) -> list[Text]:
    if not counted:
        return []
    most = max(count for _, count in counted)
    cells = max(0, min(_BAR_CELLS, width - _LABEL_WIDTH - 12))
    lines = [Text(), Text(title, style=styles.LABEL)]
    for word, count in counted:
        name = glyphs.text(word).ljust(_LABEL_WIDTH)
        lines.append(Text(f"{name}{numbers.short(count):>8}   {charts.bar(count, most, cells, glyphs)}"))
    return lines


def _latest(frame: Frame, device: DeviceView, glyphs: Glyphs, width: int) -> list[Text]:
    own = [failure for failure in frame.now.failures if failure.dev == device.dev]
    if not own:
        return []
    return [Text(), *tables.columns(tables.FAILURES, frame, own, glyphs, width, None)]


def findings_page(frame: Frame, glyphs: Glyphs, width: int) -> list[Text]:
    """Each finding with the numbers that show it and what helps; then what is not known that could be one."""
    return [_rule(f"{glyphs.pointer} FINDINGS {len(frame.findings)} (Esc goes back)", glyphs, width)] + (
        findings_in_full(frame, glyphs, width)
        or [Text("nothing that is wrong was found in what was watched", style=styles.DIM)]
    )


def findings_in_full(frame: Frame, glyphs: Glyphs, width: int) -> list[Text]:
    """The findings, a block each, and what is not known that could be one; empty where there is neither."""
    blocks = [
        [
            labelled(finding.kind.value, finding.meaning),
            *(labelled("", glyphs.text(said)) for said in _told(finding)),
            *(labelled("helps" if not at else "", advice) for at, advice in enumerate(finding.advice)),
        ]
        for finding in frame.findings
    ]
    unknown = [labelled("" if at else "unknown", glyphs.text(said)) for at, said in enumerate(open_questions(frame))]
    lines: list[Text] = []
    for block in [*blocks, *([unknown] if unknown else [])]:
        lines += [*([Text()] if lines else []), *hanging(block, width, _LABEL_WIDTH)]
    return lines


def _told(finding: Finding) -> list[str]:
    """Its sentence, and the evidence that this does not have already."""
    return [finding.sentence, *(said for said in finding.evidence if said != finding.claim)]


def size_page(frame: Frame, view: View, glyphs: Glyphs, width: int) -> list[Text]:
    """How large swiotlb must be, from the answer on, as far as it is known; of a kernel that runs, how to learn it."""
    title = _rule(f"{glyphs.pointer} SIZE (Esc goes back, Up and Down scroll)", glyphs, width)
    if frame.now.playback is None:
        return [title, *(Text(piece) for line in _NOTHING_TO_SIZE for piece in folded(line, width))]
    if not view.sized:
        return [title, Text("computing how large swiotlb must be for this recording; keys work meanwhile")]
    return [title, *(Text(glyphs.text(piece)) for line in view.sized for piece in folded(line, width))]


def help_page(frame: Frame, glyphs: Glyphs, width: int) -> list[Text]:
    """The keys, then every field with its meaning and its origin."""
    lines = [_rule(f"{glyphs.pointer} KEYS (Esc goes back, Up and Down scroll)", glyphs, width)]
    offered = (*KEYS, *PLAY_KEYS) if frame.now.playback else KEYS
    lines += hanging([labelled(key.shown, key.help) for key in offered], width, _LABEL_WIDTH)
    lines += [Text(), *hanging([labelled("terms", _TERMS)], width, _LABEL_WIDTH)]
    for name, words in SECTIONS:
        lines += [Text(), _rule(f"{glyphs.rule} {name.upper()}", glyphs, width)]
        lines += hanging([labelled(word, meaning) for word, meaning in words.items()], width, _WORD_WIDTH)
    for name, table in _HELP_TABLES:
        lines += [Text(), _rule(f"{glyphs.rule} {name}", glyphs, width)]
        explained = (labelled(f.title, f.help, (f" ({f.unit.value}; {f.origin.value})", styles.DIM)) for f in table)
        lines += hanging(list(explained), width, _LABEL_WIDTH)
    return lines


def _rule(words: str, glyphs: Glyphs, width: int) -> Text:
    return Text.assemble((f"{words} ", styles.LABEL), (glyphs.rule * max(0, width - len(words) - 1), styles.DIM))
