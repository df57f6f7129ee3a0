"""A hash map of the kernel's is read entry by entry, and never without end."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from swiotlb_top.probes.attach import libbpf
from swiotlb_top.probes.attach.objects import Objects
from swiotlb_top.probes.compile.image import Image, MapSpec

ROOM = 4


class Table:
    """What the kernel has in a map, in its order; ``grows`` lets it put a new entry behind each that is asked for."""

    def __init__(self, *, grows: bool = False) -> None:
        self.entries: dict[bytes, bytes] = {b"a": b"one", b"b": b"two"}
        self.grows = grows

    def key_after(self, _table: int, key: bytes | None, following: Any) -> int:
        keys = list(self.entries)
        at = keys.index(key) + 1 if key else 0
        if self.grows:
            self.entries[bytes([ord("c") + len(keys)])] = b"new"
        if at == len(keys):
            return -errno.ENOENT
        following.raw = keys[at]
        return 0

    def value_of(self, _table: int, key: bytes, value: Any) -> int:
        if key not in self.entries:
            return -errno.ENOENT
        value.raw = self.entries[key]
        return 0


def objects(table: Table, monkeypatch: pytest.MonkeyPatch) -> Objects:
    monkeypatch.setattr(libbpf, "key_after", table.key_after)
    monkeypatch.setattr(libbpf, "value_of", table.value_of)
    return Objects(Image((MapSpec("askers", 1, 1, 3, ROOM, 0),), {}), {"askers": -1})


def test_each_entry_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(objects(Table(), monkeypatch).entries("askers")) == [(b"a", b"one"), (b"b", b"two")]


def test_no_more_are_read_than_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(objects(Table(grows=True), monkeypatch).entries("askers"))) == ROOM


def test_what_is_not_there_has_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    found = objects(Table(), monkeypatch)
    assert (found.value("askers", b"a"), found.value("askers", b"z")) == (b"one", b"")
