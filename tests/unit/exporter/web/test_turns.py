"""Who may try a password: one at a time, and nobody keeps the others from it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from swiotlb_exporter.web.turns import Turns
from tests.support.prometheus import eventually
from tests.support.served import DEADLINE_S

MALLORY = "192.0.2.66"


@contextmanager
def waiting(turns: Turns, clients: list[str]) -> Iterator[list[bool]]:
    """Those who ask for a turn while another is had; yields what those who need not wait were told."""
    told: list[bool] = []
    end = threading.Event()

    def ask(client: str) -> None:
        with turns.waited_for(client) as turn:
            told.append(turn)
            if turn:
                assert end.wait(DEADLINE_S)

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        end.set()
        for thread in threads:
            thread.join(DEADLINE_S)


def test_one_has_a_turn_and_few_wait_for_it() -> None:
    with waiting(Turns(3, 3), [str(number) for number in range(8)]) as told:
        eventually(lambda: len(told) == 6)
        assert sorted(told) == [False] * 5 + [True]
    assert sorted(told) == [False] * 5 + [True] * 3


def test_who_asks_without_end_leaves_room_for_others() -> None:
    turns = Turns(4, 2)
    with ExitStack() as mallory:
        told = mallory.enter_context(waiting(turns, [MALLORY] * 9))
        eventually(lambda: len(told) == 8)
        assert sorted(told) == [False] * 7 + [True]
        with waiting(turns, ["192.0.2.1"]) as later:
            with turns.waited_for(MALLORY) as turn:
                assert not turn
            assert later == []
            mallory.close()
            eventually(lambda: later == [True])
    assert sorted(told) == [False] * 7 + [True] * 2


def test_a_turn_ends_whatever_happens_in_it_and_nothing_is_kept() -> None:
    turns = Turns(1, 1)
    for number in range(3):
        try:
            with turns.waited_for(str(number)) as turn:
                assert turn
                raise OSError
        except OSError:
            pass
    assert not vars(turns)["_waiting"]
