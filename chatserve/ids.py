"""Unguessable ids in the order of their making: a prefix, the time, and 128 random bits.

What is written down at one time then stands together in a store's indexes: with ids in no order, each row of a busy
store would change a page of its own in every index. An id tells when it was made, to the millisecond; it is no secret
what it names was made then. Random bytes are fetched from the system in stock, not id by id.
"""

from __future__ import annotations

import os
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from threading import Lock
from typing import Final

ID_BYTES: Final = 16
STOCK_BYTES: Final = 256 * ID_BYTES
"""A system call costs more than all else of an id."""

DIGITS: Final = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
"""Base 64 in the order of the characters, so that texts sort as their numbers do."""

TIME_DIGITS: Final = 7
"""Milliseconds since the epoch until the year 2109."""

_generation = 0
"""How many forks this process is away from the one that imported this."""


class Ids:
    """Makes ids, for any thread. What a forked process makes differs from its parent's. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = Lock()
        self._stock = b""
        self._at = STOCK_BYTES
        self._generation = _generation
        self._millisecond = -1
        self._time = ""

    def new(self, prefix: str) -> str:
        """Return an id of 29 characters behind `prefix`, safe in URLs and file names."""
        millisecond = int(self._clock() * 1000)
        with self._lock:
            if self._at == STOCK_BYTES or self._generation != _generation:
                self._refill()
            if millisecond != self._millisecond:
                self._millisecond, self._time = millisecond, _in_order(millisecond)
            at = self._at
            self._at = at + ID_BYTES
            taken = self._stock[at : at + ID_BYTES]
            return prefix + self._time + urlsafe_b64encode(taken)[:22].decode()

    def _refill(self) -> None:
        self._stock, self._at, self._generation = os.urandom(STOCK_BYTES), 0, _generation


def _in_order(number: int) -> str:
    return "".join([DIGITS[number >> 6 * place & 63] for place in reversed(range(TIME_DIGITS))])


def _count_fork() -> None:
    global _generation  # noqa: PLW0603 - what the operating system did to the process is global
    _generation += 1


os.register_at_fork(after_in_child=_count_fork)
