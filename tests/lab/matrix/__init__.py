"""The support matrix: each kernel of the lab is booted, watched and judged, and docs/support.md says what came of it.

`rows.py` has what is tried, `trial.py` tries a row, `results.py` keeps what came of it, `page.py` writes the page.
"""
