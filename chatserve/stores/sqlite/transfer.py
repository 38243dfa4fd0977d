"""Operations that move whole sessions: export and import. Each runs in a transaction of its own."""

from __future__ import annotations

from sqlite3 import Connection, IntegrityError

from chatserve.contracts.store import SessionRecord
from chatserve.core.frozen import replace
from chatserve.core.types import Session, StoredFile
from chatserve.stores import branches, refusals, transitions
from chatserve.stores.sqlite import rows, tables


def export_session(db: Connection, owner: str, session_id: str) -> SessionRecord:
    """Return everything that belongs to a session. Raises: SessionUnknown."""
    session = tables.get_session(db, owner, session_id)
    messages = db.execute("SELECT * FROM message WHERE session_id = ? ORDER BY n", (session_id,))
    turns = db.execute("SELECT * FROM turn WHERE session_id = ? ORDER BY n", (session_id,))
    files = db.execute(
        "SELECT file.*, session_id FROM file JOIN file_session USING (file_id) WHERE session_id = ? ORDER BY file.n",
        (session_id,),
    )
    return SessionRecord(
        session,
        tuple(map(rows.message_of, messages)),
        tuple(map(rows.turn_of, turns)),
        tuple(map(rows.file_of, files)),
    )


def import_session(db: Connection, record: SessionRecord) -> Session:
    """Write a session as it was exported. Raises: SessionExists, InputsInvalid (the messages form no tree)."""
    branches.check_tree(record.messages, record.session.head)
    session = record.session
    ended = [
        (turn, place, next(reversed(branches.answer_ids(record.messages, turn)), None))
        for turn, place in transitions.imported_turns(record)
    ]
    try:
        tables.insert_sessions(db, [session])
        for file in record.files:
            _write_file(db, session, file)
        tables.add_messages(db, (session, transitions.imported_messages(record)))
        tables.insert_turns(db, ended)
    except IntegrityError:
        raise refusals.session_exists(session.session_id) from None
    return session


def _write_file(db: Connection, session: Session, file: StoredFile) -> None:
    """Record a file, or share the existing one. Raises: SessionExists (the file has another owner)."""
    row = db.execute("SELECT owner FROM file WHERE file_id = ?", (file.file_id,)).fetchone()
    if row is None:
        tables.insert_file(db, replace(file, owner=session.owner))
    elif row[0] != session.owner:
        raise refusals.session_exists(session.session_id)
    tables.attach_file(db, session, file.file_id)
