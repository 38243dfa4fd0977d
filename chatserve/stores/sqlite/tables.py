"""What operations are made of: functions that execute one statement on one table, with values in and out.

The statements for turns take many rows at once, because turns of different sessions are written together. Nothing here
begins or ends a transaction or makes a decision: operations do that (`sessions`, `turns`, `histories`, …).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from sqlite3 import Connection
from typing import Final

from chatserve.codec import encode_events
from chatserve.contracts.turns import Idempotency
from chatserve.core.events import LogEntry, last_seq_of
from chatserve.core.types import Message, Session, StoredFile, Turn
from chatserve.stores import branches, refusals
from chatserve.stores.sqlite import rows
from chatserve.stores.sqlite.statements import Statement, insert, update
from chatserve.stores.transitions import TurnPlace

BRANCH: Final = """
    WITH RECURSIVE branch (n, message_id, parent_id, depth) AS (
        SELECT n, message_id, parent_id, 0 FROM message WHERE message_id = ? AND session_id = ?
        UNION ALL
        SELECT message.n, message.message_id, message.parent_id, depth + 1
        FROM branch JOIN message ON message.message_id = branch.parent_id
    )
"""
"""The branch that ends with a message. The parameters are its id and its session's id; depth 0 is the newest."""


_INSERT_SESSIONS: Final = insert("session", *rows.SESSION.names)
_SELECT_SESSIONS_AND_OPEN: Final = Statement(
    "SELECT *, (SELECT turn_id FROM turn WHERE turn.session_id = session.session_id"
    " AND status IN ('queued', 'running') ORDER BY status = 'queued', n LIMIT 1)"
    " FROM session WHERE session_id IN ({rows})",
    columns=1,
)
_SAVE_SESSIONS: Final = update("session", *rows.SESSION_CHANGES.names)
_SAVE_PROGRESS: Final = update("session", *rows.SESSION_PROGRESS.names)
_INSERT_MESSAGES: Final = insert("message", "session_id", *rows.MESSAGE.names)
_SAVE_FEEDBACK: Final = update("message", *rows.FEEDBACK.names)
_INSERT_TURNS: Final = insert("turn", *rows.TURN.names, *rows.PLACE.names, "answer_end_id")
_SELECT_TURNS: Final = Statement(
    "SELECT session.*, turn.* FROM turn JOIN session USING (session_id) WHERE turn_id IN ({rows})", columns=1
)
_SAVE_ENDS: Final = update("turn", *rows.TURN_END.names, "answer_end_id")
_INSERT_SEGMENTS: Final = insert("segment", "session_id", "first_seq", "last_seq", "stored_at", "payload")

_FOR_TURNS: Final = (
    _INSERT_SESSIONS,
    _SELECT_SESSIONS_AND_OPEN,
    _SAVE_PROGRESS,
    _INSERT_MESSAGES,
    _INSERT_TURNS,
    _SELECT_TURNS,
    _SAVE_ENDS,
    _INSERT_SEGMENTS,
)


def get(db: Connection, query: str, parameters: Sequence[object], unknown: Exception) -> rows.Row:
    """Return the one row that a query finds. Raises: `unknown`, if it finds none."""
    row: rows.Row | None = db.execute(query, parameters).fetchone()
    if row is None:
        raise unknown
    return row


def ids(db: Connection, query: str, parameters: Sequence[object]) -> tuple[str, ...]:
    """Return the ids that a query finds, or that a statement returns."""
    return tuple(found for (found,) in db.execute(query, parameters).fetchall())


def prepare(db: Connection) -> None:
    """Prepare the statements that turns need, so that no turn waits for that."""
    for statement in _FOR_TURNS:
        statement.prepare(db)


# --- sessions ----------------------------------------------------------------------------------------------------


def insert_sessions(db: Connection, sessions: Sequence[Session]) -> None:
    """Write new sessions."""
    _INSERT_SESSIONS.run(db, [rows.SESSION.row(session) for session in sessions])


def has_session(db: Connection, session_id: str) -> bool:
    """Whether any owner has a session with this id."""
    return db.execute("SELECT 1 FROM session WHERE session_id = ?", (session_id,)).fetchone() is not None


