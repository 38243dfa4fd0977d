"""Operations on sessions: create, read, list, change. Each runs in a transaction of its own."""

from __future__ import annotations

from sqlite3 import Connection

from chatserve.contracts.store import Page, SessionChanges
from chatserve.contracts.turns import NewSession
from chatserve.core.types import Session
from chatserve.stores import refusals, transitions
from chatserve.stores.sqlite import rows, tables


def create_session(db: Connection, new: NewSession, *, now: float) -> Session:
    """Create a session with its first messages. Raises: SessionExists."""
    if tables.has_session(db, new.session_id):
        raise refusals.session_exists(new.session_id)
    session = transitions.create_session(new, now)
    tables.insert_sessions(db, [session])
    tables.add_messages(db, (session, new.messages))
    return session


def list_sessions(db: Connection, owner: str, *, after: str | None, limit: int) -> Page:
    """Page through an owner's sessions, most recently created first. Raises: SessionUnknown (`after`)."""
    created_at, n = (float("inf"), 0) if after is None else _cursor(db, owner, after)
    found = db.execute(
        "SELECT * FROM session WHERE owner = ? AND (created_at, n) < (?, ?) ORDER BY created_at DESC, n DESC LIMIT ?",
        (owner, created_at, n, limit + 1),
    )
    sessions = tuple(map(rows.session_of, found))
    return Page(sessions[:limit], sessions[limit - 1].session_id if len(sessions) > limit else None)


def _cursor(db: Connection, owner: str, after: str) -> tuple[float, int]:
    query = "SELECT created_at, n FROM session WHERE session_id = ? AND owner = ?"
    created_at, n = tables.get(db, query, (after, owner), refusals.session_unknown(after))
    return created_at, n


def update_session(
    db: Connection, owner: str, session_id: str, changes: SessionChanges, *, now: float, if_version: int | None = None
) -> Session:
    """Change title, metadata or state. Raises: SessionUnknown, VersionConflict."""
    session = tables.get_session(db, owner, session_id)
    refusals.check_version(session, if_version)
    session = transitions.update_session(session, changes, now)
    tables.save_sessions(db, [session])
    return session
