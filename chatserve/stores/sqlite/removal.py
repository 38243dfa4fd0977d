"""Operations that remove: delete, erase, purge. Each runs in a transaction of its own.

Foreign keys delete a session's messages, turns, segments, keys and file links together with it.
"""

from __future__ import annotations

from sqlite3 import Connection

from chatserve.contracts.store import Purge, Purged
from chatserve.stores import refusals
from chatserve.stores.sqlite import journal, rows, tables


def delete_session(db: Connection, owner: str, session_id: str, *, if_version: int | None = None) -> tuple[str, ...]:
    """Delete a session; return the ids of files that now belong to no session.

    Raises: SessionUnknown, VersionConflict, SessionBusy.
    """
    session, open_turn_id = tables.get_session_and_open(db, owner, session_id)
    refusals.check_version(session, if_version)
    refusals.check_idle(session_id, open_turn_id)
    journal.forget(db, [session_id])
    return _remove_session(db, session_id)


def _remove_session(db: Connection, session_id: str) -> tuple[str, ...]:
    freed = tables.ids(
        db,
        "SELECT file_id FROM file_session AS own WHERE session_id = ? AND NOT EXISTS (SELECT 1 FROM file_session"
        " AS other WHERE other.file_id = own.file_id AND other.session_id <> own.session_id) ORDER BY file_id",
        (session_id,),
    )
    db.execute("DELETE FROM session WHERE session_id = ?", (session_id,))
    db.execute("DELETE FROM file WHERE file_id IN (SELECT value FROM json_each(?))", (rows.text(freed),))
    return freed


def erase_owner(db: Connection, owner: str) -> tuple[str, ...]:
    """Remove everything that belongs to an owner; return the ids of files to unlink. Raises: SessionBusy."""
    busy = db.execute(
        "SELECT session_id, turn_id FROM turn JOIN session USING (session_id)"
        " WHERE owner = ? AND status IN ('queued', 'running') ORDER BY session.n, status = 'queued', turn.n LIMIT 1",
        (owner,),
    ).fetchone()
    if busy is not None:
        refusals.check_idle(*busy)
    journal.forget(db, tables.ids(db, "DELETE FROM session WHERE owner = ? RETURNING session_id", (owner,)))
    db.execute("DELETE FROM idempotency WHERE owner = ?", (owner,))
    return tables.ids(db, "DELETE FROM file WHERE owner = ? RETURNING file_id", (owner,))


def purge(db: Connection, purge: Purge) -> Purged:
    """Remove expired and old rows."""
    journal.settle(db, now=purge.now)
    sessions, freed = _purge_sessions(db, purge)
    loose = _purge_files(db, purge)
    return Purged(sessions, (*freed, *loose), _purge_segments(db, purge), _purge_keys(db, purge))


def _purge_sessions(db: Connection, purge: Purge) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remove expired sessions one by one, until about `limit` rows are deleted."""
    expired = tables.ids(
        db,
        "SELECT session_id FROM session WHERE (expires_at < ? OR (created_at < ? AND updated_at < ?)) AND NOT EXISTS"
        " (SELECT 1 FROM turn WHERE turn.session_id = session.session_id AND status IN ('queued', 'running')) LIMIT ?",
        (purge.now, purge.sessions_before, purge.sessions_before, purge.limit),
    )
    removed: list[str] = []
    freed: list[str] = []
    changes = db.total_changes
    for session_id in expired:
        freed.extend(_remove_session(db, session_id))
        removed.append(session_id)
        if db.total_changes - changes >= purge.limit:
            break
    journal.forget(db, removed)
    return tuple(removed), tuple(freed)


def _purge_files(db: Connection, purge: Purge) -> tuple[str, ...]:
    return tables.ids(
        db,
        "DELETE FROM file WHERE n IN (SELECT n FROM file WHERE is_attached = 0 AND created_at < ? LIMIT ?)"
        " RETURNING file_id",
        (purge.files_before, purge.limit),
    )


def _purge_keys(db: Connection, purge: Purge) -> int:
    return db.execute(
        "DELETE FROM idempotency WHERE (owner, key) IN"
        " (SELECT owner, key FROM idempotency WHERE expires_at < ? LIMIT ?)",
        (purge.now, purge.limit),
    ).rowcount


def _purge_segments(db: Connection, purge: Purge) -> int:
    """Remove the oldest segments, except those of open turns.

    Rows are numbered in the order of insertion across all sessions, so the search ends at the first young row. What is
    removed of a session is therefore always the beginning of its log, even after the clock was set back.
    """
    old: list[int] = []
    for n, stored_at, is_open in db.execute(
        "SELECT n, stored_at, EXISTS (SELECT 1 FROM turn WHERE turn.session_id = segment.session_id"
        " AND status IN ('queued', 'running') AND turn.first_seq <= segment.last_seq) FROM segment ORDER BY n"
    ):
        if stored_at >= purge.events_before or len(old) >= purge.limit:
            break
        if not is_open:
            old.append(n)
    if old:
        db.execute("DELETE FROM segment WHERE n IN (SELECT value FROM json_each(?))", (rows.text(old),))
    return len(old)
