"""How it stands, in one word and one sentence: the worst of all that a frame knows.

The screen, plain frames, JSON and the exit status all say what :func:`headline` says. ``well`` is a claim: it is made
only where everything is known that would change it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from swiotlb_top.accounting import logged, numbers
from swiotlb_top.accounting.finding import Kind
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import DeviceView, Snapshot
from swiotlb_top.errors import Exit

NEARLY_FULL_PERCENT: Final = 90
"""From this share of the slots on, the pools are nearly full."""


class Level(Enum):
    """The word of a headline. What it means is in :data:`MEANINGS`."""

    UNSAFE = "UNSAFE"
    DISAGREE = "DISAGREE"
    FAILING = "FAILING"
    NEARLY_FULL = "nearfull"
    FAILED = "failed"
    TROUBLE = "trouble"
    UNCLEAR = "unclear"
    DEMO = "demo"
    SLOW = "slow"
    WELL = "well"


MEANINGS: Final = {
    Level.UNSAFE: "The kernel did harm. It gave a slot to two mappings, for one, or one that the device cannot use.",
    Level.DISAGREE: "The kernel did something else than the reference would have done.",
    Level.FAILING: "Maps fail now: which device's, and how many a second.",
    Level.NEARLY_FULL: f"At least {NEARLY_FULL_PERCENT} % of all slots are in use, or were at some time.",
    Level.FAILED: "Maps failed while this was watching, or before, as the kernel's log has it. None fails now.",
    Level.TROUBLE: "No map has failed, but something is found that makes maps fail sooner or later.",
    Level.UNCLEAR: "Nothing bad is known, but something is not known that could be bad.",
    Level.DEMO: "Nothing bad is in the recording that is shown as a demonstration. Of this machine it says nothing.",
    Level.SLOW: "No map has failed, but something is found that makes maps slow.",
    Level.WELL: "No map failed, there is room, and nothing that was compared differed from the reference.",
}
"""What each word means, the worst first."""

_TROUBLE: Final = (Level.UNSAFE, Level.DISAGREE, Level.FAILING, Level.NEARLY_FULL, Level.FAILED, Level.TROUBLE)


@dataclass(frozen=True, slots=True)
class Headline:
    """How it stands."""

    level: Level
    sentence: str
    """What makes it so, without the word. It may hold names of devices as the kernel gave them."""
    device: DeviceView | None = None
    """The device whose maps fail; the worst where there are several."""
    unknown: tuple[str, ...] = ()
    """What is not known that could be worse than this, a sentence each."""

    @property
    def exit_status(self) -> Exit:
        """What a program that showed this as its last frame exits with."""
        if self.level in _TROUBLE:
            return Exit.DISAGREE
        return Exit.OK if self.level in (Level.SLOW, Level.WELL) else Exit.INCONCLUSIVE


def headline(frame: Frame) -> Headline:
    """The worst of all that is known; ``well`` only where nothing is found, and nothing unknown that could be worse."""
    unknown = tuple(open_questions(frame))
    for kind in _KINDS:
        found = kind(frame)
        if found is not None:
            level, sentence, device = found
            return Headline(level, sentence, device, unknown)
    if unknown:
        first, *others = unknown
        return Headline(Level.UNCLEAR, first, unknown=tuple(others))
    if frame.now.demo:
        return Headline(Level.DEMO, "no map has failed in this recording; of this machine it says nothing")
    if frame.findings:
        return Headline(Level.SLOW, frame.findings[0].meaning.rstrip("."))
    return Headline(Level.WELL, _well(frame.now))


_Told = tuple[Level, str, DeviceView | None]


def _unsafe(frame: Frame) -> _Told | None:
    found = frame.now.verdict
    if found is None or not found.safety_violations:
        return None
    harm = numbers.counted(found.safety_violations, "safety violation")
    return Level.UNSAFE, f"{harm} in {numbers.counted(found.compared, 'operation')} compared", None


def _disagree(frame: Frame) -> _Told | None:
    found = frame.now.verdict
    if found is None or not found.disagree:
        return None
    compared = numbers.counted(found.compared, "operation")
    return Level.DISAGREE, f"kernel and reference disagree on {numbers.count(found.disagree)} of {compared}", None


def _failing(frame: Frame) -> _Told | None:
    total = frame.rate(lambda snapshot: snapshot.map_failures)
    if not total:
        return None
    rates = [(rate, d) for d in frame.now.devices if (rate := frame.device_rate(d, lambda device: device.map_failures))]
    if not rates:
        return Level.FAILING, f"unknown device: {numbers.rate(total)} failed maps/s", None
    rate, worst = min(rates, key=lambda found: (-found[0], -found[1].map_failures, found[1].name))
    return Level.FAILING, f"{_who(worst)}: {numbers.rate(rate)} failed maps/s{_others(len(rates) - 1)}", worst


def _nearly_full(frame: Frame) -> _Told | None:
    now = frame.now
    if not _is_nearly_full(now.used_slots, now.all_slots):
        return None
    return Level.NEARLY_FULL, f"{_share(now.used_slots, now.all_slots)} are in use", None


def _failed(frame: Frame) -> _Told | None:
    now = frame.now
    if now.map_failures <= 0:
        return None
    failed = [device for device in now.devices if device.map_failures]
    if not failed:
        return Level.FAILED, f"unknown device: {_failures(now.map_failures)} {_in_the_time(now)}", None
    worst = min(failed, key=lambda device: (-device.map_failures, device.name))
    sentence = f"{_who(worst)}: {_failures(worst.map_failures)} {_in_the_time(now)}{_others(len(failed) - 1)}"
    return Level.FAILED, sentence, worst


def _failed_by_the_log(frame: Frame) -> _Told | None:
    log = frame.now.kernel_log
    sentence = logged.failed(log) if log else ""
    return (Level.FAILED, sentence, None) if sentence else None


def _was_nearly_full(frame: Frame) -> _Told | None:
    now = frame.now
    if not _is_nearly_full(now.used_hiwater_slots, now.nslabs):
        return None
    if now.used_hiwater_slots > now.nslabs:
        peak, there_are = numbers.count(now.used_hiwater_slots), numbers.count(now.nslabs)
        return Level.NEARLY_FULL, f"{peak} slots were in use at the peak, more than the {there_are} of the pools", None
    return Level.NEARLY_FULL, f"{_share(now.used_hiwater_slots, now.nslabs)} were in use at the peak", None


def _trouble(frame: Frame) -> _Told | None:
    """What only all frames together show; all else has its own word."""
    found = next((finding for finding in frame.findings if finding.kind.is_trouble), None)
    if found is None:
        return None
    if found.kind is Kind.NEARLY_FULL:
        return Level.NEARLY_FULL, found.claim, None
    return Level.TROUBLE, found.meaning.rstrip("."), None


_KINDS: Final[tuple[Callable[[Frame], _Told | None], ...]] = (
    _unsafe,
    _disagree,
    _failing,
    _nearly_full,
    _failed,
    _failed_by_the_log,
    _was_nearly_full,
    _trouble,
)
"""What can be bad, the worst first."""


def open_questions(frame: Frame) -> Iterator[str]:
    """What is not known, and would make another headline if it were known and bad: a sentence each."""
    now = frame.now
    if frame.failure:
        yield f"the source cannot be read now: {frame.failure}"
    if now.unseen:
        yield f"failed maps are not seen: {now.unseen}"
    elif now.map_failures < 0:
        yield "failed maps are not counted"
    elif not frame.elapsed_ns or now.watched_ns <= 0:
        yield "nothing has been watched yet, so no failed map can have been seen"
    if now.nslabs <= 0 or now.used_slots < 0:
        yield "how full the pools are is not known"
    if now.uncounted:
        yield f"{numbers.counted(now.uncounted, 'call')} went uncounted: failed maps may be among them"
    if now.playback and now.playback.damage:
        yield f"the recording goes on, and cannot be read: {now.playback.damage}"
    if now.kernel_log and (trouble := logged.other_trouble(now.kernel_log)):
        yield trouble
    yield from _unjudged(now)


def _unjudged(now: Snapshot) -> Iterator[str]:
    """Why a disagreement may have gone unnoticed in what was to be compared.

    What a sample leaves out is never known, and is no reason: the verdict says that it is a sample.
    """
    found = now.verdict
    if found is None:
        if not now.unseen:
            yield "nothing is compared with the reference"
    elif found.inconclusive:
        yield f"nobody can tell whether the kernel was right in {numbers.counted(found.inconclusive, 'operation')}"
    elif not found.agree and not now.sampled and now.maps + now.unmaps + now.map_failures > 0:
        yield "none of the operations was compared with the reference"


def _well(now: Snapshot) -> str:
    found = now.verdict
    agree = f"; {numbers.counted(found.agree, 'operation')} compared, all agree" if found and found.agree else ""
    return f"no map has failed {_in_the_time(now)}{agree}"


def _in_the_time(now: Snapshot) -> str:
    watched = numbers.age(now.watched_ns)
    return f"in the first {watched} of the recording" if now.playback else f"in the {watched} watched"


def _is_nearly_full(slots: int, nslabs: int) -> bool:
    return nslabs > 0 and slots * 100 >= nslabs * NEARLY_FULL_PERCENT


def _share(slots: int, nslabs: int) -> str:
    return f"{numbers.percent(slots, nslabs)}% of all slots ({numbers.count(slots)} of {numbers.count(nslabs)})"


def _who(device: DeviceView) -> str:
    more = ", ".join(word for word in (device.driver, device.known_as) if word)
    return f"{device.name or '(unknown device)'}{f' ({more})' if more else ''}"


def _others(number: int) -> str:
    return f"; {number} more device{'s' if number > 1 else ''}" if number else ""


def _failures(number: int) -> str:
    return f"{numbers.counted(number, 'map')} failed"
