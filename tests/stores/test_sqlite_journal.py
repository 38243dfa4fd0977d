"""The journal of the SQLite store: what running turns said survives a crash, and is gone when they are over."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatserve.contracts.store import Purge
from chatserve.contracts.turns import RECOVERY_GAP
from chatserve.core.errors import StoreError
from chatserve.core.events import Delta, HistoryChanged, MessageOpened, NumberedEvent
from chatserve.core.types import Turn
from chatserve.stores.sqlite import SqliteStore, journal, tables
from tests.stores.store_values import OWNER, begin, branch_ids, commit, done_of, end_turn, opening_events, run_turn
from tests.support.engine import until

NORMAL, FULL = 1, 2
"""What `PRAGMA synchronous` answers."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(f"sqlite:///{tmp_path}/chat.db")
    await store.open(now=1.0)
    yield store
    await store.close()


async def _reopen(store: SqliteStore) -> tuple[Turn, ...]:
    await store.close()
    return await store.open(now=1000.0)


async def _records(store: SqliteStore) -> list[bytes]:
    def read(db: sqlite3.Connection) -> list[bytes]:
        return [payload for (payload,) in db.execute("SELECT payload FROM journal ORDER BY n")]

    return await store._readers.submit(read)


def _delta(seq: int, text: str, turn_id: str = "t_1") -> NumberedEvent:
    return NumberedEvent(seq, turn_id, Delta(text))


async def test_events_of_many_sessions_make_one_record(store: SqliteStore) -> None:
    await store.journal_events([(f"s_{n}", [_delta(1, "x", f"t_{n}")]) for n in range(50)], now=5.0, durable=True)
    assert len(await _records(store)) == 1


