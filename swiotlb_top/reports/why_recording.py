"""What ``swiotlb-top why`` says of a recording: why maps failed, how it stood then, and what would have avoided it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from swiotlb_top.accounting.numbers import counted
from swiotlb_top.accounting.scene import HolderThen, PoolThen, Scene
from swiotlb_top.accounting.snapshot import DeviceView
from swiotlb_top.errors import Exit
from swiotlb_top.reports.avoided import Avoided, Change, Trial, avoided
from swiotlb_top.reports.refused import Kind, Refused, refused
from swiotlb_top.sizing.sized import How, Standing
from swiotlb_top.sizing.units import memory


@dataclass(frozen=True)
class WhyRecordingReport:
    """Why maps failed in a recording."""

    path: Path
    found: Refused
    avoided: Avoided | None
    """None where no map failed."""

    @property
    def exit_code(self) -> Exit:
        """1 where maps failed; 0 only where none did for certain; else 5, and 4 where it cannot be read to its end."""
        account = self.found.pipeline.account
        if self.found.damage:
            return Exit.UNREADABLE
        if account.map_failures:
            return Exit.DISAGREE
        return Exit.INCONCLUSIVE if account.lost or not account.events else Exit.OK

    # ---- for machines --------------------------------------------------

    def as_json(self) -> dict[str, object]:
        """An object a device and cause."""
        pipeline = self.found.pipeline
        return {
            "file": str(self.path),
            "kernel_release": pipeline.kernel.release,
            "revision": pipeline.judge.name,
            "maps": pipeline.account.maps,
            "failed_maps": pipeline.account.map_failures,
            "not_explained": self.found.unexplained,
            "lost": pipeline.account.lost,
            "damage": self.found.damage,
            "not_computed": self.avoided.because if self.avoided else "",
            "kinds": [self._kind_json(kind) for kind in self._kinds],
        }

    def _kind_json(self, kind: Kind) -> dict[str, object]:
        first = self.found.firsts.get(kind)
        return {
            **self._device_json(kind.dev),
            "cause": kind.cause.value,
            "failed_maps": self.found.counts[kind],
            "first": self._first_json(first) if first else None,
            "tried": [_trial_json(trial) for trial in self._trials(kind)],
        }

    def _first_json(self, first: Scene) -> dict[str, object]:
        return {
            "time_ns": first.time_ns,
            "after_seconds": round((first.time_ns - self.found.pipeline.begin_ns) / 1e9, 6),
            "cpu": first.cpu,
            "size_bytes": first.size_bytes,
            "needed_slots": first.explanation.needed_slots,
            "free_slots": first.free_slots,
            "longest_free_slots": first.explanation.longest_free_slots,
            "sentence": first.explanation.sentence,
            "largest_fitting_bytes": first.largest_fitting_bytes,
            "pools": [_pool_json(pool) for pool in first.pools],
            "holders": [
                {**self._device_json(holder.dev), "held_slots": holder.held_slots, "mappings": holder.mappings}
                for holder in first.holders
            ],
        }

    def _device_json(self, dev: int) -> dict[str, object]:
        view = self._view(dev)
        return {
            "device": view.name if view else None,
            "driver": view.driver if view else None,
            "known_as": (view.known_as or None) if view else None,
        }

    # ---- for people ------------------------------------------------------

    def as_text(self) -> str:
        """The upshot, then a block a device and cause; its lines are as long as they are."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        pipeline, found = self.found.pipeline, self.found
        account = pipeline.account
        yield f"{self.path}: kernel {pipeline.kernel.release}, judged as revision {pipeline.judge.name}"
        lost = f"; {counted(account.lost, 'event')} lost, among which there may be more" if account.lost else ""
        if not account.map_failures:
            yield f"no map failed, of {counted(account.maps, 'map')}{lost}"
        else:
            yield f"{counted(account.map_failures, 'map')} failed, and {found.succeeded:,} did not{lost}"
        if found.damage:
            yield "the recording cannot be read to its end, and this is what comes before"
        for kind in self._kinds:
            yield ""
            yield from self._block(kind)
        if found.unexplained:
            yield ""
            yield (
                f"not explained: {counted(found.unexplained, 'failed map')}; the reference does not fail them, or was "
                f"not asked: swiotlb-top replay {self.path} has its verdict"
            )
        if self.avoided and self._kinds:
            yield ""
            yield self._basis(self.avoided)

    def _basis(self, asked: Avoided) -> str:
        """What the answers to "what would have avoided it" stand on."""
        if asked.sized is None:
            return f"what would have avoided it was not computed: {asked.because}"
        return (
            "larger, areas and growth are held against all that was recorded, without headroom; what waited behind a "
            "map that failed was never asked for, so more may be needed: "
            f"swiotlb-top size {self.path} has every size, and what is assumed"
        )

    @property
    def _kinds(self) -> list[Kind]:
        """Those that are the most maps first."""
        return [kind for kind, _ in self.found.counts.most_common()]

    def _block(self, kind: Kind) -> Iterator[str]:
        yield f"{self._who(kind.dev)}: {kind.cause.value}, {counted(self.found.counts[kind], 'map')} failed"
        first = self.found.firsts.get(kind)
        if first:
            after_s = (first.time_ns - self.found.pipeline.begin_ns) / 1e9
            yield _labelled(
                "first", f"{first.size_bytes} bytes, {after_s:.3f} s into the recording, on CPU {first.cpu}"
            )
            yield _labelled("why", first.explanation.sentence)
            for pool in first.pools:
                yield _labelled("pool", pool.sentence)
            for holder in first.holders:
                yield _labelled("held", self._holder_words(holder))
        told = [*self._trials(kind)]
        if not kind.cause.is_of_room:
            yield "  what would have avoided it:"
            yield _labelled("larger", _NO_SIZE)
            return
        if told or first:
            yield "  what would have avoided it:"
        for trial in told:
            yield _labelled(_LABELS[trial.change], _trial_words(trial))
        if first:
            yield _labelled("smaller", first.smaller)

    def _trials(self, kind: Kind) -> list[Trial]:
        return list(self.avoided.trials(kind.dev)) if self.avoided and kind.cause.is_of_room else []

    def _view(self, dev: int) -> DeviceView | None:
        devices = self.found.pipeline.account.devices
        return devices[dev].view() if dev in devices else None

    def _who(self, dev: int) -> str:
        view = self._view(dev)
        if view is None:
            return "mapped before the recording" if not dev else "(unknown device)"
        name = f"{view.driver} {view.name or '(unknown device)'}".strip()
        return f"{name} ({view.known_as})" if view.known_as else name

    def _holder_words(self, holder: HolderThen) -> str:
        return f"{counted(holder.held_slots, 'slot')} in {counted(holder.mappings, 'mapping')}: {self._who(holder.dev)}"


