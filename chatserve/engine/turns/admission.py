"""How many turns of one chat run at once, who waits, and for how long about."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Waiting = TypeVar("Waiting")
_SMOOTHING = 0.2


class Admission(Generic[Waiting]):
    """Slots for running turns of a chat (`limit` None: as many as come), and a queue for the others."""

    def __init__(self, limit: int | None, max_queue: int) -> None:
        self.limit = limit
        self.max_queue = max_queue
        self.running = 0
        self.expected = 0  # turns that will wait, as soon as they are written down
        self.waiting: deque[Waiting] = deque()
        self._mean_turn_s = 0.0

    def has_slot(self) -> bool:
        """True when another turn may run now."""
        return self.limit is None or self.running < self.limit

    @property
    def queue_is_full(self) -> bool:
        """True when no more turns may wait."""
        return len(self.waiting) + self.expected >= self.max_queue

    def enter(self) -> None:
        """Take a slot."""
        self.running += 1

    def leave(self, seconds: float | None = None) -> None:
        """Give a slot back; `seconds` is how long the turn took, if it ran."""
        self.running -= 1
        if seconds is not None:
            self._mean_turn_s += (seconds - self._mean_turn_s) * (_SMOOTHING if self._mean_turn_s else 1)

    def eta_s(self, position: int) -> float | None:
        """Return about how long the turn at `position` (from 1) waits, or None before any turn has ended."""
        if not self._mean_turn_s:
            return None
        return round(self._mean_turn_s * position / (self.limit or 1), 3)
