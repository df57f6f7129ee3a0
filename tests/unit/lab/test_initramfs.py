"""The archive a guest starts from, read back by a reader written from the format's description."""

from __future__ import annotations

import stat

from hypothesis import given
from hypothesis import strategies as st

from tests.lab.harness import initramfs
from tests.lab.harness.initramfs import Member

HEADER_BYTES = 110
names = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=20)


def read_newc(data: bytes) -> list[Member]:
    """All members before the trailer. Header: magic, then 13 fields of 8 hex digits; name and data padded to 4."""
    members: list[Member] = []
    offset = 0
    while True:
        assert offset % 4 == 0
        header = data[offset : offset + HEADER_BYTES]
        assert header[:6] == b"070701"
        fields = [int(header[at : at + 8], 16) for at in range(6, HEADER_BYTES, 8)]
        mode, size_bytes, name_bytes = fields[1], fields[6], fields[11]
        name = data[offset + HEADER_BYTES : offset + HEADER_BYTES + name_bytes]
        assert name.endswith(b"\0")
        start = (offset + HEADER_BYTES + name_bytes + 3) & ~3
        if name == b"TRAILER!!!\0":
            return members
        body = data[start : start + size_bytes]
        members.append(Member(name[:-1].decode(), mode, body, (fields[9], fields[10])))
        offset = (start + size_bytes + 3) & ~3


@given(st.dictionaries(names, st.binary(max_size=50)))
def test_members_come_back_whatever_the_length_of_name_and_data(files: dict[str, bytes]) -> None:
    members = [initramfs.plain(name, data) for name, data in files.items()]
    assert read_newc(initramfs.archive(members)) == members


def test_programs_can_be_executed_and_directories_are_directories() -> None:
    program, directory = read_newc(initramfs.archive([initramfs.program("init", b"#!"), initramfs.directory("dev")]))
    assert stat.S_ISREG(program.mode)
    assert program.mode & 0o111 == 0o111
    assert stat.S_ISDIR(directory.mode)


def test_a_device_node_keeps_its_numbers() -> None:
    (console,) = read_newc(initramfs.archive([initramfs.character_device("dev/console", 5, 1)]))
    assert stat.S_ISCHR(console.mode)
    assert console.device == (5, 1)
