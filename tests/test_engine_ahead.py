"""The first turn of a new session runs while it is written down; until it is, nobody hears of it."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from chatserve.core.errors import StoreError
from chatserve.stores.sqlite import SqliteStore, tables
from tests.support.engine import open_engine, until, within

History = list[Any]


class Talker:
    """A function that says a word and waits for its gate; it notes what becomes of it."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.gate = asyncio.Event()

    async def __call__(self, message: str, history: History) -> AsyncIterator[str]:
        self.notes.append(f"{message} begun")
        try:
            yield "word"
            await self.gate.wait()
            yield "word, and another"
        except BaseException as error:
            self.notes.append(f"{message} {type(error).__name__}")
            raise
        finally:
            self.notes.append(f"{message} over")


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(f"sqlite:///{tmp_path}/chat.db")


@asynccontextmanager
async def writing_nothing(store: SqliteStore) -> AsyncIterator[None]:
    """Let the store's thread wait while the block runs."""
    running, released = threading.Event(), threading.Event()
    held = asyncio.ensure_future(store._writer.submit(lambda _: (running.set(), released.wait(20))))
    await asyncio.to_thread(running.wait, 20)
    try:
        yield
    finally:
        released.set()
        await within(held)


@contextmanager
def refusing_turns(error: sqlite3.Error) -> Iterator[None]:
    """Let no turn be written down while the block runs."""

    def fail(*_: object) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "insert_turns", fail)
        yield


async def _fail(*_: object) -> None:
    raise StoreError("away")


async def _sessions(store: SqliteStore) -> int:
    return len((await store.list_sessions("", after=None, limit=10)).items)


async def test_function_runs_while_its_turn_is_written_down_and_is_heard_of_afterwards(store: SqliteStore) -> None:
    talker = Talker()
    async with open_engine(talker, store=store) as engine:
        async with writing_nothing(store):
            starting = asyncio.create_task(engine.start("hi", None))
            await until(lambda: talker.notes == ["hi begun"])
            await asyncio.sleep(0.05)  # longer than the journal waits
            assert not starting.done()
            assert await _sessions(store) == 0
        turn = await within(starting)
        assert (await store.get_turn("", turn.turn_id)).turn == turn.turn
        talker.gate.set()
        events = await engine.events(turn)
        assert [event.event for event in events] == ["turn", "message", "delta", "delta", "done"]
        assert [event.id for event in events] == ["1", "2", "3", "4", "5"]
        assert await engine.history(turn.room.session_id) == [("user", "hi"), ("assistant", "word, and another")]


async def test_turn_that_is_over_before_it_is_written_down_is_whole(store: SqliteStore) -> None:
    talker = Talker()
    talker.gate.set()
    async with open_engine(talker, store=store) as engine:
        async with writing_nothing(store):
            starting = asyncio.create_task(engine.start("hi", None))
            await until(lambda: talker.notes == ["hi begun", "hi over"])
            await asyncio.sleep(0.01)
            assert not starting.done()
        turn = await within(starting)
        record = await engine.end_of(turn)
        assert (record.turn.status, record.messages[0].text) == ("completed", "word, and another")
        assert await store.get_turn("", turn.turn_id) == record
        events = await engine.events(turn)
        assert [event.event for event in events] == ["turn", "message", "delta", "delta", "done"]


@pytest.mark.parametrize("is_over", [False, True], ids=["running", "over"])
async def test_turn_the_store_does_not_take_is_taken_back(
    store: SqliteStore, is_over: bool, caplog: pytest.LogCaptureFixture
) -> None:
    talker = Talker()
    async with open_engine(talker, store=store, concurrency_limit=1) as engine:
        if is_over:
            talker.gate.set()
        with refusing_turns(sqlite3.OperationalError("disk I/O error")), pytest.MonkeyPatch.context() as patch:
            async with writing_nothing(store):
                starting = asyncio.create_task(engine.start("refused", None))
                await until(lambda: talker.notes[-1:] == ["refused over" if is_over else "refused begun"])
                await asyncio.sleep(0.01)  # the end of one that is over is on its way
            if not is_over:
                patch.setattr(store, "commit_turn", _fail)  # there is nothing to be committed
            with pytest.raises(StoreError, match="disk I/O error"):
                await within(starting)
            await until(lambda: not engine.turns.open_turns)
        assert "committed" not in caplog.text
        assert talker.notes[-1] == "refused over"
        assert ("refused CancelledError" in talker.notes) is not is_over
        assert await _sessions(store) == 0
        talker.gate.set()
        record = await engine.ask("next", None)  # the one slot is free again
        assert record.turn.status == "completed"
        assert await _sessions(store) == 1


async def test_store_that_has_failed_is_asked_before_the_function_runs(store: SqliteStore) -> None:
    talker = Talker()
    async with open_engine(talker, store=store) as engine:
        with refusing_turns(sqlite3.OperationalError("disk I/O error")):
            for text in ("first", "second", "third"):
                with pytest.raises(StoreError):
                    await engine.start(text, None)
        await until(lambda: not engine.turns.open_turns)
        assert [note for note in talker.notes if note.endswith("begun")] == ["first begun"]
        talker.gate.set()
        assert (await engine.ask("back", None)).turn.status == "completed"
        async with writing_nothing(store):
            starting = asyncio.create_task(engine.start("ahead", None))
            await until(lambda: talker.notes[-1] == "ahead over")
        await within(starting)


async def test_turn_whose_client_left_while_it_was_written_down_goes_on(store: SqliteStore) -> None:
    talker = Talker()
    async with open_engine(talker, store=store) as engine:
        async with writing_nothing(store):
            starting = asyncio.create_task(engine.start("hi", None))
            await until(lambda: talker.notes == ["hi begun"])
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
        talker.gate.set()
        await until(lambda: not engine.turns.open_turns)
        (session,) = (await store.list_sessions("", after=None, limit=10)).items
        assert [text for _, text in await engine.history(session.session_id)] == ["hi", "word, and another"]


@pytest.mark.parametrize(
    "asked",
    [{"session_id": "s_mine"}, {"session_id": None, "idempotency_key": "key"}],
    ids=["named session", "idempotency key"],
)
async def test_turn_that_may_be_refused_waits_for_the_store(store: SqliteStore, asked: dict[str, Any]) -> None:
    talker = Talker()
    talker.gate.set()
    async with open_engine(talker, store=store) as engine:
        async with writing_nothing(store):
            starting = asyncio.create_task(engine.start("hi", **asked))
            await asyncio.sleep(0.02)
            assert talker.notes == []
        assert (await engine.end_of(await within(starting))).turn.status == "completed"
