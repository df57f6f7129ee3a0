"""What is loaded has the maps and programs that the tool uses, of the sizes it has room for; else it is refused.

A hash map of the kernel's is read entry by entry, and never without end.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.cpus import Cpus
from swiotlb_top.errors import CannotError
from swiotlb_top.probes.attach import libbpf, loader, objects
from swiotlb_top.probes.attach.libbpf import ProgramType
from swiotlb_top.probes.attach.objects import Objects
from swiotlb_top.probes.compile import plan
from swiotlb_top.probes.compile.image import Image, MapSpec
from swiotlb_top.probes.read.program import Program
from tests.kernels import layout_of
from tests.support.program_files import EXIT

ARRAY, RING = 2, 27
PER_CPU_HASH, PER_CPU, PER_CPU_LRU_HASH = 5, 6, 10
SPECS = (
    MapSpec("window", ARRAY, 4, 40, 1, 0),
    MapSpec("devices", ARRAY, 4, 192, 512, 1024),
    MapSpec("faults", PER_CPU, 4, 36, 1, 0),
    MapSpec("records", RING, 0, 0, 65536, 0),
)
IMAGE = Image(SPECS, {"program": EXIT})


@pytest.fixture
def nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors of nothing in place of maps and programs; on a machine of three CPUs."""
    monkeypatch.setattr(libbpf, "create_map", lambda *_: os.open(os.devnull, os.O_RDONLY))
    monkeypatch.setattr(libbpf, "load_program", lambda *_: os.open(os.devnull, os.O_RDONLY))
    monkeypatch.setattr(objects, "possible_cpus", lambda: Cpus.parse("0-2"))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.usefixtures("nothing_is_made")
@pytest.mark.parametrize(
    ("name", "size_bytes"), [("window", 40), ("devices", 192 * 512), ("faults", 120), ("records", 65536)]
)
def test_a_map_is_had_by_its_size(name: str, size_bytes: int) -> None:
    made = Objects.of(IMAGE)
    assert made.map(name, size_bytes) == made.maps[name]
    for other in (size_bytes - 1, size_bytes + 8, 0):
        with pytest.raises(CannotError, match=f"the BPF map {name} is not {other} bytes"):
            made.map(name, other)
    made.close()


@pytest.mark.usefixtures("nothing_is_made")
@pytest.mark.parametrize("kind", [PER_CPU_HASH, PER_CPU, PER_CPU_LRU_HASH])
def test_a_map_that_has_a_value_for_each_cpu_is_that_much_larger(kind: int) -> None:
    made = Objects.of(Image((MapSpec("window", kind, 4, 36, 1, 0),), {}))
    assert made.map("window", 3 * 40) >= 0
    with pytest.raises(CannotError, match="the BPF map window is not 36 bytes"):
        made.map("window", 36)
    made.close()


@pytest.mark.usefixtures("nothing_is_made")
def test_a_value_of_each_cpu_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: list[int] = []
    monkeypatch.setattr(libbpf, "value_of", lambda _, key, value: rooms.append(len(value)))
    made = Objects.of(Image((MapSpec("askers", PER_CPU_HASH, 24, 8, 4, 0),), {}))
    made.value("askers", bytes(24))
    assert rooms == [3 * 8]
    made.close()


@pytest.mark.usefixtures("nothing_is_made")
@pytest.mark.parametrize("cells", [1 << 13, 1 << 19])
def test_there_are_as_many_cells_for_mappings_as_this_machine_is_to_have_whatever_was_compiled(
    monkeypatch: pytest.MonkeyPatch, cells: int
) -> None:
    written: dict[int, bytes] = {}

    def update(descriptor: int, value: bytes) -> int:
        written[descriptor] = value
        return 0

    monkeypatch.setattr(libbpf, "update", update)
    monkeypatch.setattr(libbpf, "attach_tracing", lambda _: os.open(os.devnull, os.O_RDONLY))
    monkeypatch.setattr(loader, "mapping_cells", lambda: cells)
    monkeypatch.setattr(loader, "plan_for", lambda layout, refused, prefer: plan.make(layout, kprobes=False))
    layout = layout_of("debian")
    names = [name for a in plan.make(layout, kprobes=False).probed() for name in programs_of(a)]
    tables = (MapSpec("mappings", ARRAY, 4, 8, 1 << 13, 1024), MapSpec("mapping_mask", ARRAY, 4, 8, 1, 0))
    image = Image(tables, dict.fromkeys((*names, "read_kernel_memory"), EXIT))
    _, made = loader.load(layout, spares=False, images=OnlyTheBest(image))
    assert made.map("mappings", 8 * cells) == made.maps["mappings"]
    assert written == {made.maps["mapping_mask"]: (cells - 1).to_bytes(8, "little")}
    made.close()


