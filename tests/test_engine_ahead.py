"""The first turn of a new session runs while it is written down; until it is, nobody hears of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chatserve.contracts import Store
from chatserve.errors import StoreError, StoreFull
from chatserve.stores import create_store
from tests.support.engine import Slow, open_engine, until, within

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
def slow(tmp_path: Path) -> Any:
    return Slow(create_store(f"sqlite:///{tmp_path}/chat.db"), "begin_turn")


async def _sessions(store: Store) -> int:
    return len((await store.list_sessions("", after=None, limit=10)).items)


async def test_function_runs_while_its_turn_is_written_down_and_is_heard_of_afterwards(slow: Any) -> None:
    talker = Talker()
    async with open_engine(talker, store=slow) as engine:
        starting = asyncio.create_task(engine.start("hi", None))
        await within(slow.entered.wait())
        await until(lambda: talker.notes == ["hi begun"])
        await asyncio.sleep(0.01)
        assert not starting.done()
        assert await _sessions(engine.store) == 0
        slow.gate.set()
        turn = await within(starting)
        assert (await engine.store.get_turn("", turn.turn_id)).turn == turn.turn
        talker.gate.set()
        events = await engine.events(turn)
        assert [event.event for event in events] == ["turn", "message", "delta", "delta", "done"]
        assert [event.id for event in events] == ["1", "2", "3", "4", "5"]
        assert await engine.history(turn.room.session_id) == [("user", "hi"), ("assistant", "word, and another")]


async def test_turn_that_is_over_before_it_is_written_down_is_whole(slow: Any) -> None:
    talker = Talker()
    talker.gate.set()
    async with open_engine(talker, store=slow) as engine:
        starting = asyncio.create_task(engine.start("hi", None))
        await until(lambda: talker.notes == ["hi begun", "hi over"])
        slow.gate.set()
        turn = await within(starting)
        record = await engine.end_of(turn)
        assert (record.turn.status, record.messages[0].text) == ("completed", "word, and another")
        assert await engine.store.get_turn("", turn.turn_id) == record
        assert [event.event for event in await engine.events(turn)][-1] == "done"


@pytest.mark.parametrize("is_over", [False, True])
async def test_turn_the_store_does_not_take_is_taken_back(slow: Any, is_over: bool) -> None:
    talker = Talker()
    slow.gate.set()
    async with open_engine(talker, store=slow, concurrency_limit=1) as engine:
        if is_over:
            talker.gate.set()
        slow.failures["begin_turn"] = [StoreFull("the disk is full")]
        with pytest.raises(StoreFull):
            await engine.start("refused", None)
        await until(lambda: not engine.turns.open_turns)
        assert talker.notes[-1] == "refused over"
        assert ("refused CancelledError" in talker.notes) is not is_over
        assert await _sessions(engine.store) == 0
        talker.gate.set()
        record = await engine.ask("next", None)  # the one slot is free again
        assert record.turn.status == "completed"


async def test_store_that_has_failed_is_asked_before_the_function_runs(tmp_path: Path) -> None:
    talker, store = Talker(), create_store(f"sqlite:///{tmp_path}/chat.db")
    talker.gate.set()
    async with open_engine(talker, store=store) as engine:
        written = store._writer  # type: ignore[attr-defined]
        submit = written.submit_grouped

        async def fail(*_: Any, **__: Any) -> None:
            raise StoreError("away")

        written.submit_grouped = fail
        for text in ("first", "second", "third"):
            with pytest.raises(StoreError):
                await engine.start(text, None)
        await until(lambda: not engine.turns.open_turns)
        assert [note for note in talker.notes if note.endswith("begun")] == ["first begun"]
        written.submit_grouped = submit
        assert (await engine.ask("back", None)).turn.status == "completed"


async def test_turn_whose_client_left_while_it_was_written_down_goes_on(slow: Any) -> None:
    talker = Talker()
    async with open_engine(talker, store=slow) as engine:
        starting = asyncio.create_task(engine.start("hi", None))
        await within(slow.entered.wait())
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        slow.gate.set()
        talker.gate.set()
        await until(lambda: not engine.turns.open_turns)
        (session,) = (await engine.store.list_sessions("", after=None, limit=10)).items
        assert [text for _, text in await engine.history(session.session_id)] == ["hi", "word, and another"]


@pytest.mark.parametrize(
    "asked",
    [{"session_id": "s_mine"}, {"session_id": None, "idempotency_key": "key"}],
    ids=["named session", "idempotency key"],
)
async def test_turn_that_may_be_refused_waits_for_the_store(slow: Any, asked: dict[str, Any]) -> None:
    talker = Talker()
    talker.gate.set()
    async with open_engine(talker, store=slow) as engine:
        starting = asyncio.create_task(engine.start("hi", **asked))
        await within(slow.entered.wait())
        await asyncio.sleep(0.01)
        assert talker.notes == []
        slow.gate.set()
        assert (await engine.end_of(await within(starting))).turn.status == "completed"
