"""Fixtures of the oracle's tests."""

from __future__ import annotations

from functools import cache

import pytest

from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.skipping import lab_is_required, skip_or_fail
from tests.oracle.cases import Case
from tests.oracle.compiled import Compiled, compile_source
from tests.oracle.sources import Source


@cache
def _obtained(source: Source, dynamic: bool) -> Compiled | LabUnavailableError:
    """Asked once: package lists are slow to read, and a network that is not there is slower."""
    try:
        return compile_source(source, dynamic=dynamic, may_make=lab_is_required())
    except LabUnavailableError as error:
        return error


@pytest.fixture
def kernel(case: Case) -> Compiled:
    """The kernel of a test's `case`, compiled.

    Sources are only fetched where the lab is required: who just types pytest is not made to wait for a download.
    """
    kernel = _obtained(case.source, case.mode.dynamic)
    if isinstance(kernel, LabUnavailableError):
        skip_or_fail(kernel)
    return kernel
