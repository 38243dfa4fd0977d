"""Ends a process whose threads never return or whose tasks swallow their cancellation."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import Final

logger = logging.getLogger("chatserve.cli")

FORCED_AFTER_S: Final = 5.0
"""How long a process may live after its drain: functions clean up, the last writes end, streams send `bye`."""

LAST_WORDS_S: Final = 0.5
"""How long writing the last log line may take: the program that reads the log may hang too."""


class Deadline:
    """Ends the process with `os._exit` at the earliest of the times that were set, if it still lives then.

    `set` is safe in a signal handler: the thread that watches runs already, and `SimpleQueue.put` is reentrant.
    """

    def __init__(self) -> None:
        self._changes: SimpleQueue[tuple[float, int]] = SimpleQueue()
        threading.Thread(target=self._watch, name="chatserve-deadline", daemon=True).start()

    def set(self, in_s: float, exit_code: int) -> None:
        """End the process with this code after so many seconds, unless it ends before."""
        self._changes.put((time.monotonic() + in_s, exit_code))

    def _watch(self) -> None:
        ends_at, exit_code = self._changes.get()
        while True:
            try:
                change = self._changes.get(timeout=max(0.0, ends_at - time.monotonic()))
                ends_at, exit_code = min(change, (ends_at, exit_code))
            except Empty:
                break
        _say_last_words()
        os._exit(exit_code)


def _say_last_words() -> None:
    with contextlib.suppress(RuntimeError):  # too late for a new thread
        words = threading.Thread(target=_log_and_flush, name="chatserve-last-words", daemon=True)
        words.start()
        words.join(LAST_WORDS_S)


def _log_and_flush() -> None:
    logger.warning("a chat function, or a thread that it started, does not end: exiting without it")
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
