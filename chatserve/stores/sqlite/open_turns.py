"""The open turns of this process: they decide what the journal must keep.

Used only in the event loop's thread. Knows no connection.
"""

from __future__ import annotations

from typing import NamedTuple


class NewRecord(NamedTuple):
    """The number of a new journal record, and the last record that holds no events of open turns.

    Records are numbered in order.
    """

    number: int
    settled: int


class OpenTurns:
    """Turns from just before they begin until their end is committed."""

    def __init__(self) -> None:
        self._turns: dict[str, int] = {}  # the last record before each, in the order in which they began
        self._newest_record = 0

    def __len__(self) -> int:
        return len(self._turns)

    def begin(self, turn_id: str) -> None:
        """Add a turn that is about to begin. Only later journal records can hold events of it."""
        self._turns[turn_id] = self._newest_record

    def forget(self, turn_id: str) -> None:
        """Remove a turn that is not open, if it is known."""
        self._turns.pop(turn_id, None)

    def next_record(self) -> NewRecord:
        """Return what the journal needs for a new record."""
        settled = next(iter(self._turns.values()), self._newest_record)
        self._newest_record += 1
        return NewRecord(self._newest_record, settled)
