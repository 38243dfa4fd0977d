"""Recovery: when the store opens, it ends the turns that a crash left open, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection

from chatserve.codec import decode_events
from chatserve.core.events import NumberedEvent
from chatserve.core.frozen import replace
from chatserve.core.types import Turn
from chatserve.stores import transitions
from chatserve.stores.sqlite import journal, rows, tables, turns


def recover(db: Connection, *, now: float) -> tuple[Turn, ...]:
    """End every open turn as `interrupted`; return the ended turns."""
    open_sessions = db.execute(
        "SELECT DISTINCT session.n, owner, session_id FROM turn JOIN session USING (session_id)"
        " WHERE status IN ('queued', 'running') ORDER BY session.n"
    ).fetchall()
    journaled = journal.read_journal(db) if open_sessions else {}
    ended: list[Turn] = []
    for _, owner, session_id in open_sessions:
        ended += _recover_session(db, owner, session_id, journaled.get(session_id, ()), now=now)
    journal.settle(db, now=now)
    return tuple(ended)


def _recover_session(
    db: Connection, owner: str, session_id: str, journaled: Sequence[NumberedEvent], *, now: float
) -> list[Turn]:
    found = db.execute(
        "SELECT * FROM turn WHERE session_id = ? AND status IN ('queued', 'running') ORDER BY status = 'queued', n",
        (session_id,),
    ).fetchall()
    opened = list(map(rows.turn_of, found))
    events = transitions.merge_events(_drop_log(db, session_id, opened), journaled)
    _skip_to(db, owner, session_id, events)
    return [_end(db, owner, turn, events, now=now, is_first=turn is opened[0]) for turn in opened]


def _drop_log(db: Connection, session_id: str, opened: list[Turn]) -> list[NumberedEvent]:
    """Remove the log of a session; return its events of the open turns."""
    first_seq = min(turn.first_seq or 0 for turn in opened)  # None if another turn's commit filed its events
    payloads = db.execute(
        "SELECT payload FROM segment WHERE session_id = ? AND last_seq >= ? ORDER BY last_seq", (session_id, first_seq)
    ).fetchall()
    db.execute("DELETE FROM segment WHERE session_id = ?", (session_id,))
    return [event for (payload,) in payloads for event in decode_events(payload)]


def _skip_to(db: Connection, owner: str, session_id: str, events: Sequence[NumberedEvent]) -> None:
    """Make the session's log go on after the last known event."""
    session = tables.get_session(db, owner, session_id)
    if events and events[-1].seq > session.last_seq:
        tables.save_progress(db, [replace(session, last_seq=events[-1].seq)])


def _end(db: Connection, owner: str, turn: Turn, events: list[NumberedEvent], *, now: float, is_first: bool) -> Turn:
    if turn.status == "queued":
        turn = turns.start_turn(db, owner, turn.session_id, turn.turn_id, now=now).turn
    session = tables.get_session(db, owner, turn.session_id)
    done_seq = transitions.next_done_seq(session, is_first)
    return turns.commit_turn(db, transitions.interrupt_turn(session, turn, events, done_seq, now)).turn
