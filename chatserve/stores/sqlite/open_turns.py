"""The turns that are open, as this process knows them: what the journal must keep.

Lives in the event loop's thread. Knows no connection.
"""

from __future__ import annotations

from typing import NamedTuple


class NewRecord(NamedTuple):
    """A record the journal is to have, and what it must keep beside it.

    Records are numbered in the order of their making. Those up to `settled` tell of no turn that is open. `session_ids`
    are the sessions with an open turn; None where no record is so old that this matters.
    """

    number: int
    settled: int
    session_ids: frozenset[str] | None


class _Begun(NamedTuple):
    session_id: str
    after_record: int


class OpenTurns:
    """Turns from the moment they are to begin until their end was committed."""

    def __init__(self) -> None:
        self._turns: dict[str, _Begun] = {}  # in the order in which they began
        self._newest_record = 0

    def __len__(self) -> int:
        return len(self._turns)

    def begin(self, turn_id: str, session_id: str) -> None:
        """Count in a turn that is to begin. The journal tells of it from now on, and not before."""
        self._turns[turn_id] = _Begun(session_id, self._newest_record)

    def forget(self, turn_id: str) -> None:
        """Count out a turn that is not open, or not any more."""
        self._turns.pop(turn_id, None)

    def next_record(self, old_after: int) -> NewRecord:
        """Return what the journal must know of a new record. `old_after`: how many follow one that is old."""
        settled = next(iter(self._turns.values())).after_record if self._turns else self._newest_record
        self._newest_record += 1
        has_old = self._newest_record - settled > old_after
        sessions = frozenset(begun.session_id for begun in self._turns.values()) if has_old else None
        return NewRecord(self._newest_record, settled, sessions)
