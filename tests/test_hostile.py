"""Hostile chat functions: whatever they do, the server keeps answering and every turn ends with a status.

Each function answers "ask again" like any other function; its hostility shows with any other message.
"""

import asyncio
import contextvars
import functools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from chatserve.contracts.store import Store
from chatserve.contracts.turns import TurnRecord
from chatserve.core.errors import ChatError
from chatserve.core.types import ChatMessage, FinalStatus, ToolCallPart
from chatserve.engine import RunningTurn
from chatserve.stores import create_store
from tests.support.engine import Engine, open_engine, until, within
from tests.support.reducer import ClientAnswer

POLITE = "ask again"
History = list[Any]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return create_store("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/chat.db")


async def check_survived(engine: Engine, turn: RunningTurn, status: FinalStatus, text: str | None = None) -> TurnRecord:
    """Check how a turn ended, that its stream and the store say so, and that other sessions are answered."""
    record = await engine.end_of(turn)
    assert record.turn.status == status
    client = ClientAnswer().apply_all((event.event, event.json) for event in await engine.events(turn))
    assert client.done is not None
    assert client.done["status"] == status
    assert client.text == "".join(message.text for message in record.messages)
    stored = await engine.store.get_turn("", turn.turn_id)
    assert (stored.turn.status, stored.messages) == (status, record.messages)
    if text is not None:
        assert client.text == text
    assert (await engine.ask(POLITE, "s_other")).turn.status == "completed"
    return record


async def said(turn: RunningTurn, text: str) -> None:
    """Wait until a turn's answer is this far."""
    await until(lambda: turn.run.draft is not None and text in "".join(m.text for m in turn.run.draft.messages()))


# --- functions that end by themselves ----------------------------------------------------------------------------


def endless_recursion() -> str:
    return endless_recursion()


def before(error: BaseException) -> Callable[..., Any]:
    def predict(message: str, history: History) -> str:
        if message == POLITE:
            return "fine"
        raise error

    return predict


def before_async(error: BaseException) -> Callable[..., Any]:
    async def predict(message: str, history: History) -> str:
        return before(error)(message, history)

    return predict


def between(error: BaseException) -> Callable[..., Any]:
    def predict(message: str, history: History) -> Iterator[str]:
        yield "so far"
        if message != POLITE:
            raise error
        yield "so far so good"

    return predict


def between_async(error: BaseException) -> Callable[..., Any]:
    async def predict(message: str, history: History) -> AsyncIterator[str]:
        yield "so far"
        if message != POLITE:
            raise error

    return predict


def between_async_waiting(error: BaseException) -> Callable[..., Any]:
    async def predict(message: str, history: History) -> AsyncIterator[str]:
        yield "so far"
        await asyncio.sleep(0.001)
        if message != POLITE:
            raise error

    return predict


