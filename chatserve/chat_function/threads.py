"""Threads for sync functions."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue


class Threads:
    """A thread for each running sync function. Up to `max_idle` idle threads are kept for the next functions.

    They are daemon threads, so a function that never returns cannot keep the process alive.
    """

    def __init__(self, max_idle: int = 32) -> None:
        self._idle: deque[SimpleQueue[Callable[[], None] | None]] = deque()
        self._max_idle = max_idle
        self._is_closed = False

    def start(self, job: Callable[[], None]) -> None:
        """Run `job` in a thread that does nothing else until the job has ended."""
        try:
            inbox = self._idle.pop()
        except IndexError:
            inbox = SimpleQueue()
            threading.Thread(target=self._work, args=(inbox,), name="chatserve-function", daemon=True).start()
        inbox.put(job)

    def _work(self, inbox: SimpleQueue[Callable[[], None] | None]) -> None:
        while (job := inbox.get()) is not None:
            job()
            del job
            if self._is_closed or len(self._idle) >= self._max_idle:
                return
            self._idle.append(inbox)

    def close(self) -> None:
        """End the idle threads now, and each busy one when its function has ended."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().put(None)
