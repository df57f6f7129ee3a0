"""Who makes room: the one that has waited longest for its client, and nobody for whom an answer is made."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from swiotlb_exporter.web.room import Guest, Room


class Seen(Guest):
    """One that says whether it was sent away."""

    gone = False

    def send_away(self) -> None:
        self.gone = True
        super().send_away()


@pytest.fixture
def guests() -> Iterator[list[Seen]]:
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(6)]
        for pair in pairs:
            for end in pair:
                stack.enter_context(end)
        yield [Seen(ours) for ours, _ in pairs]


def gone(guests: list[Seen]) -> list[int]:
    return [number for number, guest in enumerate(guests) if guest.gone]


def test_nobody_goes_while_there_is_room(guests: list[Seen]) -> None:
    room = Room(3)
    assert [room.enter(guest) for guest in guests[:3]] == [True] * 3
    assert gone(guests) == []


def test_the_one_that_has_waited_longest_goes(guests: list[Seen]) -> None:
    room = Room(3)
    for guest in guests[:3]:
        room.enter(guest)
    with room.answering(guests[0]):
        pass
    room.enter(guests[3])
    assert gone(guests) == [1]
    room.enter(guests[4])
    room.enter(guests[5])
    assert gone(guests) == [0, 1, 2]


def test_who_is_being_answered_stays_and_where_all_are_nobody_comes_in(guests: list[Seen]) -> None:
    room = Room(2)
    room.enter(guests[0])
    room.enter(guests[1])
    with room.answering(guests[0]) as there:
        assert there
        room.enter(guests[2])
        assert gone(guests) == [1]
        with room.answering(guests[2]):
            assert not room.enter(guests[3])
    assert room.enter(guests[3])
    assert gone(guests) == [1, 2]


def test_who_was_sent_away_is_not_answered_and_takes_no_place(guests: list[Seen]) -> None:
    room = Room(1)
    room.enter(guests[0])
    room.enter(guests[1])
    with room.answering(guests[0]) as there:
        assert not there
    room.leave(guests[0])
    with room.answering(guests[1]) as there:
        assert there
    assert gone(guests) == [0]


def test_who_leaves_makes_room(guests: list[Seen]) -> None:
    room = Room(1)
    for guest in guests:
        assert room.enter(guest)
        room.leave(guest)
    with room.answering(guests[0]) as there:
        assert not there
    assert gone(guests) == []


def test_at_the_end_all_go(guests: list[Seen]) -> None:
    room = Room(3)
    for guest in guests[:3]:
        room.enter(guest)
    with room.answering(guests[1]):
        room.close()
    assert gone(guests) == [0, 1, 2]


def test_the_other_end_of_who_was_sent_away_sees_the_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Guest(ours).send_away()
        assert theirs.recv(1) == b""
    Guest(ours).send_away()


def test_after_that_nobody_comes_in(guests: list[Seen]) -> None:
    room = Room(3)
    room.close()
    assert not room.enter(guests[0])
    with room.answering(guests[0]) as there:
        assert not there


def test_who_is_sent_away_while_tls_is_put_on_goes_all_the_same() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        guest = Guest(ours)
        another = socket.socket(fileno=ours.detach())
        guest.send_away()
        with another:
            guest.goes_on_as(another)
            assert theirs.recv(1) == b""