def get_session(db: Connection, owner: str, session_id: str) -> Session:
    """Return a session. Raises: SessionUnknown."""
    query = "SELECT * FROM session WHERE session_id = ? AND owner = ?"
    return rows.session_of(get(db, query, (session_id, owner), refusals.session_unknown(session_id)))


def find_sessions_and_open(db: Connection, session_ids: Iterable[str]) -> dict[str, tuple[Session, str | None]]:
    """Return sessions of any owner, each with the id of its running or else its first queued turn."""
    found = _SELECT_SESSIONS_AND_OPEN.run(db, [(session_id,) for session_id in session_ids])
    return {row[1]: (rows.session_of(row), row[rows.SESSION_WIDTH]) for row in found}


def get_session_and_open(db: Connection, owner: str, session_id: str) -> tuple[Session, str | None]:
    """Return a session and the id of its running or else its first queued turn. Raises: SessionUnknown."""
    found = find_sessions_and_open(db, [session_id]).get(session_id)
    if found is None or found[0].owner != owner:
        raise refusals.session_unknown(session_id)
    return found


def save_sessions(db: Connection, sessions: Iterable[Session]) -> None:
    """Write everything of sessions that can change."""
    _SAVE_SESSIONS.run(db, [rows.SESSION_CHANGES.row(session) for session in sessions])


def save_progress(db: Connection, sessions: Iterable[Session]) -> None:
    """Write what turns change in sessions: version, head, last event number, time."""
    _SAVE_PROGRESS.run(db, [rows.SESSION_PROGRESS.row(session) for session in sessions])


# --- messages ----------------------------------------------------------------------------------------------------


def add_messages(db: Connection, *added: tuple[Session, Sequence[Message]]) -> None:
    """Write messages of sessions, and attach the files they refer to to their session."""
    _INSERT_MESSAGES.run(
        db, [(session.session_id, *rows.MESSAGE.row(message)) for session, messages in added for message in messages]
    )
    for session, messages in added:
        for file_id in branches.file_ids(messages):
            attach_file(db, session, file_id)


def find_message(db: Connection, session_id: str, message_id: str | None) -> Message | None:
    """Return a message of a session, or None."""
    row = db.execute(
        "SELECT * FROM message WHERE message_id = ? AND session_id = ?", (message_id, session_id)
    ).fetchone()
    return None if row is None else rows.message_of(row)


def taken_ids(db: Connection, messages: Sequence[Message]) -> frozenset[str]:
    """Return those ids of these messages that are in use in any session."""
    wanted = rows.text([message.message_id for message in messages])
    query = "SELECT message_id FROM message WHERE message_id IN (SELECT value FROM json_each(?))"
    return frozenset(ids(db, query, (wanted,)))


def set_parent(db: Connection, message: Message) -> None:
    """Write the parent of a message that joins a branch."""
    db.execute("UPDATE message SET parent_id = ? WHERE message_id = ?", (message.parent_id, message.message_id))


def set_status(db: Connection, message_id: str | None, status: str | None) -> None:
    """Write the status of a user message whose turn ended without an answer."""
    db.execute("UPDATE message SET status = ? WHERE message_id = ?", (status, message_id))


def save_feedback(db: Connection, message: Message) -> None:
    """Write the feedback of a message."""
    _SAVE_FEEDBACK.run(db, [rows.FEEDBACK.row(message)])


def newest_first(db: Connection, session_id: str, head: str | None) -> Iterator[Message]:
    """Walk a branch back from `head`. Reads only as far as the caller iterates."""
    message = find_message(db, session_id, head)
    while message is not None:
        yield message
        message = None if message.parent_id is None else find_message(db, session_id, message.parent_id)


def read_branch(db: Connection, session_id: str, head: str | None) -> tuple[Message, ...]:
    """Return the messages from the first to `head`, oldest first."""
    if head is None:
        return ()
    found = db.execute(
        BRANCH + " SELECT message.* FROM branch JOIN message USING (n) ORDER BY depth DESC",  # noqa: S608 constants
        (head, session_id),
    )
    return tuple(map(rows.message_of, found))


