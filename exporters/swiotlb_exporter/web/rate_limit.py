"""How often strangers may ask: a bucket of tokens, one of which each request takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One request an ``interval_s``, and ``burst`` of them at once after a pause."""

    interval_s: float
    burst: int


class Bucket:
    """The tokens of a limit, for any thread; full at first.

    :param now_s: a clock that never goes back.
    """

    def __init__(self, limit: RateLimit, now_s: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._now_s = now_s
        self._lock = threading.Lock()
        self._tokens = float(limit.burst)
        self._counted_s = now_s()

    def take(self) -> bool:
        """Take a token; whether there was one."""
        with self._lock:
            now_s = self._now_s()
            gained = (now_s - self._counted_s) / self.limit.interval_s
            self._tokens = min(float(self.limit.burst), self._tokens + gained)
            self._counted_s = now_s
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
