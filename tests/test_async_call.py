"""Async functions on the beat: the first word at once, what comes right behind it together, nothing later than that."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from chatserve.chat_function import Report, async_call
from chatserve.chat_function.async_call import AsyncCall
from tests.support.engine import WAIT_S, open_engine, until, within

NEVER_S = 3600.0


@pytest.fixture
def long_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let words be held for ever, unless something else lets them go."""
    monkeypatch.setattr(async_call, "BEAT_S", NEVER_S)


@pytest.fixture
def short_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_call, "BEAT_S", 0.01)


def call_of(source: AsyncIterator[Any]) -> AsyncCall:
    return AsyncCall(source, lambda value: (value,))


async def batches_of(call: AsyncCall) -> list[list[Any]]:
    return [batch async for batch in call]


async def next_of(call: AsyncCall) -> list[Any]:
    return await within(anext(aiter(call)))


async def words(*waits: Callable[[], Any]) -> AsyncIterator[Any]:
    """Say "0", wait, say "1", wait, … and "end"."""
    for number, wait in enumerate(waits):
        yield str(number)
        await wait()
    yield "end"


def give_way() -> Any:
    return asyncio.sleep(0)


def wait_shortly() -> Any:
    return asyncio.sleep(0.001)


@pytest.mark.parametrize("wait", [give_way, wait_shortly])
async def test_first_word_goes_at_once_and_those_right_behind_it_together(wait: Any, long_beat: None) -> None:
    assert await within(batches_of(call_of(words(*[wait] * 4)))) == [["0"], ["1", "2", "3", "end"]]


async def test_without_a_beat_every_word_goes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_call, "BEAT_S", 0)
    waits = [give_way, wait_shortly, give_way]
    assert await within(batches_of(call_of(words(*waits)))) == [["0"], ["1"], ["2"], ["end"]]


async def test_held_word_goes_when_the_beat_is_over_though_the_function_waits(short_beat: None) -> None:
    forever = asyncio.Event()
    call = call_of(words(give_way, forever.wait))
    assert [await next_of(call), await next_of(call)] == [["0"], ["1"]]
    forever.set()
    assert await next_of(call) == ["end"]


async def test_function_goes_on_with_what_it_waited_for_while_its_words_were_held(long_beat: None) -> None:
    loop = asyncio.get_running_loop()
    failing: asyncio.Future[str] = loop.create_future()

    async def answer() -> AsyncIterator[Any]:
        yield "a"
        await give_way()
        yield "b"
        yield await asyncio.sleep(0.001, "slept")
        try:
            await failing
        except LookupError as error:
            yield str(error)

    loop.call_later(0.01, failing.set_exception, LookupError("lost"))
    assert await within(batches_of(call_of(answer()))) == [["a"], ["b", "slept", "lost"]]


async def test_error_comes_after_the_words_that_were_held(long_beat: None) -> None:
    async def answer() -> AsyncIterator[Any]:
        yield "a"
        await give_way()
        yield "b"
        await give_way()
        raise LookupError("lost")

    call = call_of(answer())
    assert [await next_of(call), await next_of(call)] == [["a"], ["b"]]
    with pytest.raises(LookupError):
        await next_of(call)


async def test_reports_stand_among_the_held_words_where_they_were_made(long_beat: None) -> None:
    report, told = Report("half"), asyncio.Event()

    async def answer() -> AsyncIterator[Any]:
        yield "a"
        await give_way()
        yield "b"
        await told.wait()
        yield "c"

    call = call_of(answer())
    noticed: list[str] = []
    call.when_reported(lambda: noticed.append("early"))
    assert await next_of(call) == ["a"]
    rest = asyncio.create_task(batches_of(call))
    await asyncio.sleep(0.01)
    call.report(report)
    told.set()
    assert await within(rest) == [["b", report, "c"]]
    assert noticed == []


@pytest.mark.parametrize("wait", [give_way, asyncio.Event().wait])
async def test_cancel_reaches_the_function_where_it_waits_though_words_are_held(wait: Any, long_beat: None) -> None:
    ends: list[str] = []

    async def answer() -> AsyncIterator[Any]:
        yield "a"
        await give_way()
        yield "b"
        try:
            while True:
                await wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    call = call_of(answer())
    seen: list[list[Any]] = []

    async def take() -> None:
        async for batch in call:
            seen.append(batch)

    task = asyncio.create_task(take())
    await until(lambda: seen == [["a"]])
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(task)
    assert (seen, ends) == ([["a"], ["b"]], ["cancelled"])


async def test_cancel_reaches_what_the_function_waits_for_though_words_are_held(long_beat: None) -> None:
    inner = asyncio.ensure_future(asyncio.Event().wait())
    call = call_of(words(give_way, lambda: inner))
    assert await next_of(call) == ["0"]
    listening = asyncio.create_task(batches_of(call))
    await asyncio.sleep(0.01)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(listening)
    assert inner.cancelled()


async def test_function_that_does_not_wait_gives_way_and_is_heard_on_the_beat(short_beat: None) -> None:
    batches: list[list[Any]] = []
    turns_of_the_loop = 0

    async def talk() -> AsyncIterator[Any]:
        while len(batches) < 3:
            yield "x"

    async def listen() -> None:
        async for batch in call_of(talk()):
            batches.append(batch)

    listening = asyncio.create_task(listen())
    async with asyncio.timeout(WAIT_S):
        while not listening.done():
            turns_of_the_loop += 1
            await asyncio.sleep(0)
    assert turns_of_the_loop > 3


async def test_stopped_answer_keeps_what_was_shown_and_ends(long_beat: None) -> None:
    async def predict(message: str, history: list[Any]) -> AsyncIterator[Any]:
        yield "shown"
        await give_way()
        yield "shown and held"
        await asyncio.Event().wait()

    async with open_engine(predict) as engine:
        turn = await engine.start()
        await until(lambda: turn.draft is not None and bool(turn.draft.messages()))
        record = await within(engine.turns.stop_turn("", turn.turn_id))
        assert (record.turn.status, record.messages[-1].text) == ("stopped", "shown")
