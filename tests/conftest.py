"""Fixtures that all tests share."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import pytest
from hypothesis import settings

from tests.lab.harness import cache
from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.lab import HUNG_S, Lab
from tests.lab.harness.machine import Machine
from tests.lab.harness.skipping import lab_is_required, skip_or_fail
from tests.lab.harness.vm import Meanwhile, Result

if settings().deadline is not None:
    # How long an example takes says how busy the machine is, and nothing of the code.
    settings.register_profile("untimed", settings(), deadline=None)
    settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    # A shell ignores SIGINT for what it starts in the background, and what is ignored stays so in every child.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "lab: boots a kernel in a virtual machine (given to all that use `lab`)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.lab)


class SkippingLab(Lab):
    """Where there can be no lab, the test that asks for it is skipped, or fails if the lab is required."""

    def run(
        self,
        machine: Machine,
        command: Sequence[str],
        *,
        deadline_s: float = HUNG_S,
        meanwhile: Meanwhile | None = None,
    ) -> Result:
        try:
            return super().run(machine, command, deadline_s=deadline_s, meanwhile=meanwhile)
        except LabUnavailableError as error:
            skip_or_fail(error)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Machines to run commands in.

    Kernels are only built where the lab is required: who just types pytest is not made to wait for a compiler.
    """
    return SkippingLab(cache.default_root(), tmp_path_factory.mktemp("lab"), may_build=lab_is_required())
