"""What functions say on the beat: the first word at once, those right behind it together, nothing later than that."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from chatserve import ChatContext, ChatMessage
from chatserve.engine import Pace, RunningTurn
from tests.support import engine as support
from tests.support.engine import NATIVE, WAIT_S, Engine, open_engine, until, within

NEVER_S = 3600.0


@pytest.fixture
def long_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let words be held for ever, unless something else lets them go."""
    monkeypatch.setattr(support, "PACE", Pace(beat_s=NEVER_S))


@pytest.fixture
def short_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "PACE", Pace(beat_s=0.01))


@pytest.fixture
def no_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "PACE", Pace(beat_s=0.0))


def words(*waits: Callable[[], Any]) -> Callable[..., AsyncIterator[str]]:
    """Return a function that says "0", waits, says "1", waits, … and "end"."""

    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        for number, wait in enumerate(waits):
            yield str(number)
            await wait()
        yield "end"

    return predict


async def deltas_of(predict: Callable[..., Any], yields: str = "deltas") -> list[str]:
    """Return the texts of a whole answer's deltas."""
    async with open_engine(predict, yields=yields) as engine:
        return _deltas(await engine.events(await engine.start()))


def _deltas(events: Any) -> list[str]:
    return [event.json["text"] for event in events if event.event == "delta"]


async def shown(turn: RunningTurn, text: str) -> None:
    """Wait until the answer so far is this."""
    await until(lambda: turn.run.draft is not None and [each.text for each in turn.run.draft.messages()] == [text])


def give_way() -> Any:
    return asyncio.sleep(0)


def wait_shortly() -> Any:
    return asyncio.sleep(0.001)


@pytest.mark.parametrize("wait", [give_way, wait_shortly])
async def test_first_word_goes_at_once_and_those_right_behind_it_together(wait: Any, long_beat: None) -> None:
    assert await deltas_of(words(*[wait] * 4)) == ["0", "123end"]


async def test_snapshots_right_behind_the_first_are_one_event(long_beat: None) -> None:
    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        for text in ("a", "ab", "abc", "abcd"):
            yield text
            await give_way()

    assert await deltas_of(predict, "snapshots") == ["a", "bcd"]


async def test_without_a_beat_every_word_goes_at_once(no_beat: None) -> None:
    assert await deltas_of(words(give_way, wait_shortly, give_way)) == ["0", "1", "2", "end"]


async def test_what_a_thread_says_comes_in_pieces_too(long_beat: None) -> None:
    def predict(message: str, history: list[Any]) -> Any:
        for number in range(1000):
            yield f"{number} "

    deltas = await deltas_of(predict)
    assert "".join(deltas) == "".join(f"{number} " for number in range(1000))
    assert len(deltas) == 2


async def test_held_word_goes_when_the_beat_is_over_though_the_function_waits(short_beat: None) -> None:
    forever = asyncio.Event()
    async with open_engine(words(give_way, forever.wait), yields="deltas") as engine:
        turn = await engine.start()
        await shown(turn, "01")
        forever.set()
        assert (await engine.end_of(turn)).messages[0].text == "01end"


async def test_words_are_said_before_the_error_that_came_behind_them(long_beat: None) -> None:
    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        yield "a"
        await give_way()
        yield "b"
        await give_way()
        raise LookupError("lost")

    async with open_engine(predict, yields="deltas") as engine:
        record = await engine.ask()
        assert (record.turn.status, record.messages[0].text) == ("failed", "ab")


async def test_reports_stand_among_the_held_words_where_they_were_made(long_beat: None) -> None:
    async def predict(message: str, history: list[Any], ctx: ChatContext) -> AsyncIterator[str]:
        yield "a"
        await give_way()
        yield "b"
        ctx.status("half")
        yield "c"

    async with open_engine(predict, yields="deltas") as engine:
        events = await engine.events(await engine.start())
        assert [event.event for event in events] == ["turn", "message", "delta", "delta", "status", "delta", "done"]


async def test_report_of_a_thread_is_shown_while_the_function_waits(no_beat: None) -> None:
    reported = asyncio.Event()

    async def predict(message: str, history: list[Any], ctx: ChatContext) -> str:
        await asyncio.to_thread(ctx.status, "looking")
        await reported.wait()
        return "found"

    async with open_engine(predict) as engine:
        turn = await engine.start()
        reader = engine.turns.read_turn(turn, NATIVE)
        stream = b""
        while b"looking" not in stream:
            stream += await engine.next_frames(reader)
        reported.set()
        assert (await engine.end_of(turn)).messages[0].text == "found"


async def test_function_goes_on_with_what_it_waited_for_while_its_words_were_held(long_beat: None) -> None:
    loop = asyncio.get_running_loop()
    failing: asyncio.Future[str] = loop.create_future()

    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        yield "a"
        await give_way()
        yield "b"
        yield await asyncio.sleep(0.001, "slept")
        try:
            await failing
        except LookupError as error:
            yield str(error)

    loop.call_later(0.01, failing.set_exception, LookupError("lost"))
    assert await deltas_of(predict) == ["a", "bsleptlost"]