ERRORS = [
    ValueError("bad"),
    StopIteration(),
    StopAsyncIteration(),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    TimeoutError(),
    BaseExceptionGroup("several", [KeyboardInterrupt()]),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", [before, before_async, between, between_async, between_async_waiting])
async def test_whatever_a_function_raises_its_turn_fails(place: Callable[..., Any], error: BaseException) -> None:
    async with open_engine(place(error)) as engine:
        text = "so far" if place.__name__.startswith("between") else ""
        record = await check_survived(engine, await engine.start(), "failed", text)
        assert record.turn.error is not None
        assert record.turn.error.code == "chat_function_failed"
        assert record.turn.error.detail == "the chat function failed"


async def test_error_after_the_last_yield_fails_the_turn_and_keeps_its_text(store: Store) -> None:
    def predict(message: str, history: History) -> Iterator[str]:
        yield "all of it"
        if message != POLITE:
            raise ValueError

    async with open_engine(predict, store=store) as engine:
        await check_survived(engine, await engine.start(), "failed", "all of it")
        assert await engine.history() == [("user", "hi"), ("assistant", "all of it")]


@pytest.mark.parametrize("is_async", [True, False])
async def test_recursion_without_end_fails_the_turn(is_async: bool) -> None:
    def predict(message: str, history: History) -> str:
        return "fine" if message == POLITE else endless_recursion()

    async def predict_async(message: str, history: History) -> str:
        return predict(message, history)

    async with open_engine(predict_async if is_async else predict) as engine:
        await check_survived(engine, await engine.start(), "failed", "")


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


@pytest.mark.parametrize("error", [Unspeakable(), ValueError("half \ud800")], ids=["unspeakable", "surrogate"])
async def test_error_that_cannot_be_told_still_ends_the_turn(error: BaseException) -> None:
    async with open_engine(before(error), settings={"debug": True}) as engine:
        await check_survived(engine, await engine.start(), "failed", "")


async def test_chat_error_with_nonsense_in_it_is_shown_as_far_as_it_can_be(store: Store) -> None:
    error = ChatError("half \ud800", code=b"x", status_code="4", retryable="no")  # type: ignore[arg-type]
    async with open_engine(before(error), store=store) as engine:
        record = await check_survived(engine, await engine.start(), "failed", "")
        assert record.turn.error is not None
        assert (record.turn.error.detail, record.turn.error.status_code) == ("half \ufffd", 500)


# --- values ------------------------------------------------------------------------------------------------------


class Evil:
    @property
    def role(self) -> str:
        raise RuntimeError("touched")

    def __repr__(self) -> str:
        raise RuntimeError("shown")


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize("kind", ["returned", "yielded", "async returned", "async yielded"])
@pytest.mark.parametrize(
    ("value", "status"),
    [
        (object(), "failed"),
        (Evil(), "failed"),
        (int, "failed"),
        ({"role": "bot", "content": "x"}, "failed"),
        (ChatMessage("x", role="nobody"), "failed"),
        ({"role": "assistant", "content": object()}, "failed"),
        ([ChatMessage("x"), object()], "failed"),
        (float("nan"), "completed"),
        ({"a": [float("inf"), 2**99, {1: "x"}]}, "completed"),
        ({"a": [float("inf"), 2**99, {1: b"\xff"}]}, "failed"),
        (CIRCLE, "completed"),
        ("lone \ud800 surrogate", "completed"),
        ({"\ud800": "\udfff"}, "completed"),
        (ChatMessage("x", metadata={"title": "\ud800"}, options=[{"value": "\ud800"}]), "completed"),
        ("x" * (1 << 20), "completed"),
        ("é" * (3 << 20), "failed"),
        ("", "completed"),
        (None, "completed"),
        ([], "completed"),
    ],
    ids=lambda value: str(type(value).__name__),
)
async def test_any_value_ends_in_a_status(value: Any, status: FinalStatus, kind: str) -> None:
    def returned(message: str, history: History) -> Any:
        return "fine" if message == POLITE else value

    def yielded(message: str, history: History) -> Iterator[Any]:
        yield returned(message, history)

    async def async_returned(message: str, history: History) -> Any:
        return returned(message, history)

    async def async_yielded(message: str, history: History) -> AsyncIterator[Any]:
        yield returned(message, history)

    functions = {"returned": returned, "yielded": yielded}
    functions |= {"async returned": async_returned, "async yielded": async_yielded}
    async with open_engine(functions[kind]) as engine:
        await check_survived(engine, await engine.start(), status)


async def test_values_no_encoder_can_write_are_cleaned_before_they_reach_the_store(store: Store) -> None:
    async def predict(message: str, history: History) -> AsyncIterator[Any]:
        yield "a\ud800b"
        yield {"\ud800": float("nan"), "n": 2**70}
        yield {"content": [{"type": "tool_call", "tool_call_id": "\ud800", "name": "\ud800", "arguments": "\ud800"}]}

    async with open_engine(predict, store=store) as engine:
        record = await check_survived(engine, await engine.start(), "completed")
        assert record.messages[0].content == (ToolCallPart("\ufffd", "\ufffd", "\ufffd"),)


async def test_answer_beyond_its_limit_fails_and_keeps_what_fits(store: Store) -> None:
    async def predict(message: str, history: History) -> AsyncIterator[str]:
        text = ""
        while message != POLITE:
            yield (text := text + "é" * 40)

    async with open_engine(predict, store=store, settings={"max_answer_bytes": 999}) as engine:
        record = await check_survived(engine, await engine.start(), "failed", "é" * 499)
        assert record.turn.error is not None
        assert record.turn.error.code == "answer_too_large"


@pytest.mark.parametrize("is_async", [True, False])
async def test_very_many_yields_arrive_whole(is_async: bool) -> None:
    def predict(message: str, history: History) -> Iterator[str]:
        for length in range(1, 10_000):
            yield "x" * length

    async def predict_async(message: str, history: History) -> AsyncIterator[str]:
        for text in predict(message, history):
            yield text

    async with open_engine(predict_async if is_async else predict) as engine:
        await check_survived(engine, await engine.start(), "completed", "x" * 9999)


# --- functions that must be stopped ------------------------------------------------------------------------------


async def never_awaits(message: str, history: History) -> AsyncIterator[str]:
    yield "begun"
    while message != POLITE:
        yield "begun"


def never_pauses(message: str, history: History) -> Iterator[str]:
    yield "begun"
    while message != POLITE:
        yield "begun"


async def blocks_the_loop(message: str, history: History) -> AsyncIterator[str]:
    yield "begun"
    while message != POLITE:
        time.sleep(0.1)
        await asyncio.sleep(0)
        yield "begun"


async def swallows_one_cancel(message: str, history: History) -> AsyncIterator[str]:
    yield "begun"
    while message != POLITE:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield "begun and still there"
            await asyncio.sleep(0)
            yield "begun and still there twice"
            return


async def yields_in_finally(message: str, history: History) -> AsyncIterator[str]:
    try:
        yield "begun"
        if message != POLITE:
            await asyncio.Event().wait()
    finally:
        yield "begun, finally"


def yields_in_finally_sync(message: str, history: History) -> Iterator[str]:
    try:
        yield "begun"
        while message != POLITE:
            yield "begun"
    finally:
        yield "begun, finally"


async def raises_when_stopped(message: str, history: History) -> AsyncIterator[str]:
    try:
        yield "begun"
        if message != POLITE:
            await asyncio.Event().wait()
    finally:
        if message != POLITE:
            raise ValueError("not clean")


STOPPABLE = [
    never_awaits,
    never_pauses,
    blocks_the_loop,
    swallows_one_cancel,
    yields_in_finally,
    yields_in_finally_sync,
    raises_when_stopped,
]


@pytest.mark.parametrize("function", STOPPABLE)
async def test_function_that_does_not_end_leaves_others_alone_and_can_be_stopped(
    function: Callable[..., Any], store: Store
) -> None:
    async with open_engine(function, store=store) as engine:
        turn = await engine.start()
        await said(turn, "begun")
        assert (await engine.ask(POLITE, "s_other")).turn.status == "completed"
        assert (await within(engine.turns.stop_turn("", turn.turn_id))).turn.status == "stopped"
        await check_survived(engine, turn, "stopped", "begun")
        assert (await engine.ask(POLITE)).turn.status == "completed"


async def test_function_that_swallows_every_cancel_is_left_behind() -> None:
    may_end = asyncio.Event()

    async def predict(message: str, history: History) -> AsyncIterator[str]:
        yield "begun"
        while message != POLITE and not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue
        yield "begun and ended"

    async with open_engine(predict) as engine:
        turn = await engine.start()
        await said(turn, "begun")
        await within(engine.turns.stop_turn("", turn.turn_id))
        await check_survived(engine, turn, "stopped", "begun")
        may_end.set()
        await within(turn.function_ended.wait())
        assert (await engine.store.get_turn("", turn.turn_id)).messages[0].text == "begun"


async def test_thread_that_never_returns_is_left_behind_and_can_write_nothing_more(store: Store) -> None:
    may_end, ended = threading.Event(), threading.Event()

    def predict(message: str, history: History) -> str:
        if message != POLITE:
            may_end.wait()
            ended.set()
        return "too late"

    async with open_engine(predict, store=store) as engine:
        turn = await engine.start()
        assert (await engine.ask(POLITE, "s_other")).turn.status == "completed"
        assert (await within(engine.turns.stop_turn("", turn.turn_id))).turn.status == "stopped"
        await check_survived(engine, turn, "stopped", "")
        may_end.set()
        assert await asyncio.to_thread(ended.wait, 10)
        await until(lambda: turn.run.call is not None and not turn.run.call.is_running)
        assert (await engine.store.get_turn("", turn.turn_id)).messages == ()


@pytest.mark.parametrize("is_async", [True, False])
async def test_what_is_yielded_after_stop_is_not_in_the_answer(is_async: bool) -> None:
    stopped = threading.Event()
    told: list[str] = []

    def predict(message: str, history: History) -> Iterator[str]:
        yield "before"
        if message != POLITE:
            assert stopped.wait(10)
            yield "before and after"
        told.append("asked for more")

    async def predict_async(message: str, history: History) -> AsyncIterator[str]:
        yield "before"
        try:
            await asyncio.Event().wait() if message != POLITE else None
        finally:
            yield "before and after"

    async with open_engine(predict_async if is_async else predict) as engine:
        turn = await engine.start()
        await said(turn, "before")
        await within(engine.turns.stop_turn("", turn.turn_id))
        stopped.set()
        await check_survived(engine, turn, "stopped", "before")
        await until(lambda: turn.run.call is not None and not turn.run.call.is_running)
        assert told in ([], ["asked for more"])
        assert (await engine.store.get_turn("", turn.turn_id)).messages[0].text == "before"


async def test_deadline_ends_a_function_that_does_not(store: Store) -> None:
    async with open_engine(swallows_one_cancel, store=store, turn_timeout_s=0.01) as engine:
        record = await engine.ask()
        assert record.turn.error is not None
        assert (record.turn.status, record.turn.error.code) == ("failed", "turn_timeout")


async def test_function_that_cancels_its_own_task_ends_its_turn() -> None:
    async def predict(message: str, history: History) -> AsyncIterator[str]:
        yield "begun"
        if message != POLITE:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(1)

    async with open_engine(predict) as engine:
        await check_survived(engine, await engine.start(), "failed", "begun")


async def test_function_that_leaves_a_cancel_behind_ends_its_turn(store: Store) -> None:
    async def predict(message: str, history: History) -> str:
        task = asyncio.current_task()
        assert task is not None
        if message != POLITE:
            task.cancel()
        return "done"

    async with open_engine(predict, store=store) as engine:
        record = await engine.end_of(await engine.start())
        assert record.turn.status in ("completed", "failed")
        assert (await engine.ask(POLITE)).turn.status == "completed"


# --- state that is touched from outside --------------------------------------------------------------------------


async def test_broken_session_state_does_not_keep_a_turn_from_ending(store: Store) -> None:
    class Unreadable:
        def __str__(self) -> str:
            raise RuntimeError("unreadable")

    from chatserve import ChatContext

    def predict(message: str, history: History, ctx: ChatContext) -> str:
        match message:
            case "unreadable":
                ctx.session.state["x"] = Unreadable()
            case "gone":
                ctx.session = None  # type: ignore[assignment]
            case "no dict":
                ctx.session.state = 5  # type: ignore[assignment]
            case "no title":
                ctx.session.title = 5  # type: ignore[assignment]
        return message

    async with open_engine(predict, store=store) as engine:
        for message in ("unreadable", "gone", "no dict", "no title"):
            assert (await engine.ask(message)).turn.status == "completed"
        session = await engine.store.get_session("", "s_1")
        assert (session.state, session.title) == ({}, None)


async def test_function_that_rewrites_what_it_is_given_changes_nothing_kept(store: Store) -> None:
    def predict(message: Any, history: History) -> str:
        length = len(history)
        for entry in history:
            entry["role"], entry["content"] = "system", "forged"
        history.clear()
        if isinstance(message, dict):
            message["text"] = "forged"
            message["files"].append("/etc/passwd")
        return str(length)

    for multimodal in (False, True):
        async with open_engine(predict, multimodal=multimodal) as engine:
            for text in ("a", "b", "c"):
                await engine.ask(text)
            history = await engine.history()
            assert history == [("user", "a"), ("assistant", "0"), ("user", "b"), ("assistant", "2"), *history[4:]]
            assert history[4:] == [("user", "c"), ("assistant", "4")]


# --- every kind of callable --------------------------------------------------------------------------------------

COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("COLOUR", default="none")


async def test_context_variables_and_thread_stay_the_same_through_a_sync_generator() -> None:
    threads: set[int] = set()

    def predict(message: str, history: History) -> Iterator[str]:
        COLOUR.set(message)
        try:
            for _ in range(200):
                threads.add(threading.get_ident())
                yield COLOUR.get()
        finally:
            threads.add(threading.get_ident())

    async with open_engine(predict) as engine:
        assert (await engine.ask("red")).messages[0].text == "red"
        assert COLOUR.get() == "none"
        assert len(threads) == 1
        assert threads != {threading.get_ident()}


def plain(message: str, history: History) -> str:
    return f"plain {message}"


def generator(message: str, history: History) -> Iterator[str]:
    yield "plain"
    yield plain(message, history)


async def coroutine(message: str, history: History) -> str:
    await asyncio.sleep(0)
    return plain(message, history)


async def async_generator(message: str, history: History) -> AsyncIterator[str]:
    for text in generator(message, history):
        yield text
        await asyncio.sleep(0)


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Callables:
    def __call__(self, message: str, history: History) -> str:
        return plain(message, history)

    def method(self, message: str, history: History) -> Iterator[str]:
        return generator(message, history)

    async def async_method(self, message: str, history: History) -> str:
        return await coroutine(message, history)

    @classmethod
    def of_class(cls, message: str, history: History) -> str:
        return plain(message, history)

    @staticmethod
    async def static(message: str, history: History) -> AsyncIterator[str]:
        async for text in async_generator(message, history):
            yield text


class AsyncCallable:
    async def __call__(self, message: str, history: History) -> AsyncIterator[str]:
        async for text in async_generator(message, history):
            yield text


class Words:
    """An iterator that is no generator."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = iter(texts)

    def __iter__(self) -> "Words":
        return self

    def __next__(self) -> str:
        return next(self._texts)


class AsyncWords:
    """An async iterator that is no generator."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = iter(texts)

    def __aiter__(self) -> "AsyncWords":
        return self

    async def __anext__(self) -> str:
        try:
            return next(self._texts)
        except StopIteration:
            raise StopAsyncIteration from None


async def returns_iterator(message: str, history: History) -> Iterator[str]:
    return generator(message, history)


async def returns_async_iterator(message: str, history: History) -> AsyncIterator[str]:
    return async_generator(message, history)


def with_extra(prefix: str, message: str, history: History) -> str:
    return f"{prefix} {message}"


@pytest.mark.parametrize(
    "function",
    [
        plain,
        generator,
        coroutine,
        async_generator,
        *map(wrapped, (plain, generator, coroutine, async_generator)),
        functools.partial(with_extra, "plain"),
        functools.partial(wrapped(async_generator)),
        functools.partial(async_generator),
        Callables(),
        Callables().method,
        Callables().async_method,
        Callables.of_class,
        Callables.static,
        AsyncCallable(),
        returns_iterator,
        returns_async_iterator,
        lambda message, history: generator(message, history),
        lambda message, history: coroutine(message, history),
        lambda message, history: async_generator(message, history),
        lambda message, history: Words(["plain", plain(message, history)]),
        lambda message, history: AsyncWords(["plain", plain(message, history)]),
        lambda message, history: map(str, Words(["plain", plain(message, history)])),
    ],
)
async def test_every_kind_of_callable_answers(function: Callable[..., Any]) -> None:
    async with open_engine(function) as engine:
        record = await engine.ask("hi")
        assert (record.turn.status, record.messages[0].text) == ("completed", "plain hi")


@pytest.mark.parametrize("function", [lambda message, history: coroutine(message, history), generator, plain])
async def test_stop_while_a_plain_function_has_just_begun_leaves_nothing_unawaited(function: Any) -> None:
    begun, may_return = threading.Event(), threading.Event()

    def predict(message: str, history: History) -> Any:
        begun.set()
        assert may_return.wait(10)
        return function(message, history)

    async with open_engine(predict) as engine:
        turn = await engine.start()
        assert await asyncio.to_thread(begun.wait, 10)
        await within(engine.turns.stop_turn("", turn.turn_id))
        may_return.set()
        await until(lambda: turn.run.call is not None and not turn.run.call.is_running)


async def test_reports_from_several_threads_of_one_function_all_arrive() -> None:
    from chatserve import ChatContext

    def predict(message: str, history: History, ctx: ChatContext) -> str:
        def report(number: int) -> None:
            for step in range(200):
                ctx.status(f"{number}.{step}")

        threads = [threading.Thread(target=report, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        return "all said"

    async with open_engine(predict) as engine:
        events = await engine.events(await engine.start())
        told = [event.json["text"] for event in events if event.event == "status"]
        assert len(told) == 800
        for number in range(4):
            own = [text for text in told if text.startswith(f"{number}.")]
            assert own == [f"{number}.{step}" for step in range(200)]


async def test_last_words_of_a_thread_are_never_lost() -> None:
    def predict(message: str, history: History) -> str:
        return message

    async with open_engine(predict) as engine:
        turns = [await engine.start(str(number), f"s_{number}") for number in range(200)]
        assert [(await engine.end_of(turn)).messages[0].text for turn in turns] == list(map(str, range(200)))
