"""Unguessable ids in the order of their making: a prefix, the time, and 132 random bits.

What is written down at one time then stands together in a store's indexes: with ids in no order, each row of a busy
store would change a page of its own in every index. An id tells when it was made, to the millisecond; it is no secret
what it names was made then. Random bytes are fetched from the system in stock, not id by id.
"""

from __future__ import annotations

import os
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Final

RANDOM_DIGITS: Final = 22
"""Of six bits each: 132 in all."""

STOCK: Final = 256
"""How many ids' random digits are made at once: a system call costs more than all else of an id."""

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
        self._stock: list[str] = []
        self._generation = _generation
        self._moment = (-1, "")

    def new(self, prefix: str) -> str:
        """Return an id of 29 characters behind `prefix`, safe in URLs and file names."""
        millisecond = int(self._clock() * 1000)
        known, digits = self._moment
        if millisecond != known:
            digits = _in_order(millisecond)
            self._moment = millisecond, digits
        if self._generation == _generation and (stock := self._stock):
            try:
                return prefix + digits + stock.pop()
            except IndexError:  # another thread took the last one
                pass
        return prefix + digits + self._refilled().pop()

    def _refilled(self) -> list[str]:
        """Return a stock that nobody else has taken from."""
        text = urlsafe_b64encode(os.urandom(STOCK * RANDOM_DIGITS * 6 // 8)).decode()
        stock = [text[at : at + RANDOM_DIGITS] for at in range(0, len(text), RANDOM_DIGITS)]
        self._stock, self._generation = stock, _generation
        return stock


def _in_order(number: int) -> str:
    return "".join([DIGITS[number >> 6 * place & 63] for place in reversed(range(TIME_DIGITS))])


def _count_fork() -> None:
    global _generation  # noqa: PLW0603 - what the operating system did to the process is global
    _generation += 1


os.register_at_fork(after_in_child=_count_fork)
