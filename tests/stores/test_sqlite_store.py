"""What only the SQLite store promises: one owner, group commit, full disks, reads apart from writes."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chatserve.core.errors import ConfigurationError, SessionBusy, SessionUnknown, StoreError, StoreFull
from chatserve.core.types import Turn
from chatserve.stores.sqlite import SqliteStore, writer
from chatserve.stores.sqlite.schema import MIGRATIONS, migrate
from tests.stores.store_values import OWNER, answer, begin, branch_ids, commit, new_session, run_turn, user

Operation = Callable[[sqlite3.Connection], object]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(f"sqlite:///{path}")
    await store.open(now=1.0)
    yield store
    await store.close()


async def _write(store: SqliteStore, operation: Operation) -> object:
    return await store._writer.submit(operation)


def _assert_sound(path: Path) -> None:
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        db.close()


class _HeldWriter:
    """Keeps the writer busy, so that what is submitted meanwhile makes one batch."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._running, self._released = threading.Event(), threading.Event()

    async def __aenter__(self) -> None:
        self._task = asyncio.ensure_future(_write(self._store, self._hold))
        await asyncio.to_thread(self._running.wait, 10)

    async def __aexit__(self, *exc_info: object) -> None:
        self._released.set()
        await self._task

    def _hold(self, db: sqlite3.Connection) -> None:
        self._running.set()
        self._released.wait(10)


async def _submitted(*calls: Awaitable[Any]) -> list[asyncio.Task[Any]]:
    """Start calls and let each reach the queue."""
    futures = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0)
    return futures


# --- one owner ---------------------------------------------------------------------------------------------------


async def test_second_store_on_the_file_is_refused_and_told_who_owns_it(store: SqliteStore, path: Path) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        await SqliteStore(f"sqlite:///{path}").open(now=1.0)
    assert repr(str(path)) in str(refusal.value)
    assert f"process {os.getpid()}" in str(refusal.value)
    await run_turn(store)


async def test_second_process_is_refused(store: SqliteStore, path: Path) -> None:
    script = (
        "import asyncio, sys; from chatserve.stores.sqlite import SqliteStore\n"
        f"asyncio.run(SqliteStore({f'sqlite:///{path}'!r}).open(now=1.0))"
    )
    ended = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode != 0
    assert f"ConfigurationError: store: {str(path)!r} is in use by another chatserve" in ended.stderr


async def test_closed_store_can_be_opened_by_another_and_again(store: SqliteStore, path: Path) -> None:
    await run_turn(store)
    await store.close()
    await store.close()
    other = SqliteStore(f"sqlite:///{path}")
    await other.open(now=2.0)
    assert await branch_ids(other) == ["u_1", "a_1"]
    await other.close()
    await store.open(now=3.0)
    assert await branch_ids(store) == ["u_1", "a_1"]


async def test_conversations_are_readable_to_their_owner_only(store: SqliteStore, path: Path) -> None:
    await run_turn(store)
    for name in ("chat.db", "chat.db-wal", "chat.db.lock"):
        status = await asyncio.to_thread(path.with_name(name).stat)
        assert status.st_mode & 0o077 == 0


async def test_closed_store_leaves_all_in_one_file(store: SqliteStore, path: Path) -> None:
    await run_turn(store)
    log = path.with_name("chat.db-wal")
    assert await asyncio.to_thread(log.exists)
    await store.close()
    assert not await asyncio.to_thread(log.exists)
    await asyncio.to_thread(_assert_sound, path)


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda path: None, "cannot write"),
        (lambda path: (path.parent.mkdir(), path.mkdir()), "cannot use"),
        (lambda path: (path.parent.mkdir(), path.write_bytes(b"this is no database, " * 500)), "cannot use"),
        (lambda path: (path.parent.mkdir(), _make_stranger(path)), "cannot use"),
    ],
    ids=["no directory", "a directory", "no database", "another program's database"],
)
async def test_file_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, prepare: Callable[[Path], object], told: str
) -> None:
    path = tmp_path / "new" / "chat.db"
    await asyncio.to_thread(prepare, path)
    with pytest.raises(ConfigurationError) as refusal:
        await SqliteStore(f"sqlite:///{path}").open(now=1.0)
    line = str(refusal.value)
    assert line.startswith(f"store: {told}")
    assert str(path) in line
    assert "\n" not in line


