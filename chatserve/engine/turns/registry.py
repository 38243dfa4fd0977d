"""The turns of this process that are open, and the stateless ones that ended last."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from chatserve.engine.sessions.rooms import Room
from chatserve.engine.turns.turn import RunningTurn


class TurnRegistry:
    """Turns by id. `max_ended_stateless` bounds the stateless turns that can be read after their end."""

    def __init__(self, max_ended_stateless: int) -> None:
        self._max_ended_stateless = max_ended_stateless
        self._turns: dict[str, RunningTurn] = {}
        self._ended_stateless: deque[str] = deque()

    @property
    def open_turns(self) -> Sequence[RunningTurn]:
        """The turns that wait or run."""
        return [turn for turn in self._turns.values() if not turn.ended.is_set()]

    def find(self, owner: str, turn_id: str) -> RunningTurn | None:
        """Return a turn of this owner, or None. A foreign turn is an unknown one."""
        turn = self._turns.get(turn_id)
        return turn if turn is not None and turn.room.owner == owner else None

    def turns_in(self, room: Room) -> Sequence[RunningTurn]:
        """Return the open turns of a room: the one that runs, then those that wait, in their order."""
        ids = [*room.waiting] if room.running is None else [room.running, *room.waiting]
        return [turn for turn_id in ids if (turn := self._turns.get(turn_id)) is not None]

    def add(self, turn: RunningTurn) -> None:
        """Take a turn in."""
        self._turns[turn.turn_id] = turn

    def leave_ended(self, turn: RunningTurn) -> None:
        """Leave an ended turn to the store; keep a stateless one, which is nowhere else, for a while."""
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