def find_prompt(db: Connection, session: Session) -> Message | None:
    """Return the message that began the last turn of the current branch."""
    head = find_message(db, session.session_id, session.head)
    return branches.find_prompt(newest_first(db, session.session_id, session.head), turn_of_message(db, head))


# --- turns -------------------------------------------------------------------------------------------------------


def insert_turns(db: Connection, turns: Iterable[tuple[Turn, TurnPlace, str | None]]) -> None:
    """Write new turns, each with its place and the id of the last message of its answer."""
    _INSERT_TURNS.run(db, [(*rows.TURN.row(turn), *rows.PLACE.row(place), end_id) for turn, place, end_id in turns])


def find_turns(db: Connection, turn_ids: Iterable[str]) -> dict[str, tuple[Session, Turn, TurnPlace]]:
    """Return turns of any owner, each with its session and its place."""
    found: dict[str, tuple[Session, Turn, TurnPlace]] = {}
    for row in _SELECT_TURNS.run(db, [(turn_id,) for turn_id in turn_ids]):
        turn_row = row[rows.SESSION_WIDTH :]
        found[turn_row[1]] = rows.session_of(row), rows.turn_of(turn_row), rows.place_of(turn_row)
    return found


def save_ends(db: Connection, turns: Iterable[tuple[Turn, str | None]]) -> None:
    """Write what its end changes in each turn, and the id of the last message of its answer."""
    _SAVE_ENDS.run(db, [(*rows.TURN_END.row(turn), end_id) for turn, end_id in turns])


def running_turn_id(db: Connection, session_id: str) -> str | None:
    """Return the id of the turn that runs in a session, or None."""
    row = db.execute(  # the first condition on `status` is that of the index
        "SELECT turn_id FROM turn WHERE session_id = ? AND status IN ('queued', 'running') AND status = 'running'",
        (session_id,),
    ).fetchone()
    return None if row is None else str(row[0])


def find_turn(db: Connection, session_id: str, turn_id: str) -> tuple[Turn, TurnPlace] | None:
    """Return a turn of a session and its place, or None."""
    row = db.execute("SELECT * FROM turn WHERE turn_id = ? AND session_id = ?", (turn_id, session_id)).fetchone()
    return None if row is None else (rows.turn_of(row), rows.place_of(row))


def turn_of_message(db: Connection, message: Message | None) -> Turn | None:
    """Return the turn a message belongs to, or None."""
    if message is None or message.turn_id is None:
        return None
    row = db.execute("SELECT * FROM turn WHERE turn_id = ?", (message.turn_id,)).fetchone()
    return None if row is None else rows.turn_of(row)


def save_key(
    db: Connection, owner: str, key: Idempotency, *, turn_id: str | None = None, made_id: str | None = None
) -> None:
    """Write a key with the id of the turn it made, or of what else it makes."""
    db.execute(
        "INSERT OR REPLACE INTO idempotency (owner, key, body_hash, turn_id, made_id, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (owner, key.key, key.body_hash, turn_id, made_id, key.expires_at),
    )


# --- log and files -----------------------------------------------------------------------------------------------


def add_segments(db: Connection, segments: Iterable[tuple[str, Sequence[LogEntry], float]]) -> None:
    """Write events of sessions with the time. The events of each session become one row."""
    _INSERT_SEGMENTS.run(
        db,
        [
            (session_id, events[0].seq, last_seq_of(events[-1]), now, encode_events(events))
            for session_id, events, now in segments
        ],
    )


def insert_file(db: Connection, file: StoredFile) -> None:
    """Write the record of a new file, which belongs to no session yet."""
    db.execute(
        "INSERT INTO file (file_id, owner, name, media_type, size, created_at, is_attached)"
        " VALUES (?, ?, ?, ?, ?, ?, 0)",
        rows.FILE.row(file),
    )


def attach_file(db: Connection, session: Session, file_id: str) -> None:
    """Attach a file to a session if the session's owner has such a file."""
    db.execute(
        "INSERT OR IGNORE INTO file_session (file_id, session_id)"
        " SELECT file_id, ? FROM file WHERE file_id = ? AND owner = ?",
        (session.session_id, file_id, session.owner),
    )
    db.execute("UPDATE file SET is_attached = 1 WHERE file_id = ? AND owner = ?", (file_id, session.owner))