def _make_stranger(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE session (id)")
    db.close()


async def test_file_of_a_newer_version_is_refused_and_left_alone(store: SqliteStore, path: Path) -> None:
    await run_turn(store)
    await _write(store, lambda db: db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}"))
    await store.close()
    with pytest.raises(ConfigurationError, match="newer chatserve"):
        await SqliteStore(f"sqlite:///{path}").open(now=1.0)
    await asyncio.to_thread(_assert_sound, path)


def test_migrations_run_in_order_and_once() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    first = ("CREATE TABLE cup (n)",)
    migrate(db, (first,))
    migrate(db, (first, ("ALTER TABLE cup ADD COLUMN tea", "INSERT INTO cup VALUES (1, 'green')")))
    migrate(db, (first, ("ALTER TABLE cup ADD COLUMN tea", "INSERT INTO cup VALUES (1, 'green')")))
    assert db.execute("SELECT * FROM cup").fetchall() == [(1, "green")]
    assert db.execute("PRAGMA user_version").fetchone() == (2,)
    db.close()


async def test_turns_of_a_file_of_the_first_schema_are_readable_after_it_was_migrated(path: Path) -> None:
    await asyncio.to_thread(_write_first_schema, path)
    store = SqliteStore(f"sqlite:///{path}")
    (open_turn,) = await store.open(now=9.0)
    try:
        assert (open_turn.turn_id, open_turn.status, open_turn.echo) == ("t_2", "interrupted", None)
        record = await store.get_turn(OWNER, "t_1")
        assert record.turn == Turn("t_1", "s_1", "chat", "completed", "u_1", 2.0, 3.0, "stop", None, None, 1, 4, 3)
        assert [message.message_id for message in record.messages] == ["a_1"]
        await run_turn(store, 3, echo={"model": "chat"})
        assert (await store.get_turn(OWNER, "t_3")).turn.echo == {"model": "chat"}
        assert await branch_ids(store) == ["u_1", "a_1", "u_2", "u_3", "a_3"]
    finally:
        await store.close()
    await asyncio.to_thread(_assert_sound, path)


def _write_first_schema(path: Path) -> None:
    """Make a file as the first version left it: a turn that ended, and one that a crash left open."""
    db = sqlite3.connect(path, isolation_level=None)
    migrate(db, MIGRATIONS[:1])
    db.executescript(
        """
        INSERT INTO session VALUES (1, 's_1', 'alice', NULL, '{}', '{}', 4, 'u_2', 4, 1.0, 4.0, NULL);
        INSERT INTO message VALUES
            (1, 's_1', 'u_1', NULL, 't_1', 'user', 2.0, NULL, NULL, NULL, NULL, '[{"type":"text","text":"hi"}]'),
            (2, 's_1', 'a_1', 'u_1', 't_1', 'assistant', 3.0, NULL, NULL, NULL, NULL, '[{"type":"text","text":"yes"}]'),
            (3, 's_1', 'u_2', 'a_1', 't_2', 'user', 4.0, NULL, NULL, NULL, NULL, '[{"type":"text","text":"so?"}]');
        INSERT INTO turn VALUES
            (1, 't_1', 's_1', 'chat', 'completed', 'u_1', 2.0, 3.0, 'stop', NULL, NULL, 1, 4, 3, 0, NULL, NULL, 'a_1'),
            (2, 't_2', 's_1', 'chat', 'running', 'u_2', 4.0, NULL, NULL, NULL, NULL, NULL, NULL, 4, 0, NULL, 'a_1',
             NULL);
        """
    )
    db.close()


async def test_file_itself_lets_one_turn_of_a_session_run_and_any_number_wait(store: SqliteStore) -> None:
    await store.begin_turn(begin(1))
    for n in (2, 3):
        await store.begin_turn(begin(n, status="queued"))
    with pytest.raises(StoreError, match="UNIQUE"):
        await _write(store, lambda db: db.execute("UPDATE turn SET status = 'running' WHERE turn_id = 't_2'"))
    await run_turn(store, 4, "s_2")


# --- group commit ------------------------------------------------------------------------------------------------


async def test_callers_that_wait_together_share_one_commit(store: SqliteStore) -> None:
    statements: list[str] = []
    await _write(store, lambda db: db.set_trace_callback(statements.append))
    async with _HeldWriter(store):
        statements.clear()
        begun = await _submitted(*(store.begin_turn(begin(n, f"s_{n}")) for n in range(1, 51)))
    assert {(await each).session.version for each in begun} == {2}
    await _write(store, lambda db: db.set_trace_callback(None))
    assert statements.count("COMMIT") == 2  # of the one that was held, and of all the others


async def test_one_wake_up_tells_all_callers_of_a_batch(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    wake_ups: list[Any] = []
    wake = loop.call_soon_threadsafe
    monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *args: (wake_ups.append(args), wake(*args))[1])
    async with _HeldWriter(store):
        created = await _submitted(*(store.create_session(new_session(f"s_{n}"), now=2.0) for n in range(50)))
    await asyncio.gather(*created)
    assert sum(getattr(args[0], "__module__", "").startswith("chatserve") for args in wake_ups) == 2


async def test_refused_caller_leaves_the_others_of_its_batch_alone(store: SqliteStore) -> None:
    await store.begin_turn(begin(1))
    async with _HeldWriter(store):
        before, refused, after = await _submitted(
            store.begin_turn(begin(2, "s_2")), store.begin_turn(begin(3)), store.begin_turn(begin(4, "s_4"))
        )
    await before
    await after
    with pytest.raises(SessionBusy):
        await refused


async def test_caller_that_fails_half_way_is_undone_alone(store: SqliteStore) -> None:
    def half(db: sqlite3.Connection) -> None:
        db.execute("UPDATE probe SET count = 77")
        raise ValueError("a defect")

    async with _HeldWriter(store):
        before, failed, after = await _submitted(
            store.begin_turn(begin(1)), _write(store, half), store.begin_turn(begin(2, "s_2"))
        )
    await before
    await after
    with pytest.raises(ValueError, match="a defect"):
        await failed
    assert await _write(store, lambda db: db.execute("SELECT count FROM probe").fetchone()) == (0,)
    assert (await store.get_session(OWNER, "s_1")).version == 2


async def test_failed_commit_changes_nothing_and_every_caller_is_told(store: SqliteStore) -> None:
    def break_at_commit(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA defer_foreign_keys = ON")
        db.execute("INSERT INTO file_session (file_id, session_id) VALUES ('f_none', 's_none')")

    async with _HeldWriter(store):
        calls = await _submitted(store.begin_turn(begin(1)), _write(store, break_at_commit), store.check())
    for call in calls:
        with pytest.raises(StoreError):
            await call
    with pytest.raises(SessionUnknown):
        await store.get_session(OWNER, "s_1")
    await run_turn(store)
    await store.check()


async def test_more_writes_than_may_wait_are_refused(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_WAITING", 3)
    async with _HeldWriter(store):
        waiting = await _submitted(*(store.create_session(new_session(f"s_{n}"), now=2.0) for n in range(3)))
        with pytest.raises(StoreError, match="wait"):
            await store.create_session(new_session("s_9"), now=2.0)
    await asyncio.gather(*waiting)


async def test_caller_that_went_away_harms_nobody(store: SqliteStore) -> None:
    async with _HeldWriter(store):
        gone, stayed = await _submitted(store.begin_turn(begin(1)), store.begin_turn(begin(2, "s_2")))
        gone.cancel()
    await stayed
    assert (await store.get_session(OWNER, "s_1")).version == 2


async def test_close_finishes_the_writes_that_wait(store: SqliteStore, path: Path) -> None:
    async with _HeldWriter(store):
        waiting = await _submitted(*(store.create_session(new_session(f"s_{n}"), now=2.0) for n in range(20)))
        (closing,) = await _submitted(store.close())
        with pytest.raises(StoreError, match="closed"):
            await store.create_session(new_session("s_late"), now=2.0)
    await asyncio.gather(*waiting, closing)
    await store.open(now=2.0)
    assert len((await store.list_sessions(OWNER, after=None, limit=99)).items) == 20


# --- reads -------------------------------------------------------------------------------------------------------


async def test_reads_do_not_wait_behind_writes(store: SqliteStore) -> None:
    await run_turn(store)
    async with _HeldWriter(store):
        assert await branch_ids(store) == ["u_1", "a_1"]


async def test_read_sees_one_state_of_the_store(store: SqliteStore) -> None:
    looked, changed = threading.Event(), threading.Event()

    def look_twice(db: sqlite3.Connection) -> list[tuple[int]]:
        before = db.execute("SELECT count(*) FROM session").fetchone()
        looked.set()
        changed.wait(10)
        return [before, db.execute("SELECT count(*) FROM session").fetchone()]

    (read,) = await _submitted(store._readers.submit(look_twice))
    await asyncio.to_thread(looked.wait, 10)
    await store.create_session(new_session(), now=2.0)
    changed.set()
    assert await read == [(0,), (0,)]


async def test_readers_cannot_write(store: SqliteStore) -> None:
    with pytest.raises(StoreError, match="readonly"):
        await store._readers.submit(lambda db: db.execute("UPDATE probe SET count = 1"))


async def test_writes_that_were_told_are_seen_by_every_reader(store: SqliteStore) -> None:
    for number in range(1, 30):
        committed = await run_turn(store, number)
        seen = await asyncio.gather(*(store.get_session(OWNER, "s_1") for _ in range(4)))
        assert seen == [committed.session] * 4


async def test_defect_in_a_read_is_told_and_the_reader_goes_on(store: SqliteStore) -> None:
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            await store._readers.submit(lambda db: 1 // 0)
    await store.check()


async def test_turns_cost_the_same_in_a_long_session(store: SqliteStore) -> None:
    async def steps_of_turn(number: int, session_id: str) -> int:
        steps: list[None] = []
        await _write(store, lambda db: db.set_progress_handler(lambda: steps.append(None), 10))
        await run_turn(store, number, session_id)
        await _write(store, lambda db: db.set_progress_handler(None, 0))
        return len(steps)

    seeds = [user("seed_0")]
    for number in range(1, 3000):
        seeds.append(answer(f"seed_{number}", parent_id=f"seed_{number - 1}"))
    await store.create_session(new_session("s_long", messages=tuple(seeds)), now=1.0)
    await run_turn(store, 1, "s_short")
    short, long = await steps_of_turn(2, "s_short"), await steps_of_turn(3, "s_long")
    assert long < short * 1.5


# --- full disks --------------------------------------------------------------------------------------------------


async def test_full_disk_is_told_and_survived(store: SqliteStore, path: Path) -> None:
    def allow_pages(more: int) -> Operation:
        def allow(db: sqlite3.Connection) -> None:
            (pages,) = db.execute("PRAGMA page_count").fetchone()
            db.execute(f"PRAGMA max_page_count = {pages + more}")

        return allow

    await run_turn(store, 1)
    before = await store.export_session(OWNER, "s_1")
    await store.begin_turn(begin(2))
    await _write(store, allow_pages(2))
    long_answer = answer("a_2", "x" * 100_000)
    with pytest.raises(StoreFull):
        await store.commit_turn(commit(2, long_answer, done_seq=2))
    assert (await store.get_session(OWNER, "s_1")).version == before.session.version + 1
    async with _HeldWriter(store):
        lost, kept = await _submitted(store.commit_turn(commit(2, long_answer, done_seq=2)), store.check())
    with pytest.raises(StoreFull):
        await lost
    await kept
    await _write(store, allow_pages(1_000_000))
    committed = await store.commit_turn(commit(2, long_answer, done_seq=2))
    assert committed.session.head == "a_2"
    await store.close()
    await asyncio.to_thread(_assert_sound, path)
