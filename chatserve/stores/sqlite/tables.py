"""The vocabulary of operations: one statement about one table per function, values in and out.

Nothing here begins or ends a transaction, and nothing decides: operations do (`sessions`, `turns`, `histories`, …).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from sqlite3 import Connection
from typing import Final

from chatserve.codec import dumps, encode_events
from chatserve.events import NumberedEvent
from chatserve.stores import branches, transitions
from chatserve.stores.sqlite import rows
from chatserve.stores.transitions import TurnPlace
from chatserve.types import Message, Session, StoredFile, Turn

BRANCH: Final = """
    WITH RECURSIVE branch (n, message_id, parent_id, depth) AS (
        SELECT n, message_id, parent_id, 0 FROM message WHERE message_id = ? AND session_id = ?
        UNION ALL
        SELECT message.n, message.message_id, message.parent_id, depth + 1
        FROM branch JOIN message ON message.message_id = branch.parent_id
    )
"""
"""The branch that ends with a message (its id and its session's are the parameters); depth 0 is the newest."""

# --- sessions ----------------------------------------------------------------------------------------------------


def insert_session(db: Connection, session: Session) -> None:
    """Write a session that is not there."""
    db.execute(
        "INSERT INTO session (session_id, owner, title, metadata, state, version, head, last_seq, created_at,"
        " updated_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows.session_row(session),
    )


def has_session(db: Connection, session_id: str) -> bool:
    """Whether any owner has a session of this id."""
    return db.execute("SELECT 1 FROM session WHERE session_id = ?", (session_id,)).fetchone() is not None


def get_session(db: Connection, owner: str, session_id: str) -> Session:
    """Return a session. Raises: SessionUnknown."""
    row = db.execute("SELECT * FROM session WHERE session_id = ? AND owner = ?", (session_id, owner)).fetchone()
    if row is None:
        raise transitions.session_unknown(session_id)
    return rows.session_of(row)


def get_session_and_open(db: Connection, owner: str, session_id: str) -> tuple[Session, str | None]:
    """Return a session and the id of the turn that runs, or else waits, in it. Raises: SessionUnknown."""
    row = db.execute(
        "SELECT *, (SELECT turn_id FROM turn WHERE turn.session_id = session.session_id"
        " AND status IN ('queued', 'running') ORDER BY status = 'queued', n LIMIT 1)"
        " FROM session WHERE session_id = ? AND owner = ?",
        (session_id, owner),
    ).fetchone()
    if row is None:
        raise transitions.session_unknown(session_id)
    return rows.session_of(row), row[rows.SESSION_WIDTH]


def save_session(db: Connection, session: Session) -> None:
    """Write all of a session that can change."""
    db.execute(
        "UPDATE session SET title = ?, metadata = ?, state = ?, version = ?, head = ?, last_seq = ?, updated_at = ?"
        " WHERE session_id = ?",
        (
            session.title,
            rows.object_text(session.metadata),
            rows.object_text(session.state),
            session.version,
            session.head,
            session.last_seq,
            session.updated_at,
            session.session_id,
        ),
    )


def save_progress(db: Connection, session: Session) -> None:
    """Write of a session what turns change: version, head, last number, time."""
    db.execute(
        "UPDATE session SET version = ?, head = ?, last_seq = ?, updated_at = ? WHERE session_id = ?",
        (session.version, session.head, session.last_seq, session.updated_at, session.session_id),
    )


# --- messages ----------------------------------------------------------------------------------------------------


def add_messages(db: Connection, session: Session, messages: Sequence[Message]) -> None:
    """Write messages; the files they refer to belong to their session from now on."""
    db.executemany(
        "INSERT INTO message (session_id, message_id, parent_id, turn_id, role, created_at, status, feedback, metadata,"
        " options, content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [rows.message_row(session.session_id, message) for message in messages],
    )
    for file_id in branches.file_ids(messages):
        attach_file(db, session, file_id)


def find_message(db: Connection, session_id: str, message_id: str | None) -> Message | None:
    """Return a message of a session, or None."""
    row = db.execute(
        "SELECT * FROM message WHERE message_id = ? AND session_id = ?", (message_id, session_id)
    ).fetchone()
    return None if row is None else rows.message_of(row)


def taken_ids(db: Connection, messages: Sequence[Message]) -> frozenset[str]:
    """Return those ids of these messages that messages have already, of whatever session."""
    ids = dumps([message.message_id for message in messages]).decode()
    taken = db.execute("SELECT message_id FROM message WHERE message_id IN (SELECT value FROM json_each(?))", (ids,))
    return frozenset(message_id for (message_id,) in taken)


def set_parent(db: Connection, message: Message) -> None:
    """Write the parent of a message: it joins a branch."""
    db.execute("UPDATE message SET parent_id = ? WHERE message_id = ?", (message.parent_id, message.message_id))


def newest_first(db: Connection, session_id: str, head: str | None) -> Iterator[Message]:
    """Walk a branch back from `head`, reading no further than the caller goes."""
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


def insert_turn(db: Connection, turn: Turn, place: TurnPlace, answer_end_id: str | None = None) -> None:
    """Write a turn that is not there."""
    db.execute(
        "INSERT INTO turn (turn_id, session_id, chat, status, user_message_id, created_at, finished_at, finish_reason,"
        " usage, error, first_seq, done_seq, version, follows_head, rollback_turn_id, base_head, answer_end_id, echo)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *rows.turn_row(turn),
            place.follows_head,
            place.rollback_turn_id,
            place.base_head,
            answer_end_id,
            rows.echo_text(turn),
        ),
    )


def running_turn_id(db: Connection, session_id: str) -> str | None:
    """Return the id of the turn that runs in a session, or None."""
    row = db.execute("SELECT turn_id FROM turn WHERE session_id = ? AND status = 'running'", (session_id,)).fetchone()
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


# --- log and files -----------------------------------------------------------------------------------------------


def add_segment(db: Connection, session_id: str, events: Sequence[NumberedEvent], now: float) -> None:
    """Write events, which stay together as one row."""
    db.execute(
        "INSERT INTO segment (session_id, first_seq, last_seq, stored_at, payload) VALUES (?, ?, ?, ?, ?)",
        (session_id, events[0].seq, events[-1].seq, now, encode_events(events)),
    )


def insert_file(db: Connection, file: StoredFile) -> None:
    """Write the record of a file that is not there; it belongs to no session yet."""
    db.execute(
        "INSERT INTO file (file_id, owner, name, media_type, size, created_at, is_attached)"
        " VALUES (?, ?, ?, ?, ?, ?, 0)",
        (file.file_id, file.owner, file.name, file.media_type, file.size, file.created_at),
    )


def attach_file(db: Connection, session: Session, file_id: str) -> None:
    """Let a file belong to a session, if there is such a file of the session's owner."""
    db.execute(
        "INSERT OR IGNORE INTO file_session (file_id, session_id)"
        " SELECT file_id, ? FROM file WHERE file_id = ? AND owner = ?",
        (session.session_id, file_id, session.owner),
    )
    db.execute("UPDATE file SET is_attached = 1 WHERE file_id = ? AND owner = ?", (file_id, session.owner))


def delete_files(db: Connection, file_ids: Sequence[str]) -> None:
    """Remove file records."""
    db.execute("DELETE FROM file WHERE file_id IN (SELECT value FROM json_each(?))", (dumps(file_ids).decode(),))
