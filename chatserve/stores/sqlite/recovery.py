"""What a crash left open is ended when the store is opened, in one transaction."""

from __future__ import annotations

from sqlite3 import Connection

from chatserve.codec import decode_events
from chatserve.events import NumberedEvent
from chatserve.stores import transitions
from chatserve.stores.sqlite import rows, tables, turns
from chatserve.types import Turn


def recover(db: Connection, *, now: float) -> tuple[Turn, ...]:
    """End every open turn as `interrupted`; return them as they now are."""
    open_sessions = db.execute(
        "SELECT DISTINCT session.n, owner, session_id FROM turn JOIN session USING (session_id)"
        " WHERE status IN ('queued', 'running') ORDER BY session.n"
    ).fetchall()
    return tuple(turn for _, *session in open_sessions for turn in _recover_session(db, *session, now=now))


def _recover_session(db: Connection, owner: str, session_id: str, *, now: float) -> list[Turn]:
    found = db.execute(
        "SELECT * FROM turn WHERE session_id = ? AND status IN ('queued', 'running') ORDER BY status = 'queued', n",
        (session_id,),
    ).fetchall()
    opened = list(map(rows.turn_of, found))
    events = _drop_log(db, session_id, opened)
    return [_end(db, owner, turn, events, now=now, is_first=turn is opened[0]) for turn in opened]


def _drop_log(db: Connection, session_id: str, opened: list[Turn]) -> list[NumberedEvent]:
    """Remove the log of a session; return what it told of its open turns."""
    first_seq = min((turn.first_seq for turn in opened if turn.first_seq is not None), default=None)
    payloads = db.execute(
        "SELECT payload FROM segment WHERE session_id = ? AND last_seq >= ? ORDER BY last_seq", (session_id, first_seq)
    ).fetchall()
    db.execute("DELETE FROM segment WHERE session_id = ?", (session_id,))
    return [event for (payload,) in payloads for event in decode_events(payload)]


def _end(db: Connection, owner: str, turn: Turn, events: list[NumberedEvent], *, now: float, is_first: bool) -> Turn:
    if turn.status == "queued":
        turn = turns.start_turn(db, owner, turn.session_id, turn.turn_id, now=now).turn
    session = tables.get_session(db, owner, turn.session_id)
    done_seq = transitions.next_done_seq(session, is_first)
    return turns.commit_turn(db, transitions.interrupt_turn(session, turn, events, done_seq, now)).turn
