"""Unguessable ids: a prefix and 128 random bits. Random bytes are fetched from the system in stock, not id by id."""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from threading import Lock
from typing import Final

ID_BYTES: Final = 16
STOCK_BYTES: Final = 256 * ID_BYTES
"""A system call costs more than all else of an id."""

_generation = 0
"""How many forks this process is away from the one that imported this."""


class Ids:
    """Makes ids, for any thread. What a forked process makes differs from its parent's."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._stock = b""
        self._at = STOCK_BYTES
        self._generation = _generation

    def new(self, prefix: str) -> str:
        """Return an id of 22 characters behind `prefix`, safe in URLs and file names."""
        with self._lock:
            if self._at == STOCK_BYTES or self._generation != _generation:
                self._refill()
            at = self._at
            self._at = at + ID_BYTES
            taken = self._stock[at : at + ID_BYTES]
        return prefix + urlsafe_b64encode(taken)[:22].decode()

    def _refill(self) -> None:
        self._stock, self._at, self._generation = os.urandom(STOCK_BYTES), 0, _generation


def _count_fork() -> None:
    global _generation  # noqa: PLW0603 - what the operating system did to the process is global
    _generation += 1


os.register_at_fork(after_in_child=_count_fork)
