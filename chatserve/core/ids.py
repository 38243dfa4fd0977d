"""Unguessable ids that sort by their time of creation: a prefix, the time, and 132 random bits.

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
"""Six bits each, 132 in all."""

STOCK: Final = 256
"""How many ids' random digits are fetched at once. A system call for each id would release the interpreter to the
thread that writes, which takes a third more CPU for a turn."""

DIGITS: Final = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
"""Base 64 digits in character order, so that encoded texts sort like their numbers."""

TIME_DIGITS: Final = 7
"""Enough digits for milliseconds since the epoch until the year 2109."""


class Ids:
    """Makes ids, for any thread. A forked process makes other ids than its parent. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._stock: list[str] = []
        self._process_id = 0
        self._moment = (-1, "")

    def new(self, prefix: str) -> str:
        """Return an id: `prefix` and 29 characters, safe in URLs and file names."""
        millisecond = int(self._clock() * 1000)
        known, digits = self._moment
        if millisecond != known:
            digits = _in_order(millisecond)
            self._moment = millisecond, digits
        return prefix + digits + self._random_digits()

    def _random_digits(self) -> str:
        if self._process_id == os.getpid():
            try:
                return self._stock.pop()
            except IndexError:  # empty, or another thread took the last ones
                pass
        text = urlsafe_b64encode(os.urandom(STOCK * RANDOM_DIGITS * 6 // 8)).decode()
        stock = [text[at : at + RANDOM_DIGITS] for at in range(0, len(text), RANDOM_DIGITS)]
        digits = stock.pop()
        self._stock, self._process_id = stock, os.getpid()
        return digits


def _in_order(number: int) -> str:
    return "".join([DIGITS[number >> 6 * place & 63] for place in reversed(range(TIME_DIGITS))])
