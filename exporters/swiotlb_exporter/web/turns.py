"""Who may try a password: one after the other, few who wait, and of these a part from any one address."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Turns of which one is had at a time.

    :param most: how many wait for theirs, the one that has it among them.
    :param of_one: how many of these are of one client: who tries without end must not keep others from trying once.
    """

    def __init__(self, most: int, of_one: int) -> None:
        self._most, self._of_one = most, of_one
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def waited_for(self, client: str) -> Iterator[bool]:
        """Wait for a turn, and have it; False at once: too many wait."""
        with self._lock:
            may_wait = self._waiting.total() < self._most and self._waiting[client] < self._of_one
            if may_wait:
                self._waiting[client] += 1
        if not may_wait:
            yield False
            return
        try:
            with self._turn:
                yield True
        finally:
            with self._lock:
                self._waiting[client] -= 1
                # Of who was here once nothing is kept.
                self._waiting += Counter()
