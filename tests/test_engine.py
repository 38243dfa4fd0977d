"""The turn engine: who may begin, who waits, who is ended and how, and what is kept of it."""

import asyncio
import gc
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

import pytest

from chatserve import ChatContext
from chatserve.contracts.store import Store
from chatserve.contracts.turns import TurnCall, TurnRequest
from chatserve.core.errors import (
    ChatUnknown,
    IdempotencyConflict,
    Overloaded,
    QueueFull,
    SessionBusy,
    SessionUnknown,
    ShuttingDown,
    StoreError,
    TurnUnknown,
    VersionConflict,
)
from chatserve.core.types import ChatMessage, Message, TextPart
from chatserve.engine import Pace, RunningTurn
from chatserve.stores import create_store
from tests.support import engine as support
from tests.support.engine import NATIVE, Engine, Slow, chat_of, decode, open_engine, until, within

History = list[Any]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return create_store("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/chat.db")


class Gate:
    """A function that says what it was asked, and ends when its gate opens; it counts what it is doing."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.running = self.most = 0

    async def __call__(self, message: str, history: History) -> AsyncIterator[str]:
        self.begun.append(message)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            yield message
            await self.gate.wait()
            yield f"{message} answered"
        finally:
            self.running -= 1
            self.ended.append(message)


def echo(message: str, history: History) -> str:
    return message


async def submit_all(engine: Engine, texts: list[str], session_id: str = "s_1", **request: Any) -> list[Any]:
    """Submit many messages to one session at once; return each turn or what was raised."""
    return await asyncio.gather(*(engine.start(text, session_id, **request) for text in texts), return_exceptions=True)


def turns_of(outcomes: list[Any]) -> list[RunningTurn]:
    return [outcome for outcome in outcomes if isinstance(outcome, RunningTurn)]


# --- busy sessions -----------------------------------------------------------------------------------------------


async def test_of_a_hundred_messages_at_once_one_is_accepted_and_the_others_are_refused(store: Store) -> None:
    gate = Gate()
    async with open_engine(gate, store=store) as engine:
        outcomes = await submit_all(engine, [str(number) for number in range(100)])
        (winner,) = turns_of(outcomes)
        refusals = [outcome for outcome in outcomes if outcome is not winner]
        assert all(isinstance(refusal, SessionBusy) for refusal in refusals)
        assert {refusal.extra["turn_id"] for refusal in refusals} == {winner.turn_id}
        gate.gate.set()
        text = (await engine.end_of(winner)).messages[0].text
        assert await engine.history() == [("user", text.removesuffix(" answered")), ("assistant", text)]


async def test_a_hundred_messages_at_once_are_answered_one_after_the_other_in_their_order(store: Store) -> None:
    gate = Gate()
    gate.gate.set()
    async with open_engine(gate, store=store, when_busy="queue") as engine:
        texts = [str(number) for number in range(100)]
        turns = turns_of(await submit_all(engine, texts))
        assert len(turns) == 100
        records = [await engine.end_of(turn) for turn in turns]
        assert {record.turn.status for record in records} == {"completed"}
        assert gate.begun == texts
        assert gate.most == 1
        assert [text for role, text in await engine.history() if role == "user"] == texts


@pytest.mark.parametrize("policy", ["interrupt", "rollback"])
async def test_last_of_a_hundred_messages_at_once_is_the_one_that_is_answered(
    policy: Literal["interrupt", "rollback"], store: Store
) -> None:
    gate = Gate()
    async with open_engine(gate, store=store, when_busy=policy) as engine:
        turns = turns_of(await submit_all(engine, [str(number) for number in range(100)]))
        assert len(turns) == 100
        gate.gate.set()
        records = [await engine.end_of(turn) for turn in turns]
        assert Counter(record.turn.status for record in records) == {"interrupted": 99, "completed": 1}
        assert records[-1].messages[0].text == "99 answered"
        assert gate.most == 1
        history = await engine.history()
        assert history[-2:] == [("user", "99"), ("assistant", "99 answered")]
        assert len(history) == 2 if policy == "rollback" else len(history) > 100


@pytest.mark.parametrize(("policy", "kept"), [("interrupt", ["before", "before"]), ("rollback", [])])
async def test_interrupted_answer_stays_in_history_and_a_rolled_back_one_does_not(
    policy: Literal["interrupt", "rollback"], kept: list[str], store: Store
) -> None:
    gate = Gate()
    async with open_engine(gate, store=store) as engine:
        await engine.start("before")
        await until(lambda: gate.begun == ["before"])
        turn = await engine.start("after", when_busy=policy)
        gate.gate.set()
        await engine.end_of(turn)
        assert [text for _, text in await engine.history()] == [*kept, "after", "after answered"]


async def test_interrupt_ends_what_waits_too(store: Store) -> None:
    gate = Gate()
    async with open_engine(gate, store=store, when_busy="queue") as engine:
        turns = [await engine.start(str(number)) for number in range(4)]
        last = await engine.start("last", when_busy="interrupt")
        gate.gate.set()
        assert [(await engine.end_of(turn)).turn.status for turn in turns] == ["interrupted"] * 4
        assert (await engine.end_of(last)).turn.status == "completed"
        assert [text for role, text in await engine.history() if role == "user"] == ["0", "last"]


async def test_stale_version_is_refused_before_anything_is_interrupted_for_it() -> None:
    gate = Gate()
    async with open_engine(gate) as engine:
        turn = await engine.start()
        version = (await engine.store.get_session("", "s_1")).version
        with pytest.raises(VersionConflict) as raised:
            await engine.start("new", when_busy="interrupt", if_version=version - 1)
        assert raised.value.extra["version"] == version
        assert not turn.closed
        again = await engine.start("new", when_busy="interrupt", if_version=version)
        gate.gate.set()
        assert (await engine.end_of(again)).turn.status == "completed"


async def test_session_with_a_waiting_turn_is_busy_though_none_runs(store: Store) -> None:
    gate = Gate()
    async with open_engine(gate, store=store, concurrency_limit=1, when_busy="reject") as engine:
        first = await engine.start("first", "s_a")
        waiting = await engine.start("waiting", "s_b")
        assert waiting.turn.status == "queued"
        with pytest.raises(SessionBusy):
            await engine.start("too much", "s_b")
        later = await engine.start("later", "s_b", when_busy="interrupt", idempotency_key="k", body_hash="h")
        assert (await engine.end_of(waiting)).turn.status == "interrupted"
        gate.gate.set()
        for turn in (first, later):
            assert (await engine.end_of(turn)).turn.status == "completed"
        assert gate.most == 1
        assert gate.begun == ["first", "later"]


async def test_one_owners_session_is_unknown_to_another_and_stays_his(store: Store) -> None:
    async with open_engine(echo, store=store) as engine:
        await engine.ask("mine", "s_1", owner="ann")
        for _ in range(2):
            with pytest.raises(SessionUnknown):
                await engine.start("hers", "s_1", owner="bob")
            with pytest.raises(SessionUnknown):
                await engine.turns.follow_session("bob", "s_1", None, NATIVE)
        assert (await engine.ask("mine again", "s_1", owner="ann")).turn.status == "completed"


async def test_turns_of_another_owner_cannot_be_read_followed_or_stopped() -> None:
    gate = Gate()
    async with open_engine(gate) as engine:
        turn = await engine.start(owner="ann")
        for refused in (
            engine.turns.stop_turn("bob", turn.turn_id),
            engine.turns.get_turn("bob", turn.turn_id),
            engine.turns.follow_turn("bob", turn.turn_id, None, NATIVE),
        ):
            with pytest.raises(TurnUnknown):
                await refused
        assert not turn.closed
        gate.gate.set()
        await engine.end_of(turn)


async def test_unknown_chat_and_unknown_session_are_refused_and_leave_nothing() -> None:
    async with open_engine(echo) as engine:
        with pytest.raises(ChatUnknown):
            await engine.start(chat="other")
        with pytest.raises(SessionUnknown):
            await engine.start(creates="nothing")
        assert (await engine.store.list_sessions("", after=None, limit=10)).items == ()
        assert len(engine.turns.rooms) == 0


# --- admission ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sessions", ["one", "many", "none"])
async def test_no_more_turns_run_at_once_than_the_limit_and_all_are_answered(sessions: str, store: Store) -> None:
    running = most = 0
    lock = threading.Lock()

    def predict(message: str, history: History) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1
        return message

    async with open_engine(predict, store=store, concurrency_limit=2, when_busy="queue") as engine:
        where = {"one": lambda n: {}, "many": lambda n: {"session_id": f"s_{n}"}}
        stateless = {"session_id": "", "history": ()}
        starts = [engine.start(str(n), **where.get(sessions, lambda n: stateless)(n)) for n in range(60)]
        turns = await asyncio.gather(*starts)
        records = [await engine.end_of(turn) for turn in turns]
        assert [record.messages[0].text for record in records] == [str(number) for number in range(60)]
        assert most <= 2


async def test_waiting_turn_is_told_its_place_and_about_how_long_it_takes() -> None:
    gate = Gate()
    async with open_engine(gate, concurrency_limit=1) as engine:
        first = await engine.start("0", "s_0")
        engine.clock.now += 8
        waiting = [await engine.start("1", "s_1")]
        await within(engine.turns.stop_turn("", first.turn_id))
        waiting += [await engine.start(str(number), f"s_{number}") for number in (2, 3)]
        gate.gate.set()
        told = [(await engine.events(turn))[:2] for turn in waiting]
        assert [queued.json.get("position") for queued, _ in told] == [1, 1, 2]
        assert [queued.json.get("eta_s") for queued, _ in told] == [None, 8.0, 16.0]
        assert [(queued.json["status"], running.json["status"]) for queued, running in told] == [
            ("queued", "running")
        ] * 3
        assert all(running.json["version"] == 2 for _, running in told)


async def test_queue_that_is_full_refuses_and_stores_nothing(store: Store) -> None:
    gate = Gate()
    async with open_engine(gate, store=store, concurrency_limit=1, max_queue=3) as engine:
        first = await engine.start("first", "s_first")
        starts = (engine.start(str(number), f"s_{number}") for number in range(20))
        outcomes = await asyncio.gather(*starts, return_exceptions=True)
        assert Counter(type(outcome) for outcome in outcomes) == {RunningTurn: 3, QueueFull: 17}
        assert len((await engine.store.list_sessions("", after=None, limit=100)).items) == 4
        gate.gate.set()
        for turn in (first, *turns_of(list(outcomes))):
            assert (await engine.end_of(turn)).turn.status == "completed"
        assert (await engine.ask("again", "s_first")).turn.status == "completed"


async def test_turn_runs_though_the_slot_became_free_while_it_was_written_down(store: Store) -> None:
    gate, slow = Gate(), Slow(store, "begin_turn")
    async with open_engine(gate, store=slow, concurrency_limit=1) as engine:
        slow.gate.set()
        first = await engine.start("first", "s_a")
        slow.gate.clear()
        slow.entered.clear()
        second = asyncio.create_task(engine.start("second", "s_b"))
        await within(slow.entered.wait())
        gate.gate.set()
        await engine.end_of(first)
        slow.gate.set()
        assert (await engine.end_of(await within(second))).turn.status == "completed"


@pytest.mark.parametrize("kind", ["async", "async generator", "sync", "generator", "returns a coroutine"])
async def test_function_runs_in_the_context_of_the_request_that_submitted_it(store: Store, kind: str) -> None:
    caller: ContextVar[str] = ContextVar("caller")
    begun, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def wait_in_thread(message: str) -> str:
        if message == "first":
            loop.call_soon_threadsafe(begun.set)
            assert gate.wait(support.WAIT_S)
        return caller.get()

    async def wait(message: str, history: History) -> str:
        return await asyncio.to_thread(wait_in_thread, message)

    async def wait_and_yield(message: str, history: History) -> AsyncIterator[str]:
        yield await wait(message, history)

    def wait_and_yield_in_thread(message: str, history: History) -> Iterator[str]:
        yield f"{caller.get()} "
        yield f"{caller.get()} {wait_in_thread(message)}"

    functions: dict[str, Callable[..., Any]] = {
        "async": wait,
        "async generator": wait_and_yield,
        "sync": lambda message, history: wait_in_thread(message),
        "generator": wait_and_yield_in_thread,
        "returns a coroutine": lambda message, history: wait(message, history),
    }

    async def submit(name: str, text: str, session_id: str) -> RunningTurn:
        caller.set(name)
        return await engine.start(text, session_id)

    async with open_engine(functions[kind], store=store, concurrency_limit=1) as engine:
        first = await asyncio.create_task(submit("ann", "first", "s_a"))
        await within(begun.wait())
        second = await asyncio.create_task(submit("bob", "second", "s_b"))
        assert second.turn.status == "queued"
        gate.set()
        said = [(await engine.end_of(turn)).messages[0].text.split() for turn in (first, second)]
        assert [set(words) for words in said] == [{"ann"}, {"bob"}]


async def test_waiting_turn_runs_when_the_one_before_it_could_not_begin(store: Store) -> None:
    slow = Slow(store, "begin_turn")
    async with open_engine(echo, store=slow, concurrency_limit=1) as engine:
        first = asyncio.create_task(engine.start("first", "s_a", creates="nothing"))
        await within(slow.entered.wait())
        slow.waiting = ()
        second = await engine.start("second", "s_b")
        assert second.turn.status == "queued"
        slow.gate.set()
        with pytest.raises(SessionUnknown):
            await within(first)
        assert (await engine.end_of(second)).turn.status == "completed"
        assert (await engine.ask("third", "s_c")).turn.status == "completed"


async def test_chats_have_slots_of_their_own() -> None:
    gate = Gate()
    async with open_engine(gate, concurrency_limit=1, others=[chat_of(echo, name="other")]) as engine:
        turn = await engine.start("slow", "s_1")
        assert (await engine.ask("quick", "s_2", chat="other")).messages[0].text == "quick"
        gate.gate.set()
        await engine.end_of(turn)


async def test_chats_that_share_a_session_take_turns_in_it(store: Store) -> None:
    gate = Gate()
    async with open_engine(gate, store=store, when_busy="queue", others=[chat_of(echo, name="other")]) as engine:
        first = await engine.start("first")
        second = await engine.start("second", chat="other", when_busy="queue")
        assert second.turn.status == "queued"
        gate.gate.set()
        await engine.end_of(first)
        assert (await engine.end_of(second)).messages[0].text == "second"


async def test_functions_that_were_left_running_are_counted_and_capped() -> None:
    may_end = threading.Event()

    def predict(message: str, history: History) -> str:
        return message if message == "quick" else str(may_end.wait(20))

    async with open_engine(predict, pace=Pace(max_left_running=2)) as engine:
        for number in range(2):
            turn = await engine.start("slow", f"s_{number}")
            await until(lambda turn=turn: turn.run.call is not None)  # type: ignore[misc]
            await within(engine.turns.stop_turn("", turn.turn_id))
        with pytest.raises(Overloaded):
            await engine.start("quick", "s_9")
        may_end.set()
        await until(lambda: not any(turn.run.is_running for turn in engine.turns._lifecycle._left_running))
        assert (await engine.ask("quick", "s_9")).turn.status == "completed"


# --- stop --------------------------------------------------------------------------------------------------------


async def test_stopped_turn_keeps_what_it_had_said(store: Store) -> None:
    gate = Gate()
    async with open_engine(gate, store=store) as engine:
        turn = await engine.start("hi")
        await until(lambda: turn.run.draft is not None and bool(turn.run.draft.messages()))
        record = await within(engine.turns.stop_turn("", turn.turn_id))
        assert (record.turn.status, record.turn.finish_reason) == ("stopped", "stopped")
        assert [(message.text, message.status) for message in record.messages] == [("hi", "stopped")]
        assert await engine.history() == [("user", "hi"), ("assistant", "hi")]
        assert gate.ended == ["hi"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_stop_before_the_first_token_ends_the_turn_without_an_answer(is_async: bool, store: Store) -> None:
    gate = threading.Event()

    def predict(message: str, history: History) -> str:
        gate.wait(20)
        return "late"

    async def predict_async(message: str, history: History) -> str:
        await asyncio.Event().wait()
        return "late"

    async with open_engine(predict_async if is_async else predict, store=store) as engine:
        turn = await engine.start()
        (stopped,) = await within(engine.turns.stop_session("", "s_1"))
        gate.set()
        assert stopped is turn
        assert (await engine.end_of(turn)).turn.status == "stopped"
        assert await engine.history() == [("user", "hi")]
        assert [event.event for event in await engine.events(turn)] == ["turn", "done"]


async def test_stop_of_a_turn_that_waits_ends_it_and_leaves_the_branch_alone(store: Store) -> None:
    gate = Gate()
    async with open_engine(gate, store=store, when_busy="queue") as engine:
        running, waiting, last = [await engine.start(str(number)) for number in range(3)]
        record = await within(engine.turns.stop_turn("", waiting.turn_id))
        assert (record.turn.status, record.messages) == ("stopped", ())
        gate.gate.set()
        assert [(await engine.end_of(turn)).turn.status for turn in (running, last)] == ["completed"] * 2
        assert [text for role, text in await engine.history() if role == "user"] == ["0", "2"]
        assert gate.begun == ["0", "2"]


async def test_delayed_turn_is_called_after_its_delay_and_can_be_stopped_before(store: Store) -> None:
    gate = Gate()
    gate.gate.set()
    async with open_engine(gate, store=store) as engine:
        assert (await engine.ask("soon", delay_s=0.001)).messages[0].text == "soon answered"
        late = await engine.start("late", delay_s=60.0)
        assert late.turn.status == "running"
        record = await within(engine.turns.stop_turn("", late.turn_id))
        assert (record.turn.status, record.messages) == ("stopped", ())
        assert gate.begun == ["soon"]


async def test_stop_of_a_session_ends_all_that_runs_and_waits_in_it(store: Store) -> None:
    gate = Gate()
    async with open_engine(gate, store=store, when_busy="queue") as engine:
        turns = [await engine.start(str(number)) for number in range(4)]
        other = await engine.start("other", "s_2")
        stopped = await within(engine.turns.stop_session("", "s_1"))
        assert {turn.turn_id for turn in stopped} == {turn.turn_id for turn in turns}
        assert {turn.turn.status for turn in stopped} == {"stopped"}
        assert not other.closed
        assert await within(engine.turns.stop_session("", "s_1")) == ()
        gate.gate.set()
        await engine.end_of(other)
        assert (await engine.ask("again")).turn.status == "completed"


async def test_stopping_twice_at_once_and_after_the_end_changes_nothing(store: Store) -> None:
    gate = Gate()
    async with open_engine(gate, store=store) as engine:
        turn = await engine.start()
        stops = [engine.turns.stop_turn("", turn.turn_id) for _ in range(5)]
        records, _ = await within(asyncio.gather(asyncio.gather(*stops), engine.turns.stop_session("", "s_1")))
        assert {record.turn.status for record in records} == {"stopped"}
        assert (await engine.turns.stop_turn("", turn.turn_id)).turn == records[0].turn
        assert (await engine.store.get_session("", "s_1")).version == records[0].turn.version
        done = await engine.start("done")
        gate.gate.set()
        await engine.end_of(done)
        assert (await engine.turns.stop_turn("", done.turn_id)).turn.status == "completed"


async def test_stop_goes_on_though_whoever_asked_for_it_is_cancelled(store: Store) -> None:
    gate, slow = Gate(), Slow(store, "commit_turn")
    async with open_engine(gate, store=slow) as engine:
        turn = await engine.start()
        stopping = asyncio.create_task(engine.turns.stop_session("", "s_1"))
        await within(slow.entered.wait())
        stopping.cancel()
        slow.gate.set()
        assert (await engine.end_of(turn)).turn.status == "stopped"


async def test_turn_is_not_half_begun_when_whoever_asked_for_it_is_cancelled(store: Store) -> None:
    gate, slow = Gate(), Slow(store, "begin_turn")
    async with open_engine(gate, store=slow) as engine:
        starting = asyncio.create_task(engine.start())
        await within(slow.entered.wait())
        starting.cancel()
        slow.gate.set()
        await until(lambda: gate.begun == ["hi"])
        (stopped,) = await within(engine.turns.stop_session("", "s_1"))
        assert stopped.turn.status == "stopped"
        gate.gate.set()
        assert (await engine.ask()).turn.status == "completed"


async def test_whoever_waits_for_a_turn_does_not_wait_for_ever_when_the_server_ends() -> None:
    slow = Slow(create_store("memory://"), "begin_turn")
    async with open_engine(Gate(), store=slow) as engine:
        starting = asyncio.create_task(engine.start())
        await within(slow.entered.wait())
        assert await engine.turns._tasks.close(1.0) == 0
        with pytest.raises(asyncio.CancelledError):
            await within(starting)


async def test_refusal_that_nobody_waits_for_any_more_is_dropped(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    gate, slow = Gate(), Slow(store, "begin_turn")
    async with open_engine(gate, store=slow) as engine:
        slow.gate.set()
        await engine.start()
        slow.gate.clear()
        slow.entered.clear()
        refused = asyncio.create_task(engine.start())
        await within(slow.entered.wait())
        refused.cancel()
        slow.gate.set()
        (turn,) = await within(engine.turns.stop_session("", "s_1"))  # it waits its turn behind the refused one
        assert turn.turn.status == "stopped"
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize("is_async", [True, False])
async def test_finally_of_a_generator_runs_within_one_step_after_stop(is_async: bool) -> None:
    finally_ran, may_step = threading.Event(), threading.Semaphore(0)
    steps: list[int] = []

    def predict(message: str, history: History) -> Iterator[str]:
        try:
            for step in range(1000):
                steps.append(step)
                yield str(step)
                assert may_step.acquire(timeout=20)
        finally:
            finally_ran.set()

    async def predict_async(message: str, history: History) -> AsyncIterator[str]:
        try:
            for step in range(1000):
                steps.append(step)
                yield str(step)
                await asyncio.Event().wait()
        finally:
            finally_ran.set()

    async with open_engine(predict_async if is_async else predict) as engine:
        turn = await engine.start()
        await until(lambda: turn.run.draft is not None and bool(turn.run.draft.messages()))
        await within(engine.turns.stop_turn("", turn.turn_id))
        may_step.release()
        assert await asyncio.to_thread(finally_ran.wait, 10)
        assert steps in ([0], [0, 1])


@pytest.mark.parametrize("is_async", [True, False])
async def test_finally_runs_within_one_step_when_the_generator_waits_for_its_reader(is_async: bool) -> None:
    finally_ran = threading.Event()
    steps = 0

    def predict(message: str, history: History) -> Iterator[str]:
        nonlocal steps
        try:
            while True:
                steps += 1
                yield str(steps)
        finally:
            finally_ran.set()

    async def predict_async(message: str, history: History) -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
        finally:
            finally_ran.set()

    async with open_engine(predict_async if is_async else predict) as engine:
        turn = await engine.start()
        await until(lambda: turn.run.draft is not None and bool(turn.run.draft.messages()))
        await within(engine.turns.stop_turn("", turn.turn_id))
        at_stop = steps
        assert await asyncio.to_thread(finally_ran.wait, 10)
        assert steps <= at_stop + 1


async def test_cancelled_is_true_for_a_function_that_looks_after_stop() -> None:
    seen = threading.Event()

    def predict(message: str, history: History, ctx: ChatContext) -> str:
        while not ctx.cancelled:
            pass
        seen.set()
        return "late"

    async with open_engine(predict) as engine:
        turn = await engine.start()
        await within(engine.turns.stop_turn("", turn.turn_id))
        assert await asyncio.to_thread(seen.wait, 10)


async def test_stop_cancels_what_the_function_waits_for() -> None:
    inner: list[asyncio.Task[Any]] = []

    async def predict(message: str, history: History) -> AsyncIterator[str]:
        yield "a"
        inner.append(asyncio.create_task(asyncio.Event().wait()))
        await inner[0]

    async with open_engine(predict) as engine:
        turn = await engine.start()
        await until(lambda: bool(inner))
        await within(engine.turns.stop_turn("", turn.turn_id))
        await until(lambda: inner[0].cancelled())


async def test_stop_cancels_what_the_function_waits_for_though_its_words_wait_for_the_store() -> None:
    inner: list[asyncio.Task[Any]] = []
    slow = Slow(create_store("memory://"), "journal_events")

    async def predict(message: str, history: History) -> AsyncIterator[str]:
        inner.append(asyncio.create_task(asyncio.Event().wait()))
        yield "a"
        await inner[0]

    async with open_engine(predict, store=slow, settings={"durability": "events"}) as engine:
        turn = await engine.start()
        await within(slow.entered.wait())
        await within(engine.turns.stop_turn("", turn.turn_id))
        await until(lambda: inner[0].cancelled())
        slow.gate.set()


# --- deadlines, abandonment, disconnects, shutdown ---------------------------------------------------------------


async def test_deadline_of_the_chat_ends_its_turn_as_failed_and_keeps_its_text(store: Store) -> None:
    gate = Gate()
    async with open_engine(gate, store=store, turn_timeout_s=0.02) as engine:
        record = await engine.ask()
        assert (record.turn.status, record.turn.finish_reason) == ("failed", "timeout")
        assert record.turn.error is not None
        assert (record.turn.error.code, record.turn.error.retryable) == ("turn_timeout", True)
        assert [message.text for message in record.messages] == ["hi"]
        assert gate.ended == ["hi"]


async def test_deadline_does_not_run_while_a_turn_waits() -> None:
    gate = Gate()
    async with open_engine(gate, when_busy="queue", turn_timeout_s=5) as engine:
        first, waiting = await engine.start("first"), await engine.start("waiting")
        deadlines = first.deadline
        assert deadlines is not None
        assert waiting.deadline is None
        assert len(deadlines) == 1
        gate.gate.set()
        assert (await engine.end_of(waiting)).turn.status == "completed"
        assert waiting.deadline is None
        assert len(deadlines) == 0


async def test_history_that_is_known_is_not_read_from_the_store_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def predict(message: str, history: list[dict[str, Any]]) -> str:
        return " ".join(entry["content"] for entry in history) or "nothing"

    async def read_branch(*_: Any) -> tuple[Message, ...]:
        raise AssertionError("it is known")

    async with open_engine(predict, store=store) as engine:
        monkeypatch.setattr(engine.store, "read_branch", read_branch)
        answers = [(await engine.ask(text)).messages[-1].text for text in ("a", "b", "c")]
        assert answers == ["nothing", "a nothing", "a nothing b a nothing"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_turn_that_nobody_reads_any_more_is_ended_and_its_generator_closed(is_async: bool) -> None:
    finally_ran = threading.Event()

    def predict(message: str, history: History) -> Iterator[str]:
        try:
            while True:
                yield "x"
        finally:
            finally_ran.set()

    async def predict_async(message: str, history: History) -> AsyncIterator[str]:
        try:
            yield "x"
            await asyncio.Event().wait()
        finally:
            finally_ran.set()

    function = predict_async if is_async else predict
    async with open_engine(function, settings={"abandon_grace_s": 0.01}) as engine:
        turn = await engine.start()
        reader = engine.turns.read_turn(turn, NATIVE)
        await until(lambda: turn.run.draft is not None and bool(turn.run.draft.messages()))
        engine.turns.detach(reader)
        record = await engine.end_of(turn)
        assert (record.turn.status, record.turn.finish_reason) == ("interrupted", "abandoned")
        assert record.messages[0].text == "x"
        assert await asyncio.to_thread(finally_ran.wait, 10)


async def test_reader_that_comes_back_in_time_keeps_the_turn_alive() -> None:
    gate = Gate()
    async with open_engine(gate, settings={"abandon_grace_s": 60}) as engine:
        turn = await engine.start()
        readers = [engine.turns.read_turn(turn, NATIVE) for _ in range(2)]
        engine.turns.detach(readers[0])
        assert turn.abandonment is None
        engine.turns.detach(readers[1])
        assert turn.abandonment is not None
        session_reader = await engine.turns.follow_session("", "s_1", None, NATIVE)
        assert turn.abandonment is None
        gate.gate.set()
        assert decode(await engine.read(session_reader))[-1].json["status"] == "completed"


async def test_turn_nobody_ever_read_is_not_abandoned() -> None:
    gate = Gate()
    async with open_engine(gate, settings={"abandon_grace_s": 0}) as engine:
        turn = await engine.start()
        assert turn.abandonment is None
        gate.gate.set()
        assert (await engine.end_of(turn)).turn.status == "completed"


async def test_client_that_wants_its_turn_stopped_when_it_leaves_gets_it_stopped() -> None:
    gate = Gate()
    async with open_engine(gate) as engine:
        turn = await engine.start()
        await until(lambda: turn.run.draft is not None and bool(turn.run.draft.messages()))
        engine.turns.stop_soon(turn)
        assert (await engine.end_of(turn)).turn.status == "stopped"


async def test_draining_engine_takes_no_new_turns_and_lets_the_old_ones_end() -> None:
    gate = Gate()
    async with open_engine(gate) as engine:
        turn = await engine.start()
        draining = asyncio.create_task(engine.turns.drain(20))
        await until(lambda: engine.turns.is_draining)
        with pytest.raises(ShuttingDown):
            await engine.start("late", "s_2")
        gate.gate.set()
        await within(draining)
        assert (await engine.end_of(turn)).turn.status == "completed"


async def test_turns_that_do_not_end_in_time_are_interrupted_by_shutdown(store: Store) -> None:
    gate = Gate()
    async with open_engine(gate, store=store, when_busy="queue") as engine:
        turns = [await engine.start(str(number)) for number in range(3)]
        await until(lambda: turns[0].run.draft is not None and bool(turns[0].run.draft.messages()))
        await within(engine.turns.drain(0))
        records = [await engine.end_of(turn) for turn in turns]
        assert [(record.turn.status, record.turn.finish_reason) for record in records] == [
            ("interrupted", "shutdown")
        ] * 3
        assert records[0].messages[0].text == "0"


async def test_closed_engine_asks_its_store_for_nothing_more() -> None:
    slow = Slow(create_store("memory://"))
    async with open_engine(echo, store=slow) as engine:
        await engine.ask()
    engine.turns._journal._start_flush()  # as a timer does that was set before
    assert not engine.turns._tasks._tasks
    assert slow.calls["close"] == 1


async def test_turns_a_crash_left_open_are_interrupted_at_the_next_start(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chat.db"
    gate, first = Gate(), create_store(url)
    async with open_engine(gate, store=first) as engine:
        turn = await engine.start()
        await until(lambda: turn.run.draft is not None and bool(turn.run.draft.messages()))
        await engine.turns._journal.flush()
        await first.close()
        async with open_engine(echo, store=create_store(url), ids_from=1000) as again:
            record = await again.store.get_turn("", turn.turn_id)
            assert (record.turn.status, [message.text for message in record.messages]) == ("interrupted", ["hi"])
            assert (await again.ask("next")).turn.status == "completed"
            assert [text for _, text in await again.history()] == ["hi", "hi", "next", "next"]
        turn.closed = True  # the first engine is a dead process's: it ends nothing any more
        engine.turns._lifecycle.turns.discard(turn.turn_id)


# --- idempotency -------------------------------------------------------------------------------------------------


async def test_copies_of_a_request_are_one_turn(store: Store) -> None:
    answered: Counter[str] = Counter()

    async def predict(message: str, history: History) -> str:
        answered[message] += 1
        await asyncio.sleep(0)
        return message

    async with open_engine(predict, store=store, when_busy="queue") as engine:

        async def post(number: int) -> RunningTurn:
            key = f"key-{number}"
            session_id = f"s_{number % 10}" if number % 2 else None
            return await engine.start(key, session_id, idempotency_key=key, body_hash=key)

        turns = await asyncio.gather(*(post(number) for number in [*range(200)] * 5))
        records = [await engine.end_of(turn) for turn in turns]
        assert len({turn.turn_id for turn in turns}) == 200
        assert answered == {f"key-{number}": 1 for number in range(200)}
        assert all(
            record.messages[0].text == f"key-{number}"
            for number, record in zip([*range(200)] * 5, records, strict=True)
        )
        after = [await engine.end_of(await post(number)) for number in range(200)]
        assert [record.turn.turn_id for record in after] == [turn.turn_id for turn in turns[:200]]


@pytest.mark.parametrize("policy", ["reject", "queue", "interrupt", "rollback"])
async def test_replay_attaches_to_a_turn_that_runs_whatever_a_busy_session_does(policy: Any, store: Store) -> None:
    gate = Gate()
    async with open_engine(gate, store=store, when_busy=policy) as engine:
        turn = await engine.start(idempotency_key="k", body_hash="h")
        replayed = await engine.start(idempotency_key="k", body_hash="h")
        assert replayed is turn
        with pytest.raises(IdempotencyConflict):
            await engine.start("other", idempotency_key="k", body_hash="other")
        gate.gate.set()
        assert (await engine.end_of(turn)).turn.status == "completed"
        assert gate.begun == ["hi"]
        late = await engine.start(idempotency_key="k", body_hash="h")
        assert late.replayed
        assert (await engine.end_of(late)).messages[0].text == "hi answered"


async def test_replays_give_their_slots_back() -> None:
    async with open_engine(echo, concurrency_limit=1) as engine:
        for _ in range(3):
            assert (await engine.ask(idempotency_key="k", body_hash="h")).messages[0].text == "hi"
        assert (await engine.ask("next", "s_2")).turn.status == "completed"


# --- stores that fail --------------------------------------------------------------------------------------------


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "PACE", Pace(commit_retry_s=(0.001, 0.001, 0.001)))


@pytest.mark.usefixtures("no_pauses")
async def test_commit_is_tried_again_until_the_store_is_back(store: Store) -> None:
    slow = Slow(store)
    async with open_engine(echo, store=slow) as engine:
        slow.failures["commit_turn"] = [StoreError("away")] * 3
        record = await engine.ask()
        assert record.turn.status == "completed"
        assert slow.calls["commit_turn"] == 4
        assert await engine.history() == [("user", "hi"), ("assistant", "hi")]


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("error", [StoreError("away"), TypeError("a bug")])
async def test_turn_that_cannot_be_committed_ends_as_interrupted_and_its_session_is_free_later(
    error: Exception, store: Store
) -> None:
    slow = Slow(store)
    async with open_engine(echo, store=slow) as engine:
        slow.failures["commit_turn"] = [error] * 5
        turn = await engine.start()
        record = await engine.end_of(turn)
        assert (record.turn.status, record.turn.finish_reason) == ("interrupted", "store_unavailable")
        slow.failures.clear()
        async with asyncio.timeout(20):
            while (await engine.store.get_turn("", turn.turn_id)).turn.status == "running":
                await asyncio.sleep(0.005)
        assert (await engine.store.get_turn("", turn.turn_id)).turn.status == "interrupted"
        assert (await engine.ask("next")).turn.status == "completed"


async def test_turn_that_cannot_begin_is_refused_and_leaves_nothing(store: Store) -> None:
    slow = Slow(store)
    async with open_engine(echo, store=slow, concurrency_limit=1) as engine:
        slow.failures["begin_turn"] = [StoreError("away")]
        with pytest.raises(StoreError):
            await engine.start()
        assert (await engine.ask()).turn.status == "completed"


@pytest.mark.parametrize("error", [StoreError("away"), SessionBusy("busy", turn_id="t_9")])
async def test_waiting_turn_that_cannot_start_fails_and_the_next_one_runs(error: Exception, store: Store) -> None:
    gate, slow = Gate(), Slow(store)
    async with open_engine(gate, store=slow, when_busy="queue") as engine:
        turns = [await engine.start(str(number)) for number in range(3)]
        slow.failures["start_turn"] = [error]
        gate.gate.set()
        assert [(await engine.end_of(turn)).turn.status for turn in turns] == ["completed", "failed", "completed"]


@pytest.mark.parametrize("durability", ["turns", "events"])
async def test_events_that_cannot_be_stored_at_once_are_stored_later(durability: str, store: Store) -> None:
    slow = Slow(store)
    async with open_engine(echo, store=slow, settings={"durability": durability}) as engine:
        slow.failures["journal_events"] = [StoreError("away")]
        turn = await engine.start()
        assert (await engine.end_of(turn)).turn.status == "completed"
        assert [event.event for event in await engine.events(turn)] == ["turn", "message", "delta", "done"]


async def test_history_that_cannot_be_read_fails_the_turn(store: Store) -> None:
    slow = Slow(store)
    async with open_engine(echo, store=slow) as engine:
        await engine.ask()
        engine.turns.histories.forget("s_1")
        slow.failures["read_branch"] = [StoreError("away")]
        assert (await engine.ask("second")).turn.status == "failed"
        assert (await engine.ask("third")).turn.status == "completed"


async def test_report_made_while_words_wait_for_the_store_is_shown_after_them(store: Store) -> None:
    contexts: list[ChatContext] = []
    shown = asyncio.Event()

    async def predict(message: str, history: History, ctx: ChatContext) -> AsyncIterator[str]:
        contexts.append(ctx)
        yield "a"
        await shown.wait()

    slow = Slow(store, "journal_events")
    async with open_engine(predict, store=slow, settings={"durability": "events"}) as engine:
        turn = await engine.start()
        reader = engine.turns.read_turn(turn, NATIVE)
        await within(slow.entered.wait())
        contexts[0].status("working")
        slow.gate.set()
        stream = b""
        while b"working" not in stream:
            stream += await engine.next_frames(reader)
        shown.set()
        names = [event.event for event in decode(stream + await engine.read(reader))]
        assert names == ["turn", "message", "delta", "status", "done"]


# --- what is kept ------------------------------------------------------------------------------------------------


async def test_state_and_title_a_function_sets_are_kept_with_its_answer(store: Store) -> None:
    def predict(message: str, history: History, ctx: ChatContext) -> str:
        ctx.session.state["count"] = ctx.session.state.get("count", 0) + 1
        ctx.session.state.setdefault("nested", {"seen": []})["seen"].append(message)
        ctx.session.title = ctx.session.title or f"About {message}"
        return str(ctx.session.state["count"])

    async with open_engine(predict, store=store) as engine:
        texts = [(await engine.ask(text)).messages[0].text for text in ("a", "b", "c")]
        session = await engine.store.get_session("", "s_1")
        assert texts == ["1", "2", "3"]
        assert session.state == {"count": 3, "nested": {"seen": ["a", "b", "c"]}}
        assert session.title == "About a"


async def test_state_stays_as_it_was_when_the_function_does_not_touch_it(store: Store) -> None:
    async with open_engine(lambda message, history: "x", store=store) as engine:
        await engine.ask()
        session = await engine.store.get_session("", "s_1")
        assert (session.state, session.title, session.version) == ({}, None, 3)


def remembering(seen: list[History]) -> Any:
    def predict(message: str, history: History) -> Any:
        seen.append(history)
        thought = ChatMessage("hm", metadata={"title": "Thinking"})
        return [thought, f"answer to {message}"] if message == "b" else f"answer to {message}"

    return predict


@pytest.mark.parametrize("is_cached", [True, False])
async def test_history_as_messages_keeps_its_shape_over_turns(is_cached: bool, store: Store) -> None:
    seen: list[History] = []
    async with open_engine(remembering(seen), store=store) as engine:
        for text in ("a", "b", "c"):
            await engine.ask(text)
            if not is_cached:
                engine.turns.histories.forget("s_1")
    first = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "answer to a"}]
    second = [
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "hm", "metadata": {"title": "Thinking"}},
        {"role": "assistant", "content": "answer to b"},
    ]
    assert seen == [[], first, first + second]


@pytest.mark.parametrize("is_cached", [True, False])
async def test_history_as_tuples_keeps_its_shape_over_turns(is_cached: bool, store: Store) -> None:
    seen: list[History] = []
    async with open_engine(remembering(seen), store=store, history="tuples") as engine:
        for text in ("a", "b", "c"):
            await engine.ask(text)
            if not is_cached:
                engine.turns.histories.forget("s_1")
    assert seen == [[], [["a", "answer to a"]], [["a", "answer to a"], ["b", "answer to b"]]]


async def test_history_is_as_long_as_its_limit() -> None:
    seen: list[History] = []
    async with open_engine(remembering(seen), history="tuples", history_limit=1) as engine:
        for text in ("a", "c", "d"):
            await engine.ask(text)
    assert seen == [[], [["a", "answer to a"]], [["c", "answer to c"]]]


async def test_history_after_stopped_failed_and_silent_turns_is_what_was_said(store: Store) -> None:
    seen: list[History] = []

    async def predict(message: str, history: History) -> AsyncIterator[str]:
        seen.append(history)
        if message == "fail":
            yield "half"
            raise ValueError
        if message == "stop":
            yield "part"
            await asyncio.Event().wait()

    async with open_engine(predict, store=store, history="tuples") as engine:
        await engine.ask("fail")
        turn = await engine.start("stop")
        await until(lambda: turn.run.draft is not None and bool(turn.run.draft.messages()))
        await within(engine.turns.stop_turn("", turn.turn_id))
        await engine.ask("silent")
        await engine.ask("last")
    assert seen[-1] == [["fail", "half"], ["stop", "part"], ["silent", None]]


# --- stateless turns ---------------------------------------------------------------------------------------------


async def test_stateless_turn_is_given_its_history_and_nothing_of_it_is_kept(store: Store) -> None:
    seen: list[History] = []
    async with open_engine(remembering(seen), store=store) as engine:
        given = (Message("m_a", "user", (TextPart("a"),), 1.0), Message("m_b", "assistant", (TextPart("b"),), 1.0))
        request = TurnRequest(TurnCall("chat", "c"), history=given)
        turn = await within(engine.turns.submit(request))
        record = await engine.end_of(turn)
        assert seen == [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]]
        assert record.messages[0].text == "answer to c"
        assert record.turn.session_id == ""
        assert [event.event for event in await engine.events(turn)] == ["turn", "message", "delta", "done"]
        assert (await engine.turns.get_turn("", turn.turn_id)) == record
        assert (await engine.store.list_sessions("", after=None, limit=10)).items == ()
        with pytest.raises(TurnUnknown):
            await engine.store.get_turn("", turn.turn_id)


async def test_stateless_turns_can_be_stopped_and_read_for_a_while() -> None:
    gate = Gate()
    async with open_engine(gate, pace=Pace(max_ended_stateless=2)) as engine:
        turns = [await engine.start(session_id="", history=()) for _ in range(3)]
        for turn in turns:
            assert (await within(engine.turns.stop_turn("", turn.turn_id))).turn.status == "stopped"
        with pytest.raises(TurnUnknown):
            await engine.turns.get_turn("", turns[0].turn_id)
        assert (await engine.turns.get_turn("", turns[2].turn_id)).turn.status == "stopped"


async def test_development_warns_once_of_yields_that_look_like_deltas(caplog: pytest.LogCaptureFixture) -> None:
    def predict(message: str, history: History) -> Iterator[str]:
        yield from ("He", "llo")

    async with open_engine(predict, settings={"debug": True}) as engine:
        await engine.ask("one")
        await engine.ask("two")
    assert [record.message.count('yields="deltas"') for record in caplog.records] == [1]


@pytest.mark.parametrize(("is_debug", "texts"), [(False, ("He", "llo")), (True, ("He", "Hello"))])
async def test_snapshots_and_production_are_not_warned_of(
    caplog: pytest.LogCaptureFixture, is_debug: bool, texts: tuple[str, ...]
) -> None:
    def predict(message: str, history: History) -> Iterator[str]:
        yield from texts

    async with open_engine(predict, settings={"debug": is_debug}) as engine:
        await engine.ask("one")
    assert not caplog.records
