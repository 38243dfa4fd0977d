"""Operations on the log: append and read events. Each runs in a transaction of its own."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection

from chatserve.codec import decode_events
from chatserve.contracts.store import EventPage
from chatserve.core.events import LogEntry, NumberedEvent, last_seq_of
from chatserve.stores import refusals, transitions
from chatserve.stores.sqlite import tables


def append_events(db: Connection, session_id: str, events: Sequence[LogEntry], *, now: float) -> None:
    """Store events that are not stored yet, as one row. Raises: SessionUnknown."""
    unseen = transitions.unseen_events(_last_seq(db, session_id), events)
    if not unseen:
        return
    tables.add_segments(db, [(session_id, unseen, now)])
    db.execute("UPDATE session SET last_seq = ? WHERE session_id = ?", (last_seq_of(unseen[-1]), session_id))
    for turn_id, seq in transitions.first_seqs(unseen).items():
        db.execute(
            "UPDATE turn SET first_seq = ? WHERE turn_id = ? AND session_id = ? AND first_seq IS NULL",
            (seq, turn_id, session_id),
        )


def _last_seq(db: Connection, session_id: str) -> int:
    query = "SELECT last_seq FROM session WHERE session_id = ?"
    (last_seq,) = tables.get(db, query, (session_id,), refusals.session_unknown(session_id))
    return int(last_seq)


def read_events(db: Connection, session_id: str, *, after: int, limit: int) -> EventPage:
    """Return the stored events after a cursor: whole rows until there are `limit` events. Raises: SessionUnknown."""
    last_seq = _last_seq(db, session_id)
    oldest = db.execute(
        "SELECT first_seq FROM segment WHERE session_id = ? ORDER BY last_seq LIMIT 1", (session_id,)
    ).fetchone()
    events: list[NumberedEvent] = []
    for (payload,) in db.execute(
        "SELECT payload FROM segment WHERE session_id = ? AND last_seq > ? ORDER BY last_seq", (session_id, after)
    ):
        events.extend(event for event in decode_events(payload) if event.seq > after)
        if len(events) >= limit:
            break
    return EventPage(tuple(events), oldest[0] if oldest else last_seq + 1, last_seq)
