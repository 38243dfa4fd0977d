"""The open turns of this process: they decide what the journal must keep.

Used only in the event loop's thread. Knows no connection.
"""

from __future__ import annotations

from typing import NamedTuple


class NewRecord(NamedTuple):
    """The number of a new journal record, and which older records the journal must keep.

    Records are numbered in order. Those up to `settled` hold no events of open turns. `session_ids` are the sessions
    with an open turn; None while no record is old enough for this to matter.
    """

    number: int
    settled: int
    session_ids: frozenset[str] | None


class _Begun(NamedTuple):
    session_id: str
    after_record: int


class OpenTurns:
    """Turns from just before they begin until their end is committed."""

    def __init__(self) -> None:
        self._turns: dict[str, _Begun] = {}  # in the order in which they began
        self._newest_record = 0

    def __len__(self) -> int:
        return len(self._turns)

    def begin(self, turn_id: str, session_id: str) -> None:
        """Add a turn that is about to begin. Only later journal records can hold events of it."""
        self._turns[turn_id] = _Begun(session_id, self._newest_record)

    def forget(self, turn_id: str) -> None:
        """Remove a turn that is not open, if it is known."""
        self._turns.pop(turn_id, None)

    def next_record(self, old_after: int) -> NewRecord:
        """Return what the journal needs for a new record. A record is old once `old_after` others have followed it."""
        settled = next(iter(self._turns.values())).after_record if self._turns else self._newest_record
        self._newest_record += 1
        has_old = self._newest_record - settled > old_after
        sessions = frozenset(begun.session_id for begun in self._turns.values()) if has_old else None
        return NewRecord(self._newest_record, settled, sessions)
