"""The tables, as an ordered list of migrations. Knows no values: `rows` does.

`user_version` counts the migrations applied to a file. Never change a released migration: add a new one at the end, and
add new columns at the end of their table, because rows are read by position. Wide columns come last in a row, so walks
over ids do not read them. Times are seconds since the epoch; JSON is text.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from chatserve.core.errors import ConfigurationError

_FIRST: Final = (
    """
    CREATE TABLE session (
        n INTEGER PRIMARY KEY,
        session_id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        title TEXT,
        metadata TEXT NOT NULL,
        state TEXT NOT NULL,
        version INTEGER NOT NULL,
        head TEXT,
        last_seq INTEGER NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        expires_at REAL
    )
    """,
    "CREATE INDEX session_by_owner ON session (owner, created_at, n)",
    "CREATE INDEX session_by_age ON session (created_at)",
    "CREATE INDEX session_by_expiry ON session (expires_at) WHERE expires_at IS NOT NULL",
    """
    CREATE TABLE message (
        n INTEGER PRIMARY KEY,
        session_id TEXT NOT NULL REFERENCES session (session_id) ON DELETE CASCADE,
        message_id TEXT NOT NULL UNIQUE,
        parent_id TEXT,
        turn_id TEXT,
        role TEXT NOT NULL,
        created_at REAL NOT NULL,
        status TEXT,
        feedback TEXT,
        metadata TEXT,
        options TEXT,
        content TEXT NOT NULL
    )
    """,
    "CREATE INDEX message_by_session ON message (session_id, n)",
    """
    CREATE TABLE turn (
        n INTEGER PRIMARY KEY,
        turn_id TEXT NOT NULL UNIQUE,
        session_id TEXT NOT NULL REFERENCES session (session_id) ON DELETE CASCADE,
        chat TEXT NOT NULL,
        status TEXT NOT NULL,
        user_message_id TEXT,
        created_at REAL NOT NULL,
        finished_at REAL,
        finish_reason TEXT,
        usage TEXT,
        error TEXT,
        first_seq INTEGER,
        done_seq INTEGER,
        version INTEGER,
        follows_head INTEGER NOT NULL,
        rollback_turn_id TEXT,
        base_head TEXT,
        answer_end_id TEXT
    )
    """,
    "CREATE INDEX turn_by_session ON turn (session_id, version)",
    "CREATE INDEX turn_open ON turn (session_id) WHERE status IN ('queued', 'running')",
    "CREATE UNIQUE INDEX turn_running ON turn (session_id) WHERE status = 'running'",
    """
    CREATE TABLE segment (
        n INTEGER PRIMARY KEY,
        session_id TEXT NOT NULL REFERENCES session (session_id) ON DELETE CASCADE,
        first_seq INTEGER NOT NULL,
        last_seq INTEGER NOT NULL,
        stored_at REAL NOT NULL,
        payload BLOB NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX segment_by_session ON segment (session_id, last_seq)",
    "CREATE TABLE journal (n INTEGER PRIMARY KEY, payload BLOB NOT NULL)",
    """
    CREATE TABLE idempotency (
        owner TEXT NOT NULL,
        key TEXT NOT NULL,
        body_hash TEXT NOT NULL,
        turn_id TEXT REFERENCES turn (turn_id) ON DELETE CASCADE,
        made_id TEXT,
        expires_at REAL NOT NULL,
        PRIMARY KEY (owner, key)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX idempotency_by_turn ON idempotency (turn_id)",
    "CREATE INDEX idempotency_by_expiry ON idempotency (expires_at)",
    """
    CREATE TABLE file (
        n INTEGER PRIMARY KEY,
        file_id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        media_type TEXT NOT NULL,
        size INTEGER NOT NULL,
        created_at REAL NOT NULL,
        is_attached INTEGER NOT NULL
    )
    """,
    "CREATE INDEX file_by_owner ON file (owner)",
    "CREATE INDEX file_loose ON file (created_at) WHERE is_attached = 0",
    """
    CREATE TABLE file_session (
        n INTEGER PRIMARY KEY,
        file_id TEXT NOT NULL REFERENCES file (file_id) ON DELETE CASCADE,
        session_id TEXT NOT NULL REFERENCES session (session_id) ON DELETE CASCADE,
        UNIQUE (file_id, session_id)
    )
    """,
    "CREATE INDEX file_session_by_session ON file_session (session_id)",
    "CREATE TABLE probe (count INTEGER NOT NULL)",
    "INSERT INTO probe VALUES (0)",
)

_TURN_ECHO: Final = ("ALTER TABLE turn ADD COLUMN echo TEXT",)

_ONE_INDEX_OF_OPEN_TURNS: Final = (
    "DROP INDEX turn_running",
    "DROP INDEX turn_open",
    # A session has one running turn at most, and any number of queued ones.
    """
    CREATE UNIQUE INDEX turn_open ON turn (session_id, iif(status = 'running', '', turn_id))
        WHERE status IN ('queued', 'running')
    """,
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST, _TURN_ECHO, _ONE_INDEX_OF_OPEN_TURNS)


def migrate(db: sqlite3.Connection, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> None:
    """Bring a file's schema up to date, in one transaction.

    Raises:
        ConfigurationError: the file was written by a newer chatserve.
    """
    db.execute("BEGIN IMMEDIATE")
    seen: int = db.execute("PRAGMA user_version").fetchone()[0]
    if seen > len(migrations):
        db.execute("ROLLBACK")
        raise ConfigurationError(f"schema {seen} is of a newer chatserve; this one knows {len(migrations)}: upgrade it")
    for statements in migrations[seen:]:
        for statement in statements:
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(migrations)}")
    db.execute("COMMIT")
