"""The kernel's answers beside the reference's: the first that differs, and as few commands as show it."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from swiotlb_top.allocator import Revision
from tests.oracle.compiled import Compiled
from tests.oracle.operations import OPERATIONS, Mode, Scenario
from tests.oracle.reference import Reference

OPERATIONS_A_SCENARIO = 1000
SCENARIOS_A_BATCH = 20
_STAGE = ("track", "init", "restricted", "dev")
"""Commands that make the machine: none of them is left out."""
_LONGEST_S = 300.0
_SHOWN = 60
"""Commands of a report, at most."""


@dataclass(slots=True)
class Counts:
    """What was compared."""

    operations: int = 0
    """Maps, unmaps, pages handed out and pages taken back."""
    maps: int = 0
    failed: int = 0
    hung: int = 0
    transient: int = 0
    pools_added: int = 0
    pools_looked_at: int = 0
    by_command: Counter[str] = field(default_factory=Counter)

    def add(self, commands: Sequence[str], answers: Sequence[str]) -> None:
        for command, answer in zip(commands, answers, strict=True):
            name = command.partition(" ")[0]
            self.by_command[name] += 1
            if name == "map":
                self.maps += 1
                self.failed += answer.startswith("fail")
                self.hung += answer == "hang"
                self.transient += answer.split()[-2] == "1" if answer[0] not in "fh" else 0
            elif name in ("sum", "transient"):
                self.pools_looked_at += answer.count("/") // 2
        self.pools_added = self.by_command["work"]
        self.operations = sum(self.by_command[name] for name in OPERATIONS)

    def __str__(self) -> str:
        return (
            f"{self.operations:,} operations: {self.maps:,} maps, {self.failed:,} failed, {self.hung:,} that never end,"
            f" {self.transient:,} transient pools, {self.pools_added:,} runs of the growth worker,"
            f" {self.pools_looked_at:,} looks at every slot of a pool"
        )


class DisagreementError(AssertionError):
    """The kernel's C and the reference differ; the message has the commands that show it."""