@pytest.mark.parametrize("wait", [give_way, asyncio.Event().wait])
async def test_stop_reaches_the_function_where_it_waits_though_words_are_held(wait: Any, long_beat: None) -> None:
    ends: list[str] = []

    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        yield "shown"
        await give_way()
        yield "held"
        try:
            while True:
                await wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    async with open_engine(predict, yields="deltas") as engine:
        turn = await engine.start()
        await shown(turn, "shown")
        record = await within(engine.turns.stop_turn("", turn.turn_id))
        assert (record.turn.status, record.messages[-1].text, ends) == ("stopped", "shown", ["cancelled"])


async def test_function_that_does_not_wait_gives_way_and_is_heard_on_the_beat(short_beat: None) -> None:
    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        while True:
            yield "x"

    async with open_engine(predict, yields="deltas") as engine:
        turn = await engine.start()
        reader = engine.turns.read_turn(turn, NATIVE)
        stream = b""
        async with asyncio.timeout(WAIT_S):
            while stream.count(b"event: delta") < 3:
                stream += await engine.next_frames(reader)
        assert (await within(engine.turns.stop_turn("", turn.turn_id))).turn.status == "stopped"


async def _ended_by_what_it_said(engine: Engine) -> tuple[str, str | None, str]:
    record = await engine.ask()
    error = record.turn.error
    return record.turn.status, error.code if error else None, "".join(each.text for each in record.messages)


@pytest.mark.parametrize("swallows", [False, True])
async def test_function_is_ended_by_a_value_that_is_no_answer_though_it_waits(swallows: bool) -> None:
    async def predict(message: str, history: list[Any]) -> AsyncIterator[Any]:
        yield "fine"
        await wait_shortly()
        yield ChatMessage(role="nobody", content="wrong")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not swallows:
                raise
        yield "more"
        await asyncio.Event().wait()

    async with open_engine(predict) as engine:
        assert await _ended_by_what_it_said(engine) == ("failed", "answer_invalid", "fine")


async def test_function_is_ended_by_words_beyond_the_limit_though_it_waits() -> None:
    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        yield "12345"
        await wait_shortly()
        yield "67890"
        await asyncio.Event().wait()

    async with open_engine(predict, yields="deltas", settings={"max_answer_bytes": 8}) as engine:
        assert await _ended_by_what_it_said(engine) == ("failed", "answer_too_large", "12345678")


async def test_snapshot_that_is_another_text_replaces_what_was_told_before(no_beat: None) -> None:
    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        for text in ("ab", "xb y", "xb yz"):
            yield text
            await wait_shortly()

    async with open_engine(predict) as engine:
        events = await engine.events(await engine.start())
        assert [(event.event, event.json["text"]) for event in events[2:-1]] == [
            ("delta", "ab"),
            ("replace", "xb y"),
            ("delta", "z"),
        ]


async def test_held_words_of_a_turn_that_was_stopped_are_told_to_nobody() -> None:
    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        yield "shown"
        await give_way()
        yield "held"
        stopping.set()
        await asyncio.Event().wait()

    stopping = asyncio.Event()
    async with open_engine(predict, yields="deltas", pace=Pace(beat_s=0.5)) as engine:
        turn = await engine.start()
        await within(stopping.wait())
        record = await within(engine.turns.stop_turn("", turn.turn_id))
        log = turn.room.log
        assert log is not None
        last_seq = log.last_seq
        await asyncio.sleep(0.6)
        assert (record.messages[0].text, log.last_seq) == ("shown", last_seq)


@pytest.mark.parametrize("told", ["", "0"])
async def test_words_wait_while_the_store_is_given_a_number(told: str, no_beat: None) -> None:
    begun, resumed = asyncio.Event(), asyncio.Event()

    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        begun.set()
        if told:
            yield told
        await resumed.wait()
        yield "end"

    async with open_engine(predict, yields="deltas") as engine:
        turn = await engine.start()
        await within(begun.wait())
        if told:
            await shown(turn, told)
        log = turn.room.log
        assert log is not None
        async with log.numbering:
            last_seq = log.last_seq
            resumed.set()
            await asyncio.sleep(0.02)
            assert (log.last_seq, turn.ended.is_set()) == (last_seq, False)
        assert (await engine.end_of(turn)).messages[0].text == f"{told}end"


async def test_function_waits_when_the_store_is_far_behind(no_beat: None, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[int] = []

    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        for number in range(Pace().max_unjournaled + 500):
            said.append(number)
            yield "x"
            await give_way()

    async with open_engine(predict, yields="deltas") as engine:
        gate = asyncio.Event()
        journal_events = engine.store.journal_events

        async def behind(*args: Any, **kwargs: Any) -> None:
            await gate.wait()
            await journal_events(*args, **kwargs)

        monkeypatch.setattr(engine.store, "journal_events", behind)
        turn = await engine.start()
        await until(lambda: turn.run.speech is not None and turn.run.speech.is_behind)
        await asyncio.sleep(0.02)
        assert len(said) <= Pace().max_unjournaled + 10
        gate.set()
        assert (await engine.end_of(turn)).turn.status == "completed"
