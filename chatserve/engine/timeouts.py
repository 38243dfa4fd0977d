"""One timer of the event loop for many items with the same timeout.

A timer for each item would cost more than most of the timed work: the loop creates it, adds it to its heap and removes
it again, and a larger heap slows down all other timers.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from math import inf
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Timeouts(Generic[Item]):
    """Calls `expire` with each item `after_s` after it was added, unless it was discarded before."""

    def __init__(self, after_s: float, expire: Callable[[Item], object]) -> None:
        self.after_s = after_s
        self._expire = expire
        self._due: OrderedDict[Item, float] = OrderedDict()  # the oldest first, which is the order of their expiry
        self._is_armed = False

    def __len__(self) -> int:
        return len(self._due)

    def add(self, item: Item) -> None:
        """Start the timeout of an item, unless it has one."""
        loop = asyncio.get_running_loop()
        self._due[item] = loop.time() + self.after_s
        if not self._is_armed:
            self._arm(loop, self.after_s)

    def __contains__(self, item: Item) -> bool:
        return item in self._due

    def discard(self, item: Item) -> None:
        """Cancel the timeout of an item, if it has one."""
        self._due.pop(item, None)

    def _arm(self, loop: asyncio.AbstractEventLoop, after_s: float) -> None:
        self._is_armed = True
        loop.call_later(after_s, self._expire_due, loop)

    def _expire_due(self, loop: asyncio.AbstractEventLoop) -> None:
        """Expire the items that are due, and set the timer for the next one."""
        try:
            while self._left_s(loop) <= 0:
                item, _ = self._due.popitem(last=False)
                self._expire(item)
        finally:
            self._is_armed = False
            if self._due:
                self._arm(loop, self._left_s(loop))

    def _left_s(self, loop: asyncio.AbstractEventLoop) -> float:
        return next(iter(self._due.values())) - loop.time() if self._due else inf
