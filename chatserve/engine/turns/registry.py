"""The open turns of this process, and its most recently ended stateless turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from chatserve.engine.sessions.rooms import Room
from chatserve.engine.turns.turn import RunningTurn


class TurnRegistry:
    """Turns by id. `max_ended_stateless` limits the stateless turns that can be read after their end."""

    def __init__(self, max_ended_stateless: int) -> None:
        self._max_ended_stateless = max_ended_stateless
        self._turns: dict[str, RunningTurn] = {}
        self._ended_stateless: deque[str] = deque()

    @property
    def open_turns(self) -> Sequence[RunningTurn]:
        """The waiting and running turns."""
        return [turn for turn in self._turns.values() if not turn.ended.is_set()]

    def find(self, owner: str, turn_id: str) -> RunningTurn | None:
        """Return a turn of this owner, or None, also for another owner's turn."""
        turn = self._turns.get(turn_id)
        return turn if turn is not None and turn.room.owner == owner else None

    def turns_in(self, room: Room) -> Sequence[RunningTurn]:
        """Return the open turns of a room: the running one, then the waiting ones in their order."""
        ids = [*room.waiting] if room.running is None else [room.running, *room.waiting]
        return [turn for turn_id in ids if (turn := self._turns.get(turn_id)) is not None]

    def add(self, turn: RunningTurn) -> None:
        """Add an open turn."""
        self._turns[turn.turn_id] = turn

    def leave_ended(self, turn: RunningTurn) -> None:
        """Drop an ended turn, which the store has; keep a stateless one for a while, as the store has none."""
        if not turn.room.is_stateless:
            self._turns.pop(turn.turn_id, None)
            return
        self._ended_stateless.append(turn.turn_id)
        if len(self._ended_stateless) > self._max_ended_stateless:
            self._turns.pop(self._ended_stateless.popleft(), None)

    def discard(self, turn_id: str) -> None:
        """Forget an ended turn."""
        self._turns.pop(turn_id, None)

    def erase(self, owner: str) -> None:
        """Forget all ended turns of an owner."""
        for turn_id in [turn_id for turn_id, turn in self._turns.items() if turn.room.owner == owner]:
            del self._turns[turn_id]
