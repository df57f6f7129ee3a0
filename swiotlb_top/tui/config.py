"""What a user keeps of the screen: columns and order of each panel, in ``config.toml``.

::

    [devices]
    columns = ["name", "map_failures_per_second", "held_slots"]
    sort = "held_slots"
    ascending = false

The file is written when the user asks for it and never otherwise: the disk below it may be the one that is stalled.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from swiotlb_top.tui.panels import PANELS
from swiotlb_top.tui.view import PLAIN, Order, View

_COLUMNS: Final = "columns"
_SORT: Final = "sort"
_ASCENDING: Final = "ascending"


def path() -> Path:
    """Where it is: below ``$XDG_CONFIG_HOME``, or else in ``~/.config``."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(base) / "swiotlb-top" / "config.toml"


def load() -> View:
    """The view to begin with. If the file cannot be used, that of who has none, which says why."""
    try:
        return read(path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return PLAIN
    except OSError as error:
        return replace(PLAIN, kept=f"{path()} cannot be read: {error.strerror}")
    except ValueError as error:
        return replace(PLAIN, kept=f"config.toml is not used, W writes it anew: {error} ({path()})")


def keep(view: View) -> str:
    """Write the file. Returns what became of it."""
    place = path()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        written = place.with_name(f"{place.name}.new")
        written.write_text(text_of(view), encoding="utf-8")
        written.replace(place)
    except OSError as error:
        return f"{place} cannot be written: {error.strerror}"
    return f"columns and order are kept in {place}"


def read(text: str) -> View:
    """The view that a file tells.

    :raises ValueError: it is no TOML, or tells of something that is not there.
    """
    import tomllib  # who has no such file does without it

    columns: dict[str, tuple[str, ...]] = {}
    orders: dict[str, Order] = {}
    for panel, told in tomllib.loads(text).items():
        names = _names(panel)
        if not isinstance(told, Mapping):
            raise ValueError(f"{panel} must be a table: [{panel}]")
        if unknown := told.keys() - {_COLUMNS, _SORT, _ASCENDING}:
            raise ValueError(f"[{panel}] has {_COLUMNS}, {_SORT} and {_ASCENDING}, and no {min(unknown)!r}")
        if _COLUMNS in told:
            columns[panel] = tuple(_each(panel, told[_COLUMNS], names))
        if _SORT in told:
            (field,) = _each(panel, [told[_SORT]], names)
            orders[panel] = Order(field, told.get(_ASCENDING, False) is True)
    return replace(PLAIN, columns=columns, orders=orders)


def text_of(view: View) -> str:
    """The file that tells this view."""
    import json

    blocks = []
    for panel in PANELS:
        lines = [f"[{panel}]"]
        if panel in view.columns:
            lines.append(f"{_COLUMNS} = {json.dumps(view.columns[panel])}")
        if order := view.orders.get(panel):
            lines += [f"{_SORT} = {json.dumps(order.field)}", f"{_ASCENDING} = {json.dumps(order.ascending)}"]
        if len(lines) > 1:
            blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _names(panel: str) -> list[str]:
    table = PANELS[panel].table if panel in PANELS else None
    if table is None:
        known = ", ".join(name for name, other in PANELS.items() if other.table)
        raise ValueError(f"there is no [{panel}]: tables are {known}")
    return [field.name for field in table.fields]


def _each(panel: str, told: Any, names: list[str]) -> Iterator[str]:
    """Each of some names of fields, which must be there."""
    if not isinstance(told, list) or not told:
        raise ValueError(f"{_COLUMNS} of [{panel}] must be a list of fields")
    for name in told:
        if name not in names:
            raise ValueError(f"[{panel}] has no field {name!r}")
        yield name