def why_recording(path: Path) -> WhyRecordingReport:
    """Explain why maps failed in a recording.

    :raises UnreadableError: the file is no recording.
    :raises UsageError: it is partial.
    :raises CannotError: no revision is known for its kernel.
    """
    found = refused(path)
    release = found.pipeline.kernel.release
    return WhyRecordingReport(path, found, avoided(path, release) if found.pipeline.account.map_failures else None)


_NO_SIZE = "no, no size does: the device cannot use swiotlb's memory (swiotlb-top check says what helps)"
_LABELS = {Change.SIZE: "larger", Change.AREAS: "areas", Change.DYNAMIC: "growth"}


def _trial_words(trial: Trial) -> str:
    row = trial.row
    configuration = row.configuration
    kernel = " in a kernel that adds pools (CONFIG_SWIOTLB_DYNAMIC)" if trial.change is Change.DYNAMIC else ""
    which = f"{configuration.command_line} ({memory(configuration.memory_bytes)}){kernel}"
    return f"{which}: {_becomes(trial)}"


def _becomes(trial: Trial) -> str:
    """What becomes of the device's needs in a configuration."""
    row = trial.row
    if trial.avoids is None:
        return "it is not known whether its maps fail there"
    if not trial.avoids:
        by = "for certain" if row.how is How.BOUND else "when that is simulated"
        return f"no, maps fail {by}"
    if row.how is How.BOUND:
        return "yes, nothing that was recorded can fail there"
    grown = [
        counted(number, what)
        for number, what in ((row.pools_added or 0, "added pool"), (row.transient_pools or 0, "transient pool"))
        if number
    ]
    memory_told = f", if there is memory for {' and '.join(grown)}" if grown else ""
    others = "no map of this device" if row.standing is not Standing.HOLDS else "nothing"
    also = ", though others' do" if trial.alone else ""
    return f"yes, {others} fails when that is simulated{memory_told}{also}"


def _pool_json(pool: PoolThen) -> dict[str, object]:
    told = {name: value for name, value in pool._asdict().items() if name != "slots"}
    return {**told, "start": f"{pool.start:#x}"}


def _trial_json(trial: Trial) -> dict[str, object]:
    row = trial.row
    return {
        "change": trial.change.value,
        "command_line": row.configuration.command_line,
        "nslabs": row.configuration.nslabs,
        "areas": row.configuration.nareas,
        "dynamic": row.configuration.dynamic,
        "avoids": trial.avoids,
        "others_fail": trial.alone,
        "how": row.how.value,
        "pools_added": row.pools_added,
        "transient_pools": row.transient_pools,
    }


def _labelled(label: str, text: str) -> str:
    return f"  {label:11}  {text}"
