"""The journal: the newest events of all running turns, one record per flush, for recovery only.

An event is *filed* once its session's log contains it: the turn was committed, or its events were appended. The journal
no longer needs filed events. Records older than every open turn hold only filed events and are deleted unread. When
records grow old because a turn runs long, each new record takes over what two of them hold that is not filed yet. So
the journal holds little more than the events of running turns, and its cost does not depend on the number of sessions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sqlite3 import Connection
from typing import Final

from chatserve.codec import decode_numbered, dumps, last_number, loads_stored, numbered_json
from chatserve.core.events import LogEntry, NumberedEvent
from chatserve.core.types import Json
from chatserve.stores import transitions
from chatserve.stores.sqlite import log, rows, tables
from chatserve.stores.sqlite.open_turns import NewRecord

OLD_AFTER_RECORDS: Final = 750
"""Half a minute of flushes: by then most turns have ended, and their events are not written again."""


def journal_events(db: Connection, batch: Sequence[tuple[str, Sequence[LogEntry]]], record: NewRecord) -> None:
    """Keep the events of many sessions as one record."""
    entries: list[Json] = [(session_id, numbered_json(events)) for session_id, events in batch if events]
    db.execute("DELETE FROM journal WHERE n <= ?", (record.settled,))
    if record.number - record.settled > OLD_AFTER_RECORDS:
        entries += _take_old(db, record.number - OLD_AFTER_RECORDS)
    db.execute("INSERT INTO journal (n, payload) VALUES (?, ?)", (record.number, dumps(entries)))


def _take_old(db: Connection, until: int) -> list[Json]:
    """Remove the two oldest records up to number `until`; return their entries that are not filed yet."""
    old = db.execute("SELECT n, payload FROM journal WHERE n <= ? ORDER BY n LIMIT 2", (until,)).fetchall()
    if not old:
        return []
    busy = tables.ids(db, "SELECT DISTINCT session_id FROM turn WHERE status IN ('queued', 'running')", ())
    entries = [entry for _, payload in old for entry in loads_stored(payload) if entry[0] in busy]
    filed = _filed_seqs(db, {session_id for session_id, _ in entries})
    db.execute("DELETE FROM journal WHERE n <= ?", (old[-1][0],))
    return [entry for entry in entries if entry[0] in filed and last_number(entry[1]) > filed[entry[0]]]


def _filed_seqs(db: Connection, session_ids: Iterable[str]) -> dict[str, int]:
    """Return the number of the last filed event of each of these sessions, if the session still exists."""
    wanted = rows.text(list(session_ids))
    return dict(
        db.execute(
            "SELECT session_id, last_seq FROM session WHERE session_id IN (SELECT value FROM json_each(?))", (wanted,)
        )
    )


def forget(db: Connection, session_ids: Sequence[str]) -> None:
    """Remove the entries of deleted sessions from the journal: their ids may be used again."""
    if not session_ids:
        return
    needles = rows.text([rows.text(session_id) for session_id in session_ids])
    found = db.execute(
        "SELECT n, payload FROM journal WHERE EXISTS (SELECT 1 FROM json_each(?) WHERE instr(payload, value))",
        (needles,),
    ).fetchall()
    for n, payload in found:
        kept = [entry for entry in loads_stored(payload) if entry[0] not in session_ids]
        db.execute("UPDATE journal SET payload = ? WHERE n = ?", (dumps(kept), n))


def read_journal(db: Connection) -> dict[str, list[NumberedEvent]]:
    """Return the events in the journal by session, in no particular order."""
    events: dict[str, list[NumberedEvent]] = {}
    for (payload,) in db.execute("SELECT payload FROM journal ORDER BY n"):
        for session_id, values in loads_stored(payload):
            events.setdefault(session_id, []).extend(decode_numbered(values))
    return events


def settle(db: Connection, *, now: float) -> None:
    """File the events that no turn will file, and empty the journal. Do nothing while a turn is open."""
    has_records = db.execute("SELECT 1 FROM journal LIMIT 1").fetchone()
    is_open = db.execute("SELECT 1 FROM turn WHERE status IN ('queued', 'running') LIMIT 1").fetchone()
    if has_records is None or is_open is not None:
        return
    journaled = read_journal(db)
    for session_id in _filed_seqs(db, journaled):
        log.append_events(db, session_id, transitions.merge_events(journaled[session_id]), now=now)
    db.execute("DELETE FROM journal")