async def test_only_batches_of_nothing_but_shown_events_do_not_wait_for_the_disk(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels: list[int] = []

    def look(db: sqlite3.Connection, *_: object) -> None:
        levels.extend(level for (level,) in db.execute("PRAGMA synchronous"))

    monkeypatch.setattr(journal, "journal_events", look)
    shown = [("s_1", [_delta(1, "x")])]
    for durable in (False, False, True, False, True):
        await store.journal_events(shown, now=5.0, durable=durable)
    await store._writer.submit(look)
    assert levels == [NORMAL, NORMAL, FULL, NORMAL, FULL, FULL]
    levels.clear()
    running, released = threading.Event(), threading.Event()
    held = asyncio.ensure_future(store._writer.submit_soft(lambda _: (running.set(), released.wait(10))))
    await asyncio.to_thread(running.wait, 10)
    together = asyncio.gather(store.journal_events(shown, now=5.0, durable=False), store.begin_turn(begin(1)))
    await until(lambda: store._writer._workers.queue.qsize() == 2)
    released.set()
    await asyncio.gather(held, together)
    assert levels == [FULL]


async def test_events_that_did_not_wait_for_the_disk_survive_a_crash(store: SqliteStore) -> None:
    events = opening_events(await store.begin_turn(begin(1)), 1, "You ", "typed")
    await store.journal_events([("s_1", events)], now=150.0, durable=False)
    await _reopen(store)
    assert (await store.get_turn(OWNER, "t_1")).messages[0].text == "You typed"


async def test_journaled_events_are_not_in_the_log_before_they_are_filed(store: SqliteStore) -> None:
    await store.begin_turn(begin(1))
    await store.journal_events([("s_1", [_delta(1, "x")])], now=150.0, durable=True)
    page = await store.read_events("s_1", after=0, limit=9)
    assert (page.events, page.last_seq) == ((), 0)


async def test_interrupted_answers_are_rebuilt_from_the_journal(store: SqliteStore) -> None:
    begun = [await store.begin_turn(begin(n, f"s_{n}")) for n in (1, 2)]
    events = [opening_events(each, 1, "You ", "typed") for each in begun]
    await store.journal_events([("s_1", events[0][:3]), ("s_2", events[1][:2])], now=150.0, durable=True)
    await store.journal_events([("s_1", events[0][3:]), ("s_2", events[1][2:3])], now=151.0, durable=True)
    await _reopen(store)
    texts = [(await store.get_turn(OWNER, turn_id)).messages[0].text for turn_id in ("t_1", "t_2")]
    assert texts == ["You typed", "You "]
    ((seq, _),) = done_of((await store.read_events("s_1", after=0, limit=9)).events)
    assert seq == 4 + RECOVERY_GAP
    assert await _records(store) == []


async def test_journal_and_log_are_merged_in_order_and_once(store: SqliteStore) -> None:
    events = opening_events(await store.begin_turn(begin(1)), 1, "a", "b", "c", "d")
    await store.journal_events([("s_1", events[:4])], now=150.0, durable=True)
    await store.append_events("s_1", events[:3], now=151.0)
    await store.journal_events([("s_1", events[4:])], now=152.0, durable=True)
    await _reopen(store)
    assert (await store.get_turn(OWNER, "t_1")).messages[0].text == "abcd"


async def test_answer_that_was_committed_is_not_touched_by_the_journal(store: SqliteStore) -> None:
    events = opening_events(await store.begin_turn(begin(1)), 1, "hello")
    await store.journal_events([("s_1", events)], now=150.0, durable=True)
    await store.commit_turn(commit(1, done_seq=4, events=tuple(events)))
    before = await store.export_session(OWNER, "s_1")
    log = await store.read_events("s_1", after=0, limit=9)
    assert await _reopen(store) == ()
    assert await store.export_session(OWNER, "s_1") == before
    assert await store.read_events("s_1", after=0, limit=9) == log
    assert await _records(store) == []


async def test_event_of_an_idle_session_is_filed_at_the_next_start(store: SqliteStore) -> None:
    await run_turn(store, 1)
    event = NumberedEvent(2, None, HistoryChanged(4, "feedback"))
    await store.journal_events([("s_1", [event])], now=300.0, durable=True)
    await _reopen(store)
    page = await store.read_events("s_1", after=1, limit=9)
    assert (page.events, page.last_seq) == ((event,), 2)


async def test_janitor_empties_the_journal_when_nothing_runs(store: SqliteStore) -> None:
    await store.begin_turn(begin(1))
    await store.journal_events([("s_1", [_delta(1, "x")])], now=150.0, durable=True)
    purge = Purge(now=300.0, events_before=0.0, files_before=0.0)
    await store.purge(purge)
    assert len(await _records(store)) == 1
    await end_turn(store, 1)
    await store.purge(purge)
    assert await _records(store) == []


async def test_old_records_shrink_to_what_still_runs(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "OLD_AFTER_RECORDS", 4)
    slow = opening_events(await store.begin_turn(begin(1)), 1, *"abcdefgh")
    await store.journal_events([("s_1", slow[:2])], now=150.0, durable=True)
    for number in range(2, 40):
        await store.begin_turn(begin(number, f"s_{number}"))
        batch = [(f"s_{number}", [_delta(1, "quick", f"t_{number}")])]
        await store.journal_events([*batch, ("s_1", [slow[number]])] if number < 10 else batch, now=150.0, durable=True)
        await store.commit_turn(commit(number, session_id=f"s_{number}", done_seq=2))
    records = await _records(store)
    assert len(records) <= 6
    assert sum(record.count(b"quick") for record in records) <= 6
    await _reopen(store)
    assert (await store.get_turn(OWNER, "t_1")).messages[0].text == "abcdefgh"


async def test_records_older_than_all_open_turns_are_dropped_unread(store: SqliteStore) -> None:
    for number in range(1, 40):
        begun = await store.begin_turn(begin(number, f"s_{number}"))
        events = opening_events(begun, 1, "quick")
        await store.journal_events([(f"s_{number}", events)], now=150.0, durable=True)
        if number < 39:
            await store.commit_turn(commit(number, session_id=f"s_{number}", done_seq=9))
    assert len(await _records(store)) <= 2
    await _reopen(store)
    assert (await store.get_turn(OWNER, "t_39")).messages[0].text == "quick"


async def test_records_of_a_turn_whose_end_failed_are_kept(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    events = opening_events(await store.begin_turn(begin(1)), 1, "You ", "typed")
    await store.journal_events([("s_1", events)], now=150.0, durable=True)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(tables, "save_ends", fail)
        with pytest.raises(StoreError):
            await store.commit_turn(commit(1, done_seq=9))
    for number in (2, 3, 4):
        await store.begin_turn(begin(number, f"s_{number}"))
        await store.journal_events([(f"s_{number}", [_delta(1, "x", f"t_{number}")])], now=151.0, durable=True)
        await store.commit_turn(commit(number, session_id=f"s_{number}", done_seq=2))
    await _reopen(store)
    assert (await store.get_turn(OWNER, "t_1")).messages[0].text == "You typed"


async def test_journal_that_was_emptied_drops_no_newer_record(store: SqliteStore) -> None:
    for number in (1, 2, 3):
        await store.begin_turn(begin(number, f"s_{number}"))
        await store.journal_events([(f"s_{number}", [_delta(1, "x", f"t_{number}")])], now=150.0, durable=True)
        await store.commit_turn(commit(number, session_id=f"s_{number}", done_seq=2))
    await store.purge(Purge(now=300.0, events_before=0.0, files_before=0.0))
    assert await _records(store) == []
    events = opening_events(await store.begin_turn(begin(4, "s_4")), 1, "a", "b", "c")
    for event in events:
        await store.journal_events([("s_4", [event])], now=301.0, durable=True)
    await _reopen(store)
    assert (await store.get_turn(OWNER, "t_4")).messages[0].text == "abc"


async def test_deleted_session_leaves_nothing_in_the_journal(store: SqliteStore) -> None:
    await store.begin_turn(begin(1))
    await store.begin_turn(begin(2, "s_2"))
    opened = NumberedEvent(1, "t_2", MessageOpened("a_2", "assistant"))
    batch = [("s_1", [_delta(1, "secret")]), ("s_2", [opened, _delta(2, "kept", "t_2")])]
    await store.journal_events(batch, now=150.0, durable=True)
    await end_turn(store, 1)
    await store.delete_session(OWNER, "s_1")
    (record,) = await _records(store)
    assert b"secret" not in record
    await run_turn(store, 3, "s_1")
    await _reopen(store)
    assert await branch_ids(store, "s_1") == ["u_3", "a_3"]
    assert [event.seq for event in (await store.read_events("s_1", after=0, limit=9)).events] == [1]
    assert (await store.get_turn(OWNER, "t_2")).messages[0].text == "kept"


async def test_erased_owner_leaves_nothing_in_the_journal(store: SqliteStore) -> None:
    await store.begin_turn(begin(1))
    await store.journal_events([("s_1", [_delta(1, "secret")])], now=150.0, durable=True)
    await end_turn(store, 1)
    await store.erase_owner(OWNER)
    assert not any(b"secret" in record for record in await _records(store))
