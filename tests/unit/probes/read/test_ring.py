"""The ring buffer's consumer, over memory that a test fills as kernel/bpf/ringbuf.c does."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from swiotlb_top.probes.read.ring import Ring
from swiotlb_top.records import RECORD

PAGE: Final = mmap.PAGESIZE
BUSY: Final = 1 << 31
HEADER: Final = struct.Struct("<II")
STRIDE: Final = HEADER.size + RECORD.size


class Producer:
    """What the kernel does to a ring: reserve moves the position and leaves the record busy, commit clears that.

    ``struct bpf_ringbuf``: the consumer's page, the producer's page, then the data. The kernel maps the data
    twice; a file cannot, so that every byte is written to both copies.
    """

    def __init__(self, fd: int, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        os.truncate(fd, 2 * PAGE + 2 * size_bytes)
        self._map = mmap.mmap(fd, 2 * PAGE + 2 * size_bytes)
        self.position = 0

    @property
    def consumed(self) -> int:
        """The consumer's position, as the kernel reads it to see what room there is."""
        return int.from_bytes(self._map[0:8], "little")

    def begin_at(self, position: int) -> None:
        """As if so many bytes had come and gone before."""
        self.position = position
        self._map[0:8] = position.to_bytes(8, "little")
        self._map[PAGE : PAGE + 8] = position.to_bytes(8, "little")

    def reserve(self) -> int | None:
        """``__bpf_ringbuf_reserve()``: the record's position, or None where the ring is full."""
        at = self.position
        if at + STRIDE - self.consumed > self._size_bytes - 1:
            return None
        self._write(at, HEADER.pack(RECORD.size | BUSY, at // PAGE) + b"\xee" * RECORD.size)
        self.position += STRIDE
        self._map[PAGE : PAGE + 8] = self.position.to_bytes(8, "little")
        return at

    def commit(self, at: int, record: bytes) -> None:
        """The program filled in its record and submitted it (``bpf_ringbuf_commit()``)."""
        self._write(at + HEADER.size, record)
        self._write(at, HEADER.pack(RECORD.size, at // PAGE))

    def close(self) -> None:
        self._map.close()

    def _write(self, at: int, content: bytes) -> None:
        begin = at & (self._size_bytes - 1)
        first = content[: self._size_bytes - begin]
        for copy in (2 * PAGE, 2 * PAGE + self._size_bytes):
            self._map[copy + begin : copy + begin + len(first)] = first
            self._map[copy : copy + len(content) - len(first)] = content[len(first) :]
        if len(first) < len(content):  # over the end it runs on into the second copy, which is the beginning
            rest = content[len(first) :]
            self._map[2 * PAGE + self._size_bytes : 2 * PAGE + self._size_bytes + len(rest)] = rest


def record(number: int) -> bytes:
    """A record of which every word tells its number and its place."""
    return struct.pack("<8Q", *(number << 8 | word for word in range(8)))


@contextmanager
def ring_of(size_bytes: int) -> Iterator[tuple[Ring, Producer]]:
    fd = os.memfd_create("ring")
    producer = Producer(fd, size_bytes)
    ring = Ring(fd, size_bytes)
    try:
        yield ring, producer
    finally:
        ring.close()
        producer.close()
        os.close(fd)


def produce(producer: Producer, numbers: range) -> None:
    for number in numbers:
        at = producer.reserve()
        assert at is not None
        producer.commit(at, record(number))


def joined(numbers: range) -> bytes:
    return b"".join(map(record, numbers))


def test_an_empty_ring_has_nothing() -> None:
    with ring_of(PAGE) as (ring, _):
        assert ring.drain() == b""


def test_records_come_out_packed_oldest_first_without_their_headers() -> None:
    with ring_of(PAGE) as (ring, producer):
        produce(producer, range(5))
        assert ring.drain() == joined(range(5))


def test_what_was_drained_is_gone_and_its_room_given_back() -> None:
    with ring_of(PAGE) as (ring, producer):
        produce(producer, range(5))
        ring.drain()
        assert producer.consumed == 5 * STRIDE
        assert ring.drain() == b""


def test_a_record_over_the_end_is_whole() -> None:
    with ring_of(PAGE) as (ring, producer):
        for lap in range(200):
            produce(producer, range(lap * 7, lap * 7 + 7))
            assert ring.drain() == joined(range(lap * 7, lap * 7 + 7))
        assert producer.position > 20 * PAGE


@pytest.mark.parametrize("into_the_end", range(8, STRIDE, 8))
def test_a_record_may_be_cut_by_the_end_at_any_word(into_the_end: int) -> None:
    with ring_of(PAGE) as (ring, producer):
        producer.begin_at(PAGE - into_the_end)
        produce(producer, range(3))
        assert ring.drain() == joined(range(3))


def test_a_busy_record_holds_back_what_is_after_it_and_nothing_before() -> None:
    with ring_of(PAGE) as (ring, producer):
        produce(producer, range(2))
        busy = producer.reserve()
        assert busy is not None
        produce(producer, range(3, 5))
        assert ring.drain() == joined(range(2))
        assert ring.drain() == b""
        assert ring.drain_what_is_there() == (False, b"")
        assert producer.consumed == 2 * STRIDE
        producer.commit(busy, record(2))
        assert ring.drain_what_is_there() == (True, joined(range(2, 5)))
        assert ring.drain_what_is_there() == (True, b"")


def test_a_ring_that_begins_busy_has_nothing() -> None:
    with ring_of(PAGE) as (ring, producer):
        producer.reserve()
        produce(producer, range(1, 3))
        assert ring.drain() == b""
        assert producer.consumed == 0


def test_a_full_ring_comes_out_whole() -> None:
    with ring_of(PAGE) as (ring, producer):
        fitting = (PAGE - 1) // STRIDE
        produce(producer, range(fitting))
        assert producer.reserve() is None
        assert ring.drain() == joined(range(fitting))
        assert producer.reserve() is not None


def test_more_records_than_are_copied_at_once_come_out_in_one_drain() -> None:
    """A ring of 8 MiB holds over 100,000 records; one copy takes 65,536."""
    with ring_of(8 << 20) as (ring, producer):
        produce(producer, range(70_000))
        assert ring.drain() == joined(range(70_000))


def test_positions_beyond_four_gib_count_on() -> None:
    with ring_of(PAGE) as (ring, producer):
        producer.begin_at((1 << 32) - STRIDE)
        produce(producer, range(4))
        assert ring.drain() == joined(range(4))
        assert producer.consumed == (1 << 32) + 3 * STRIDE


def test_a_closed_ring_leaves_the_file_to_its_owner() -> None:
    fd = os.memfd_create("ring")
    producer = Producer(fd, PAGE)
    Ring(fd, PAGE).close()
    assert os.fstat(fd).st_size == 4 * PAGE
    producer.close()
    os.close(fd)


class Watched:
    """The ring's data, and which stretches of it were copied whole."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.copied: list[slice] = []

    def __getitem__(self, stretch: slice) -> Watched:
        part = Watched(self._data[stretch])
        part.copied = self.copied
        self.copied.append(stretch)
        return part

    def cast(self, code: Any) -> memoryview:
        self.copied.pop()
        return self._data.cast(code)

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    def release(self) -> None:
        self._data.release()


def test_of_a_record_nothing_is_copied_before_its_header_says_that_it_is_committed() -> None:
    """Copied with its header, what a record holds could be older than the header that is looked at."""
    with ring_of(PAGE) as (ring, producer):
        produce(producer, range(3))
        assert producer.reserve() is not None
        watched = Watched(ring._data)
        ring._data = cast(memoryview, watched)
        assert ring.drain() == joined(range(3))
        assert watched.copied == [slice(0, 3 * STRIDE)]


class AnyInterleaving(RuleBasedStateMachine):
    """CPUs reserve and commit in any order, the reader drains at any time: all come out once, in order of reserving."""

    busy = Bundle("busy")

    def __init__(self) -> None:
        super().__init__()
        self._context = ring_of(PAGE)
        self.ring, self.producer = self._context.__enter__()
        self.reserved = 0
        self.committed: set[int] = set()
        self.drained = 0

    @rule(target=busy)
    def reserve(self) -> tuple[int, int] | None:
        at = self.producer.reserve()
        if at is None:
            return None
        self.reserved += 1
        return self.reserved - 1, at

    @rule(one=consumes(busy))
    def commit(self, one: tuple[int, int] | None) -> None:
        if one is not None:
            number, at = one
            self.producer.commit(at, record(number))
            self.committed.add(number)

    @rule(count=st.integers(1, 60))
    def reserve_and_commit(self, count: int) -> None:
        for _ in range(count):
            self.commit(self.reserve())

    @rule()
    def drain(self) -> None:
        upto = self.drained
        while upto in self.committed:
            upto += 1
        assert self.ring.drain() == joined(range(self.drained, upto))
        self.drained = upto

    @invariant()
    def only_what_was_drained_is_given_back(self) -> None:
        assert self.producer.consumed == self.drained * STRIDE

    def teardown(self) -> None:
        self._context.__exit__(None, None, None)


TestAnyInterleaving = AnyInterleaving.TestCase
TestAnyInterleaving.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
