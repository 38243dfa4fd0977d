"""The records of files in this process, and the sessions they belong to. Knows no session's content."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from chatserve.core.frozen import replace
from chatserve.core.types import Session, StoredFile
from chatserve.stores import refusals


class FileRecords:
    """File records by id, each with the ids of its sessions in the order of attachment."""

    def __init__(self) -> None:
        self._files: dict[str, StoredFile] = {}
        self._sessions: dict[str, dict[str, None]] = {}

    def add(self, file: StoredFile) -> None:
        """Record a file; keep a record of the same id. It belongs to its session from now on, if it names one."""
        self._files.setdefault(file.file_id, file)
        sessions = self._sessions.setdefault(file.file_id, {})
        if file.session_id is not None:
            sessions[file.session_id] = None

    def attach(self, session: Session, file_ids: Iterable[str]) -> None:
        """Attach files to a session; those that its owner does not have are ignored."""
        for file_id in file_ids:
            if self.is_owned(file_id, session.owner):
                self._sessions[file_id][session.session_id] = None

    def is_owned(self, file_id: str, owner: str) -> bool:
        """Whether the owner has this file."""
        return file_id in self._files and self._files[file_id].owner == owner

    def is_foreign(self, file: StoredFile, owner: str) -> bool:
        """Whether the record under this id, or else the file itself, has another owner."""
        return self._files.get(file.file_id, file).owner != owner

    def get(self, owner: str, file_id: str) -> StoredFile:
        """Return a file with its first session. Raises: FileUnknown."""
        if not self.is_owned(file_id, owner):
            raise refusals.file_unknown(file_id)
        return replace(self._files[file_id], session_id=next(iter(self._sessions[file_id]), None))

    def known(self, file_ids: Iterable[str]) -> frozenset[str]:
        """Return those of the ids that are recorded."""
        return frozenset(self._files.keys() & set(file_ids))

    def of_session(self, session_id: str) -> tuple[StoredFile, ...]:
        """Return the files of a session."""
        own = [file for file in self._files.values() if session_id in self._sessions[file.file_id]]
        return tuple(replace(file, session_id=session_id) for file in own)

    def detach(self, session_ids: AbstractSet[str]) -> list[str]:
        """Remove sessions from all files; drop the files that then belong to none, and return their ids."""
        freed = [file_id for file_id, sessions in self._sessions.items() if sessions and sessions.keys() <= session_ids]
        for sessions in self._sessions.values():
            for session_id in session_ids:
                sessions.pop(session_id, None)
        return self._drop(freed)

    def drop_owned(self, owner: str) -> list[str]:
        """Drop an owner's files and return their ids."""
        return self._drop([file.file_id for file in self._files.values() if file.owner == owner])

    def drop_loose(self, created_before: float, limit: int) -> list[str]:
        """Drop up to `limit` old files that belong to no session, and return their ids."""
        old = [file.file_id for file in self._files.values() if file.created_at < created_before]
        return self._drop([file_id for file_id in old if not self._sessions[file_id]][:limit])

    def _drop(self, file_ids: list[str]) -> list[str]:
        for file_id in file_ids:
            del self._files[file_id], self._sessions[file_id]
        return file_ids
