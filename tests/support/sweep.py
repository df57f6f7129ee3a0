"""A sound kernel is watched and judged, and so is the watching: how many operations, and what was wrong."""

from __future__ import annotations

from itertools import product
from typing import Final, NamedTuple

from swiotlb_top.accounting.account import Account
from swiotlb_top.allocator import REVISIONS
from swiotlb_top.events import Device
from swiotlb_top.pipeline import Pipeline
from tests.support.sound_kernel import SoundKernel
from tests.support.sound_kernel_settings import Asked, Setting

STEPS: Final = 150
SETTINGS: Final = [
    Setting(revision, *flags)
    for revision, flags in product(REVISIONS, product((False, True), repeat=6))
    if not (revision == "6.1" and flags[1])  # pools could not grow then
]


class Result(NamedTuple):
    """Of one kernel."""

    compared: int
    wrong: str
    """What it was blamed for, doubted or miscounted; empty if it was seen as it is."""
    asked: set[Asked]


def judged(setting: Setting, seed: int, steps: int = STEPS) -> Result:
    """A kernel that does so many things, after as many that nobody saw where it is watched late."""
    kernel = SoundKernel(setting, seed)
    for _ in range(steps if setting.late else 0):
        kernel.step()
    pipeline = Pipeline(kernel.info, setting.revision)
    devices = [event for event in kernel.events if isinstance(event, Device)]
    kernel.forget()
    pipeline.state(kernel.state())
    pipeline.feed(devices)
    for _ in range(steps):
        kernel.step()
    pipeline.feed(sorted(kernel.events, key=lambda event: event.exit_ns))
    pipeline.state(kernel.state())
    findings = pipeline.finish()
    wrong = [f"blamed: {findings.first}"] if findings.disagree or findings.safety_violations else []
    if not setting.late:  # then what was under way before may be in doubt
        wrong += [f"doubted: {findings.doubts}"] if findings.doubts else []
        wrong += [] if pipeline.account.sure else ["the account does not know how many slots are used"]
    counted, own = counts(pipeline.account, kernel)
    wrong += [f"miscounted: {counted}, not {own}"] if counted != own else []
    return Result(findings.compared, f"{setting}, seed {seed}: {'; '.join(wrong)}" if wrong else "", kernel.asked)


def counts(account: Account, kernel: SoundKernel) -> tuple[dict[str, int], dict[str, int]]:
    """What the account says it knows, and how it is."""
    swiotlb = kernel.swiotlb
    counted = {
        "maps": account.maps,
        "map_failures": account.map_failures,
        "unmaps": account.unmaps,
        "nslabs": account.nslabs,
    }
    own = {
        "maps": kernel.maps,
        "map_failures": kernel.failures,
        "unmaps": kernel.unmaps,
        "nslabs": swiotlb.nslabs,
    }
    if account.sure:
        counted |= {"used": account.used_slots, "transient": account.transient_slots}
        own["transient"] = swiotlb.transient_nslabs
        own["used"] = sum(pool.used_slots for pool in swiotlb.pools) + swiotlb.transient_nslabs
    return counted, own
