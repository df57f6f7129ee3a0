"""docs/alerts.md as a page: where an alert's ``runbook_url`` leads, unless the operator serves docs/ elsewhere.

The page says what to do, and nothing of this machine.
"""

from __future__ import annotations

import html
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

PATH: Final = "/alerts.md"
_PACKAGED: Final = resources.files("swiotlb_exporter") / "docs" / "alerts.md"
_CHECKOUT: Final = Path(__file__).resolve().parents[3] / "docs" / "alerts.md"
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head><title>swiotlb alerts</title>
<style>body {{ max-width: 60em }} pre {{ white-space: pre-wrap }}</style></head>
<body>
{sections}</body>
</html>
"""


@cache
def page() -> str:
    """The page as HTML: a section an alert, with the anchor that every viewer of Markdown gives to such a heading."""
    text = (_PACKAGED if _PACKAGED.is_file() else _CHECKOUT).read_text()
    # What comes before the first heading of each level, then headings and what stands below them by turns.
    _, *parts = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    sections = zip(parts[::2], parts[1::2], strict=True)
    return _PAGE.format(sections="".join(_section(title, body.strip()) for title, body in sections))


def _section(title: str, body: str) -> str:
    anchor = html.escape(title.lower())
    return f'<h2 id="{anchor}">{html.escape(title)}</h2>\n<pre>{html.escape(body)}</pre>\n'
