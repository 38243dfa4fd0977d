"""Admission: limits how many turns of each chat run at once, queues the others, estimates their wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Literal

from chatserve.chat_function import Chat
from chatserve.core.errors import QueueFull
from chatserve.engine.turns.turn import RunningTurn

_SMOOTHING = 0.2


class Admission:
    """Slots for the running turns of a chat (`limit` None: no limit), and a queue for the others."""

    def __init__(self, limit: int | None, max_queue: int) -> None:
        self._limit = limit
        self._max_queue = max_queue
        self._running = 0
        self._expected = 0  # turns that will wait once they are stored
        self._waiting: deque[RunningTurn] = deque()
        self._mean_turn_s = 0.0

    def has_slot(self) -> bool:
        """True if another turn may run now."""
        return self._limit is None or self._running < self._limit

    def take(self, *, waits: bool) -> Literal["running", "queued"]:
        """Take a slot, or a place in the queue if the turn `waits` or no slot is free. Raises: QueueFull."""
        if not waits and self.has_slot():
            self._running += 1
            return "running"
        if len(self._waiting) + self._expected >= self._max_queue:
            raise QueueFull(f"{len(self._waiting)} turns wait already; try again later", max_queue=self._max_queue)
        self._expected += 1
        return "queued"

    def give_back(self, status: Literal["running", "queued"]) -> None:
        """Return the slot or place that `take` took for a turn that was not accepted."""
        if status == "running":
            self._running -= 1
        else:
            self._expected -= 1

    def queue(self, turn: RunningTurn) -> int:
        """Add an accepted turn to the queue; return its position, from 1."""
        self._expected -= 1
        self._waiting.append(turn)
        return len(self._waiting)

    def next_turns(self) -> Iterator[RunningTurn]:
        """Yield the turns that may start now, the longest waiting first, and take a slot for each."""
        for turn in list(self._waiting):
            if not self.has_slot():
                return
            if turn.room.is_free_for(turn.turn_id):
                self._waiting.remove(turn)
                self._running += 1
                yield turn

    def leave(self, turn: RunningTurn, now: float) -> None:
        """Free the slot or the place of an ended turn; note how long the turn took."""
        if turn.started_at is None and turn in self._waiting:
            self._waiting.remove(turn)
            return
        self._running -= 1
        if turn.started_at is not None:
            taken_s = now - turn.started_at
            self._mean_turn_s += (taken_s - self._mean_turn_s) * (_SMOOTHING if self._mean_turn_s else 1)

    def eta_s(self, position: int) -> float | None:
        """Return the estimated wait of the turn at `position` (from 1), or None before any turn has ended."""
        if not self._mean_turn_s:
            return None
        return round(self._mean_turn_s * position / (self._limit or 1), 3)


def admissions_of(chats: Mapping[str, Chat]) -> Mapping[str, Admission]:
    """Return an admission for each chat, by name."""
    return {name: Admission(chat.options.concurrency_limit, chat.options.max_queue) for name, chat in chats.items()}
