"""Debian's 6.1: a file of its own, so that kernels are compared at the same time."""

from __future__ import annotations

import pytest

from tests.oracle.cases import Case, cases_of
from tests.oracle.compiled import Compiled
from tests.oracle.sources import DEBIAN_6_1
from tests.oracle.specification import the_reference_does_what_the_kernel_does


@pytest.mark.parametrize("case", cases_of(DEBIAN_6_1), ids=lambda case: case.name)
def test_the_reference_does_what_the_kernel_s_own_c_does(case: Case, kernel: Compiled) -> None:
    the_reference_does_what_the_kernel_does(case, kernel)
