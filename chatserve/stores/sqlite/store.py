"""The store in one SQLite file: durable, without another service to run.

One thread writes, a few threads read; the event loop's thread never touches the file. Knows no SQL statements.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from sqlite3 import Connection
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from chatserve.contracts.turns import BeginTurn, BegunTurn, CommittedTurn, CommitTurn
from chatserve.core.errors import LeaseLost
from chatserve.core.events import LogEntry
from chatserve.core.types import Turn
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

P = ParamSpec("P")
T = TypeVar("T")
Awaited: TypeAlias = Coroutine[Any, Any, T]


def _write(operation: Callable[Concatenate[Connection, P], T]) -> Callable[Concatenate[SqliteStore, P], Awaited[T]]:
    """Return the method that runs an operation in the thread that writes."""

    async def method(self: SqliteStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._writer.submit(operation, *args, **kwargs)

    return method


def _read(operation: Callable[Concatenate[Connection, P], T]) -> Callable[Concatenate[SqliteStore, P], Awaited[T]]:
    """Return the method that runs an operation in a thread that reads."""

    async def method(self: SqliteStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._readers.submit(operation, *args, **kwargs)

    return method


class SqliteStore:
    """A `Store` in one SQLite file, which one process owns while it is open.

    Most methods run one operation in the thread that writes or in one that reads.
    """

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

    create_session = _write(sessions.create_session)
    get_session = _read(tables.get_session)
    list_sessions = _read(sessions.list_sessions)
    update_session = _write(sessions.update_session)
    delete_session = _write(removal.delete_session)

    # turns

    start_turn = _write(turns.start_turn)
    get_turn = _read(turns.get_turn)
    last_turn = _read(turns.last_turn)
    forget_turn = _write(turns.forget_turn)

    async def begin_turn(self, begin: BeginTurn) -> BegunTurn:
        self._open_turns.begin(begin.turn_id)
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

    async def commit_turn(self, commit: CommitTurn) -> CommittedTurn:
        group = Group(turns.commit_turns, commit.session_id)
        try:
            committed = await self._writer.submit_grouped(turns.commit_turn, commit, group)
        except LeaseLost:  # it is not open any more
            self._open_turns.forget(commit.turn_id)
            raise
        self._open_turns.forget(commit.turn_id)
        return committed

    async def journal_events(
        self, batch: Sequence[tuple[str, Sequence[LogEntry]]], *, now: float, durable: bool
    ) -> None:
        submit = self._writer.submit if durable else self._writer.submit_soft
        await submit(journal.journal_events, batch, self._open_turns.next_record())

    # messages

    get_message = _read(histories.get_message)
    read_branch = _read(histories.read_branch)
    list_messages = _read(histories.list_messages)
    move_history = _write(histories.move_history)
    fork_session = _write(histories.fork_session)
    set_feedback = _write(histories.set_feedback)
    claim_key = _write(keys.claim_key)

    # the log

    append_events = _write(log.append_events)
    read_events = _read(log.read_events)

    # files

    add_file = _write(files.add_file)
    get_files = _read(files.get_files)
    known_files = _read(files.known_files)
    attach_files = _write(files.attach_files)

    # moving and removing

    export_session = _read(transfer.export_session)
    import_session = _write(transfer.import_session)
    erase_owner = _write(removal.erase_owner)
    purge = _write(removal.purge)


def _probe(db: Connection) -> None:
    """Write something durably: a check must show that the store can keep what it is given."""
    db.execute("UPDATE probe SET count = count + 1")


def _look(db: Connection) -> None:
    db.execute("SELECT count FROM probe").fetchone()