def compare(
    kernel: Compiled, revision: Revision, mode: Mode, *, operations: int, seed: int, minimise: bool = True
) -> Counts:
    """Do at least so many operations with both. A seed gives the same operations, whatever their number.

    :param minimise: look for the fewest commands that show a difference, which takes seconds; else all are told.
    :raises DisagreementError: they differ.
    """
    counts = Counts()
    played = 0
    while counts.operations < operations:
        # Most faults show at once: batches begin small.
        wanted = -(-(operations - counts.operations) // OPERATIONS_A_SCENARIO)
        seeds = [(seed << 32) + played + number for number in range(min(wanted, 2 * played + 1, SCENARIOS_A_BATCH))]
        scenarios = [Scenario(own_seed, revision, mode, OPERATIONS_A_SCENARIO) for own_seed in seeds]
        played += len(scenarios)
        commands = [command for scenario in scenarios for command in scenario.commands]
        answers = [answer for scenario in scenarios for answer in scenario.answers]
        if ask(kernel, commands) != answers:
            _explain(kernel, revision, mode, seed, scenarios, minimise)
        counts.add(commands, answers)
    return counts


def ask(kernel: Compiled, commands: Sequence[str]) -> list[str]:
    """The kernel's answers; fewer than commands where it went down, with the reason as the last."""
    done = subprocess.run(
        [str(kernel.driver)],
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST_S,
    )
    answers = done.stdout.splitlines()
    if done.returncode:
        complaint = done.stderr.strip().splitlines()
        answers.append(f"ended with {done.returncode}: {complaint[0] if complaint else 'no complaint'}")
    return answers


def _first_difference(answers: Sequence[str], kernels: Sequence[str]) -> int | None:
    for at, (answer, kernels_answer) in enumerate(zip(answers, kernels, strict=False)):
        if answer != kernels_answer:
            return at
    return None if len(answers) == len(kernels) else min(len(answers), len(kernels))


# ---- as few commands as show it ----


@dataclass(frozen=True, slots=True)
class _Step:
    """A command, and of what is given back: the step that took it."""

    command: str
    taken_by: int = -1


def _explain(
    kernel: Compiled, revision: Revision, mode: Mode, seed: int, scenarios: Sequence[Scenario], minimise: bool
) -> None:
    """Raise DisagreementError with the commands that show it."""
    for scenario in scenarios:
        at = _first_difference(scenario.answers, ask(kernel, scenario.commands))
        if at is not None:
            steps = _steps(scenario.commands[: at + 1], scenario.answers)
            raise DisagreementError(
                f"{kernel.release} {mode.name}, seed {seed}: the reference ({revision.name}) differs from the kernel\n"
                + _report(kernel, revision, steps, _fewest(kernel, revision, steps) if minimise else range(at + 1))
            )
    raise DisagreementError(f"{kernel.release} {mode.name}, seed {seed}: differs in a batch, in no scenario of it")


def _steps(commands: Sequence[str], answers: Sequence[str]) -> list[_Step]:
    taken: dict[tuple[str, str], int] = {}
    steps = []
    for number, (command, answer) in enumerate(zip(commands, answers, strict=False)):
        name, *words = command.split()
        if name in ("unmap", "free"):
            steps.append(_Step(command, taken.pop((words[0], words[1]))))
            continue
        steps.append(_Step(command))
        if name in ("map", "alloc"):
            # `alloc` answers "page ADDRESS".
            taken[words[0], answer.split()[0 if name == "map" else -1]] = number
    return steps


def _fewest(kernel: Compiled, revision: Revision, steps: Sequence[_Step]) -> list[int]:
    """Leave out steps, in ever smaller pieces, as long as there is a difference."""
    kept = list(range(len(steps)))
    piece = len(kept) // 2
    while piece:
        at = 0
        while at < len(kept):
            fewer = [
                number
                for place, number in enumerate(kept)
                if not at <= place < at + piece or steps[number].command.startswith(_STAGE)
            ]
            end = _difference_of(kernel, revision, steps, fewer) if len(fewer) < len(kept) else None
            if end is None:
                at += piece
            else:
                kept = fewer[: end + 1]
        piece //= 2
    return kept


def _difference_of(kernel: Compiled, revision: Revision, steps: Sequence[_Step], kept: Sequence[int]) -> int | None:
    """Where in `kept` the kernel first differs, if it does."""
    played = list(_play(revision, kernel.dynamic, steps, kept))
    kernels = ask(kernel, [command for _, command, _ in played])
    at = _first_difference([answer for _, _, answer in played], kernels)
    return None if at is None else played[min(at, len(played) - 1)][0]


def _play(
    revision: Revision, dynamic: bool, steps: Sequence[_Step], kept: Sequence[int]
) -> Iterator[tuple[int, str, str]]:
    """Place in `kept`, command and the reference's answer; without what makes no sense where others are left out."""
    reference = Reference(revision, dynamic=dynamic)
    addresses: dict[int, str] = {}
    for place, number in enumerate(kept):
        step = steps[number]
        name, *words = step.command.split()
        command = step.command
        if step.taken_by >= 0:
            if step.taken_by not in addresses:
                continue
            command = " ".join((name, words[0], addresses.pop(step.taken_by), *words[2:]))
        elif not _makes_sense(reference, name, words):
            continue
        if name in ("map", "work") and reference.pages_spent:
            return  # pools would overlap
        answer = reference.perform(command)
        if name == "map" and not answer.startswith(("fail", "hang")):
            addresses[number] = answer.split()[0]
        elif name == "alloc" and answer.startswith("page") and reference.page_is_whole:
            addresses[number] = answer.split()[1]
        yield place, command, answer


def _makes_sense(reference: Reference, name: str, words: Sequence[str]) -> bool:
    if name == "work":
        return reference.allocator.growth_pending
    if name == "state":
        return int(words[0], 16) in (pool.start for pool in reference.allocator.pools)
    return True


def _report(kernel: Compiled, revision: Revision, steps: Sequence[_Step], kept: Sequence[int]) -> str:
    played = list(_play(revision, kernel.dynamic, steps, kept))
    kernels = ask(kernel, [command for _, command, _ in played])
    at = _first_difference([answer for _, _, answer in played], kernels)
    lines = [f"  {command}\n      -> {answer}" for _, command, answer in played[: at if at is not None else None]]
    if len(lines) > _SHOWN:
        lines = [f"  ({len(lines) - _SHOWN} commands more)", *lines[-_SHOWN:]]
    if at is not None and at < len(played):
        _, command, answer = played[at]
        kernels_answer = kernels[at] if at < len(kernels) else "no answer"
        lines.append(f"  {command}\n      reference: {answer}\n      kernel:    {kernels_answer}")
    return "\n".join(lines)
