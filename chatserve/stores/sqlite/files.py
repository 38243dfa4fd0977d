"""Operations on file records. Each runs in a transaction of its own."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection

from chatserve.core.types import StoredFile
from chatserve.stores import refusals
from chatserve.stores.sqlite import rows, tables


def add_file(db: Connection, file: StoredFile) -> None:
    """Record a file. Raises: SessionUnknown."""
    session = None if file.session_id is None else tables.get_session(db, file.owner, file.session_id)
    tables.insert_file(db, file)
    if session is not None:
        tables.attach_file(db, session, file.file_id)


def get_files(db: Connection, owner: str, file_ids: Sequence[str]) -> tuple[StoredFile, ...]:
    """Return these files, in order. Raises: FileUnknown."""
    return tuple(_get_file(db, owner, file_id) for file_id in file_ids)


def _get_file(db: Connection, owner: str, file_id: str) -> StoredFile:
    query = (
        "SELECT *, (SELECT session_id FROM file_session WHERE file_session.file_id = file.file_id ORDER BY n LIMIT 1)"
        " FROM file WHERE file_id = ? AND owner = ?"
    )
    return rows.file_of(tables.get(db, query, (file_id, owner), refusals.file_unknown(file_id)))


def known_files(db: Connection, file_ids: Sequence[str]) -> frozenset[str]:
    """Return those of the ids that are recorded."""
    query = "SELECT file_id FROM file WHERE file_id IN (SELECT value FROM json_each(?))"
    return frozenset(tables.ids(db, query, (rows.text(file_ids),)))


def attach_files(db: Connection, owner: str, session_id: str, file_ids: Sequence[str]) -> None:
    """Attach files to a session. Raises: FileUnknown, SessionUnknown."""
    session = tables.get_session(db, owner, session_id)
    for file in get_files(db, owner, file_ids):
        tables.attach_file(db, session, file.file_id)