@pytest.mark.usefixtures("nothing_is_made")
def test_a_map_is_neither_read_nor_written_beyond_what_there_is_room_for() -> None:
    made = Objects.of(IMAGE)
    with pytest.raises(CannotError, match="the BPF map window is not 8 bytes"):
        made.look_up("window", 8)
    with pytest.raises(CannotError, match="the BPF map window is not 8 bytes"):
        made.update("window", 1)
    with pytest.raises(CannotError, match="the BPF map control is not 8 bytes"):
        made.update("control", 1)
    made.close()


@pytest.mark.usefixtures("nothing_is_made")
def test_a_map_is_not_read_with_a_key_of_another_size() -> None:
    made = Objects.of(Image((MapSpec("window", ARRAY, 8, 40, 1, 0), MapSpec("records", RING, 4, 0, 65536, 0)), {}))
    for name, size_bytes in (("window", 40), ("records", 65536)):
        with pytest.raises(CannotError, match=f"the BPF map {name} is not {size_bytes} bytes"):
            made.map(name, size_bytes)
    made.close()


@pytest.mark.usefixtures("nothing_is_made")
def test_a_program_that_is_not_there_is_said() -> None:
    made = Objects.of(IMAGE)
    made.load("program", ProgramType.RAW_TRACEPOINT)
    with pytest.raises(CannotError, match="has no part read_kernel_memory"):
        made.load("read_kernel_memory", ProgramType.RAW_TRACEPOINT)
    made.close()


@pytest.mark.usefixtures("nothing_is_made")
def test_what_was_attached_is_detached_if_its_maps_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors()
    layout = layout_of("debian")
    made = plan.make(layout, kprobes=True)
    monkeypatch.setattr(loader, "load", lambda *_, **__: (made, Objects.of(IMAGE)))
    with pytest.raises(CannotError, match="the BPF map records is of another kind or size: it was not compiled"):
        Program(layout)
    assert descriptors() == before


class OnlyTheBest:
    """Has an image for the first plan that it is asked for, and for no other."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.asked = 0

    def image(self, layout: object, flags: tuple[str, ...]) -> Image:
        self.asked += 1
        if self.asked > 1:
            raise CannotError("the programs in F are not for this kernel")
        return self._image


@pytest.mark.usefixtures("nothing_is_made")
def test_if_the_next_plan_has_no_image_it_is_said_what_the_kernel_refused_of_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> int:
        raise libbpf.RefusedError(22, "arg#0 is bad")

    before = descriptors()
    monkeypatch.setattr(libbpf, "load_program", refuse)
    layout = layout_of("dynamic")
    monkeypatch.setattr(
        loader, "plan_for", lambda layout, refused, prefer: plan.make(layout, kprobes=True, refused=refused)
    )
    names = [name for a in plan.make(layout, kprobes=True).probed() for name in programs_of(a)]
    image = Image(SPECS, dict.fromkeys(names, EXIT))
    with pytest.raises(CannotError) as refused:
        loader.load(layout, spares=True, images=OnlyTheBest(image))
    assert str(refused.value) == (
        "the kernel refuses fentry for find_slots (arg#0 is bad), and without that the programs in F are not for this "
        "kernel"
    )
    assert descriptors() == before


def programs_of(attachment: plan.Attachment) -> tuple[str, str, str]:
    return loader.entry_program(attachment), loader.exit_program(attachment), loader.spare_program(attachment)


# ---- hash maps -------------------------------------------------------------------

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


def reading(table: Table, monkeypatch: pytest.MonkeyPatch) -> Objects:
    monkeypatch.setattr(libbpf, "key_after", table.key_after)
    monkeypatch.setattr(libbpf, "value_of", table.value_of)
    return Objects(Image((MapSpec("askers", 1, 1, 3, ROOM, 0),), {}), {"askers": -1})


def test_each_entry_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(reading(Table(), monkeypatch).entries("askers")) == [(b"a", b"one"), (b"b", b"two")]


def test_no_more_are_read_than_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(reading(Table(grows=True), monkeypatch).entries("askers"))) == ROOM


def test_what_is_not_there_has_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    found = reading(Table(), monkeypatch)
    assert (found.value("askers", b"a"), found.value("askers", b"z")) == (b"one", b"")
