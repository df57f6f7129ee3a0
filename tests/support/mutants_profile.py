"""Hypothesis for ``make mutants`` and ``make coverage``: few examples, the same each time, no time for shrinking."""

from __future__ import annotations

from hypothesis import Phase, settings

settings.register_profile(
    "mutants", max_examples=20, derandomize=True, database=None, deadline=None, phases=(Phase.generate,)
)
settings.load_profile("mutants")
