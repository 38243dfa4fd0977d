"""The store in one SQLite file: durable, with no other service to run.

Writes go to the one thread that writes, reads to threads that read; nothing here touches the file on the event loop's
thread. Each method names the operation it is. Knows no statements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sqlite3 import Connection

from chatserve.contracts.store import (
    EventPage,
    HistoryMove,
    MovedHistory,
    Page,
    Purge,
    Purged,
    SessionChanges,
    SessionRecord,
)
from chatserve.contracts.turns import (
    BeginTurn,
    BegunTurn,
    CommittedTurn,
    CommitTurn,
    Idempotency,
    NewSession,
    TurnRecord,
)
from chatserve.core.errors import LeaseLost
from chatserve.core.events import LogEntry
from chatserve.core.types import Feedback, Message, Session, StoredFile, Turn
from chatserve.stores import transitions
from chatserve.stores.sqlite import (
    files,
    histories,
    journal,
    keys,
    log,
    recovery,
    removal,
    sessions,
    tables,
    transfer,
    turns,
)
from chatserve.stores.sqlite.database import Database, path_of
from chatserve.stores.sqlite.jobs import Group
from chatserve.stores.sqlite.open_turns import OpenTurns
from chatserve.stores.sqlite.readers import Readers
from chatserve.stores.sqlite.writer import Writer


class SqliteStore:
    """A `Store` in one SQLite file, which one process owns while it is open."""

    shared = False

    def __init__(self, url: str) -> None:
        path = path_of(url)
        self._writer = Writer(Database(path))
        self._readers = Readers(path)
        self._open_turns = OpenTurns()

    async def open(self, *, now: float) -> tuple[Turn, ...]:
        self._open_turns = OpenTurns()
        await self._writer.open()
        self._readers.open()
        try:
            ended = await self._writer.submit(recovery.recover, now=now)
            await self._writer.submit(tables.prepare)
        except BaseException:
            await self.close()
            raise
        return ended

    async def close(self) -> None:
        self._writer.refuse()
        await self._readers.close()
        await self._writer.close()

    async def check(self) -> None:
        await self._writer.submit(_probe)
        await self._readers.submit(_look)

    # sessions

    async def create_session(self, new: NewSession, *, now: float) -> Session:
        return await self._writer.submit(sessions.create_session, new, now=now)

    async def get_session(self, owner: str, session_id: str) -> Session:
        return await self._readers.submit(tables.get_session, owner, session_id)

    async def list_sessions(self, owner: str, *, after: str | None, limit: int) -> Page:
        return await self._readers.submit(sessions.list_sessions, owner, after=after, limit=limit)

    async def update_session(
        self, owner: str, session_id: str, changes: SessionChanges, *, now: float, if_version: int | None = None
    ) -> Session:
        return await self._writer.submit(
            sessions.update_session, owner, session_id, changes, now=now, if_version=if_version
        )

    async def delete_session(self, owner: str, session_id: str, *, if_version: int | None = None) -> tuple[str, ...]:
        return await self._writer.submit(removal.delete_session, owner, session_id, if_version=if_version)

    # turns

    async def begin_turn(self, begin: BeginTurn) -> BegunTurn:
        self._open_turns.begin(begin.turn_id, begin.request.session_id)
        try:
            begun = await self._begin_turn(begin)
        except BaseException:
            self._open_turns.forget(begin.turn_id)
            raise
        if begun.replayed:
            self._open_turns.forget(begin.turn_id)
        return begun

    async def _begin_turn(self, begin: BeginTurn) -> BegunTurn:
        if not transitions.is_plain(begin):
            return await self._writer.submit(turns.begin_turn, begin)
        group = Group(turns.begin_turns, begin.request.session_id)
        return await self._writer.submit_grouped(turns.begin_turn, begin, group)

    async def start_turn(self, owner: str, session_id: str, turn_id: str, *, now: float) -> BegunTurn:
        return await self._writer.submit(turns.start_turn, owner, session_id, turn_id, now=now)

    async def journal_events(
        self, batch: Sequence[tuple[str, Sequence[LogEntry]]], *, now: float, durable: bool
    ) -> None:
        submit = self._writer.submit if durable else self._writer.submit_soft
        await submit(journal.journal_events, batch, self._open_turns.next_record(journal.OLD_AFTER_RECORDS))

    async def append_events(self, session_id: str, events: Sequence[LogEntry], *, now: float) -> None:
        await self._writer.submit(log.append_events, session_id, events, now=now)

    async def commit_turn(self, commit: CommitTurn) -> CommittedTurn:
        group = Group(turns.commit_turns, commit.session_id)
        try:
            committed = await self._writer.submit_grouped(turns.commit_turn, commit, group)
        except LeaseLost:  # it was open no more
            self._open_turns.forget(commit.turn_id)
            raise
        self._open_turns.forget(commit.turn_id)
        return committed

    async def get_turn(self, owner: str, turn_id: str) -> TurnRecord:
        return await self._readers.submit(turns.get_turn, owner, turn_id)

    async def last_turn(self, owner: str, session_id: str) -> TurnRecord | None:
        return await self._readers.submit(turns.last_turn, owner, session_id)

    async def forget_turn(self, owner: str, turn_id: str) -> int:
        return await self._writer.submit(turns.forget_turn, owner, turn_id)

    # messages

    async def get_message(self, owner: str, message_id: str) -> Message:
        return await self._readers.submit(histories.get_message, owner, message_id)

    async def read_branch(self, owner: str, session_id: str, head: str | None) -> tuple[Message, ...]:
        return await self._readers.submit(histories.read_branch, owner, session_id, head)

    async def list_messages(
        self, owner: str, session_id: str, *, after: str | None, limit: int, branches: bool
    ) -> Page:
        return await self._readers.submit(
            histories.list_messages, owner, session_id, after=after, limit=limit, branches=branches
        )

    async def move_history(self, move: HistoryMove) -> MovedHistory:
        return await self._writer.submit(histories.move_history, move)

    async def fork_session(
        self,
        owner: str,
        session_id: str,
        *,
        message_id: str | None,
        new_session_id: str,
        new_ids: Callable[[], str],
        now: float,
    ) -> Session:
        return await self._writer.submit(
            histories.fork_session,
            owner,
            session_id,
            message_id=message_id,
            new_session_id=new_session_id,
            new_ids=new_ids,
            now=now,
        )

    async def set_feedback(
        self, owner: str, message_id: str, feedback: Feedback, *, now: float, if_version: int | None = None
    ) -> tuple[Session, Message]:
        return await self._writer.submit(
            histories.set_feedback, owner, message_id, feedback, now=now, if_version=if_version
        )

    async def claim_key(self, owner: str, idempotency: Idempotency, made_id: str, *, now: float) -> str | None:
        return await self._writer.submit(keys.claim_key, owner, idempotency, made_id, now=now)

    # the log

    async def read_events(self, session_id: str, *, after: int, limit: int) -> EventPage:
        return await self._readers.submit(log.read_events, session_id, after=after, limit=limit)

    # files

    async def add_file(self, file: StoredFile) -> None:
        await self._writer.submit(files.add_file, file)

    async def get_files(self, owner: str, file_ids: Sequence[str]) -> tuple[StoredFile, ...]:
        return await self._readers.submit(files.get_files, owner, file_ids)

    async def known_files(self, file_ids: Sequence[str]) -> frozenset[str]:
        return await self._readers.submit(files.known_files, file_ids)

    async def attach_files(self, owner: str, session_id: str, file_ids: Sequence[str]) -> None:
        await self._writer.submit(files.attach_files, owner, session_id, file_ids)

    # moving and removing

    async def export_session(self, owner: str, session_id: str) -> SessionRecord:
        return await self._readers.submit(transfer.export_session, owner, session_id)

    async def import_session(self, record: SessionRecord) -> Session:
        return await self._writer.submit(transfer.import_session, record)

    async def erase_owner(self, owner: str) -> tuple[str, ...]:
        return await self._writer.submit(removal.erase_owner, owner)

    async def purge(self, purge: Purge) -> Purged:
        return await self._writer.submit(removal.purge, purge)


def _probe(db: Connection) -> None:
    """Write something, durably: whoever asks whether the store answers wants to know whether it can keep anything."""
    db.execute("UPDATE probe SET count = count + 1")


def _look(db: Connection) -> None:
    db.execute("SELECT count FROM probe").fetchone()
