"""Unguessable ids that sort by their time of creation: a prefix, the time, and 132 random bits.

Rows written at about the same time are then adjacent in a store's indexes. With unordered ids, each row of a busy store
would change a different page of every index. An id reveals the millisecond of its creation, which is not a secret.
"""

from __future__ import annotations

import os
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Final

RANDOM_DIGITS: Final = 22
"""Six bits each, 132 in all."""

RANDOM_BYTES: Final = 18
"""A number of bytes that base 64 encodes without padding; more than `RANDOM_DIGITS` needs."""

DIGITS: Final = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
"""Base 64 digits in character order, so that encoded texts sort like their numbers."""

TIME_DIGITS: Final = 7
"""Enough digits for milliseconds since the epoch until the year 2109."""


class Ids:
    """Makes ids, in any thread and any forked process. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._moment = (-1, "")

    def new(self, prefix: str) -> str:
        """Return an id: `prefix` and 29 characters, safe in URLs and file names."""
        millisecond = int(self._clock() * 1000)
        known, digits = self._moment
        if millisecond != known:
            digits = _in_order(millisecond)
            self._moment = millisecond, digits
        return prefix + digits + urlsafe_b64encode(os.urandom(RANDOM_BYTES)).decode()[:RANDOM_DIGITS]


def _in_order(number: int) -> str:
    return "".join([DIGITS[number >> 6 * place & 63] for place in reversed(range(TIME_DIGITS))])
