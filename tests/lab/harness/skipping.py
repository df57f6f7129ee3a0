"""A test that wants what this machine cannot have is skipped, or fails where that is demanded."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from tests.lab.harness.errors import LabUnavailableError

REQUIRE_LAB = "SWIOTLB_TOP_REQUIRE_LAB"


def lab_is_required() -> bool:
    """Nothing of the lab may be missing: it is made if need be, and tests that cannot have it fail."""
    return os.environ.get(REQUIRE_LAB) == "1"


def skip_or_fail(error: LabUnavailableError) -> NoReturn:
    """End the running test, with what is missing."""
    if lab_is_required():
        pytest.fail(f"{REQUIRE_LAB}=1, and {error}", pytrace=False)
    pytest.skip(str(error))
