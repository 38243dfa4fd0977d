"""Threads for sync functions."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

MAX_IDLE: Final = 32


class Threads:
    """A thread for each running sync function. Up to `MAX_IDLE` idle threads are kept for the next functions.

    They are daemon threads, so a function that never returns cannot keep the process alive.
    """

    def __init__(self) -> None:
        self._idle: deque[SimpleQueue[Callable[[], None] | None]] = deque()
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
            if self._is_closed or len(self._idle) >= MAX_IDLE:
                return
            self._idle.append(inbox)

    def close(self) -> None:
        """End the idle threads now, and each busy one when its function has ended."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().put(None)
