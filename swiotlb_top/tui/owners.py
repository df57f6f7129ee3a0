"""Who has slots, as maps of them show it: a letter and a colour for each device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Final, Protocol, TypeAlias

from rich.text import Text

from swiotlb_top.accounting.snapshot import DeviceView
from swiotlb_top.tui import styles

_UNOWNED: Final = "?"
_SURPLUS: Final = "+"
Drawn: TypeAlias = tuple[str, str]
"""A character and its style."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who has slots, as the map shows it."""

    letter: str
    name: str
    fill: str
    """The colour of its slots."""
    ink: str
    """The colour in which its letter is seen on them."""

    @property
    def begins(self) -> Drawn:
        return self.letter.upper(), f"{self.ink} on {self.fill}"

    @property
    def goes_on(self) -> Drawn:
        return self.letter, f"{self.fill} on {self.fill}"

    @property
    def badge(self) -> Text:
        """Its letter on its colour."""
        return Text(f" {self.letter.upper()} ", style=f"{self.ink} on {self.fill}")


NOBODY: Final = Owner(_UNOWNED, "not known whose", *styles.OWNER_UNKNOWN)


class Colours(Protocol):
    """What the map of slots tells apart by letters and colours."""

    def of(self, dev: int) -> Owner:
        """Letter and colour of what a mapping belongs to."""
        ...


class Owners:
    """Letters and colours of devices: the same in each frame, unless a device comes or goes.

    :param devices: all that are known. Those after the 26th share a sign.
    """

    def __init__(self, devices: Iterable[DeviceView]) -> None:
        self._owners = {
            device.dev: Owner(
                ascii_lowercase[number] if number < len(ascii_lowercase) else _SURPLUS,
                f"{device.name} ({device.known_as})" if device.known_as else device.name,
                *styles.OWNERS[number % len(styles.OWNERS)],
            )
            for number, device in enumerate(sorted(devices, key=lambda device: (device.name, device.dev)))
        }

    def of(self, dev: int) -> Owner:
        """Who has what this device mapped; :data:`NOBODY` where that is not known."""
        return self._owners.get(dev, NOBODY)
