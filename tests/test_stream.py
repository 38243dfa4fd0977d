"""Streams: whoever reads, whenever and from wherever, sees the same events, and never a hole."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatserve.contracts.store import Purge, Store
from chatserve.contracts.streams import OfTurn, StreamReply
from chatserve.contracts.turns import TurnRecord
from chatserve.core.events import Delta, NumberedEvent
from chatserve.core.types import ChatMessage
from chatserve.engine import Pace, Reader, RunningTurn
from chatserve.formats.wire.native import Native, NativeEncoder
from chatserve.formats.wire.plain import PlainEncoder
from chatserve.routes.streams.log_stream import LogStream
from chatserve.stores import create_store
from tests.support import engine as support
from tests.support.blocking import nothing_blocks
from tests.support.engine import NATIVE, Engine, decode, open_engine, until, within
from tests.support.reducer import ClientAnswer, comparable
from tests.support.sse import SseEvent

FAR_AHEAD = 10**9


@pytest.fixture
def small_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let logs keep few events, so that short answers outgrow them."""
    monkeypatch.setattr(support, "PACE", Pace(kept_events=8, flush_after_s=0.001, read_events=16))


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return create_store("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/chat.db")


def answer_of(events: Sequence[SseEvent]) -> ClientAnswer:
    """Return what a client makes of the events of one turn."""
    return ClientAnswer().apply_all((event.event, event.json) for event in events)


def ids_of(events: Sequence[SseEvent]) -> list[int]:
    return [int(event.id) for event in events]


async def resume(engine: Engine, turn: RunningTurn, after: int | None) -> bytes:
    """Return a turn's stream after a cursor."""
    reader = await engine.turns.follow_turn("", turn.turn_id, after, NATIVE)
    assert isinstance(reader, Reader)
    return await engine.read(reader)


class Paced:
    """A function that says one thing each time it is let; `None` ends its answer."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[Any] = asyncio.Queue()

    async def __call__(self, message: str, history: list[Any]) -> AsyncIterator[Any]:
        while (value := await self.said.get()) is not None:
            yield value

    def say(self, *values: Any) -> None:
        for value in values:
            self.said.put_nowait(value)


# --- resume ------------------------------------------------------------------------------------------------------

TEXTS = st.text(st.sampled_from([*'ab \n\r"{', "é", "\u2028", "\x85", "😀", "\ud83d"]), max_size=6)
VALUES = st.one_of(TEXTS, TEXTS, st.lists(TEXTS, max_size=3), st.dictionaries(TEXTS, st.integers(0, 9), max_size=2))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values=st.lists(VALUES, max_size=8), seed=st.integers(0, 99))
def test_client_that_is_cut_anywhere_and_resumes_sees_the_very_same_events(values: list[Any], seed: int) -> None:
    async def predict(message: str, history: list[Any]) -> AsyncIterator[Any]:
        for value in values:
            yield value
            await asyncio.sleep(0)

    async def check() -> None:
        async with open_engine(predict) as engine:
            await engine.ask("before")
            turn = await engine.start()
            whole = await engine.frames(turn)
            events = decode(whole)
            assert [comparable(message) for message in events[-1].json["messages"]] == answer_of(events).comparable()
            cuts = {*range(0, len(whole), max(1, len(whole) // 6)), *random.Random(seed).sample(range(len(whole)), 3)}
            ends = [at + 2 for at in range(len(whole)) if whole.startswith(b"\n\n", at)]
            for cut in sorted(cuts | set(ends[:-1])):
                seen = decode_cut(whole[:cut])
                rest = await resume(engine, turn, int(seen[-1].id) if seen else None)
                assert seen + decode(rest) == events

    asyncio.run(within(check()))


def decode_cut(stream: bytes) -> list[SseEvent]:
    """Return the events a client has dispatched when its connection broke there, be it within a character."""
    return decode(stream[: stream.rfind(b"\n\n") + 2]) if b"\n\n" in stream else []


async def test_answer_that_grew_while_the_client_was_away_goes_on_where_it_was_cut(store: Store) -> None:
    paced = Paced()
    async with open_engine(paced, store=store) as engine:
        turn = await engine.start()
        first = engine.turns.read_turn(turn, NATIVE)
        paced.say("a", "ab")
        seen = b""
        while b'"ab"' not in seen and seen.count(b"event: delta") < 2:
            seen += await engine.next_frames(first)
        engine.turns.detach(first)
        paced.say("abc", None)
        await engine.end_of(turn)
        events = decode(seen + await resume(engine, turn, first.cursor.seq))
        assert answer_of(events).text == "abc"
        assert events == await engine.events(turn)


async def test_client_that_has_the_end_is_told_nothing_more(store: Store) -> None:
    async with open_engine(lambda message, history: "a", store=store) as engine:
        turn = await engine.start()
        last = ids_of(await engine.events(turn))[-1]
        reader = await engine.turns.follow_turn("", turn.turn_id, last, NATIVE)
        assert isinstance(reader, Reader)
        assert reader.cursor.is_at_end


# --- numbers -----------------------------------------------------------------------------------------------------


async def test_ids_are_dense_in_a_session_and_increase_in_each_turn(store: Store) -> None:
    paced = Paced()
    async with open_engine(paced, store=store, when_busy="queue") as engine:
        turns = [await engine.start(str(number)) for number in range(3)]
        paced.say(*["a", "ab", None] * 3)
        for turn in turns:
            await engine.end_of(turn)
        whole = await engine.turns.follow_session("", "s_1", 0, NATIVE)
        events = decode(await engine.read(whole, dones=3))
        assert ids_of(events) == list(range(1, len(events) + 1))
        assert events[-1].event == "done"
        of_turns = [await engine.events(turn) for turn in turns]
        for turn, own in zip(turns, of_turns, strict=True):
            assert ids_of(own) == sorted(set(ids_of(own)))
            assert answer_of(own).text == "ab"
            stored = (await engine.store.get_turn("", turn.turn_id)).turn
            assert (stored.first_seq, stored.done_seq) == (ids_of(own)[0], ids_of(own)[-1])
        assert sorted(event for own in of_turns for event in ids_of(own)) == ids_of(events)


async def test_store_keeps_the_events_that_readers_saw_though_turns_that_wait_end_in_between(store: Store) -> None:
    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        text = ""
        while message == "endless":
            yield (text := text + "x")
            await asyncio.sleep(0)

    async with open_engine(predict, store=store, when_busy="queue") as engine:
        turn = await engine.start("endless")
        reader = await engine.turns.follow_session("", "s_1", 0, NATIVE)
        reading = asyncio.create_task(engine.read(reader, dones=12))
        for _ in range(10):
            waiting = await engine.start("waits")
            await within(engine.turns.stop_turn("", waiting.turn_id))
        last = await engine.start("last")
        await within(engine.turns.stop_turn("", turn.turn_id))
        await engine.end_of(last)
        events = decode(await within(reading))
        assert ids_of(events) == list(range(1, len(events) + 1))
        again = await engine.read(await engine.turns.follow_session("", "s_1", 0, NATIVE), dones=12)
        page = await engine.store.read_events("s_1", after=0, limit=10**6)
        stored = decode(b"".join(map(NATIVE.encode, page.events)))
        assert [(event.id, event.event) for event in stored] == [(event.id, event.event) for event in events]
        assert decode(again) == events
        assert [event.json for event in stored if event.event != "turn"] == [
            e.json for e in events if e.event != "turn"
        ]


async def test_numbers_go_on_where_they_were_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chat.db"
    async with open_engine(lambda message, history: "a", store=create_store(url)) as engine:
        before = ids_of(await engine.events(await engine.start()))
    async with open_engine(lambda message, history: "b", store=create_store(url), ids_from=1000) as engine:
        turn = await engine.start()
        whole = await engine.turns.follow_session("", "s_1", 0, NATIVE)
        events = decode(await engine.read(whole, dones=2))
        assert ids_of(events) == list(range(1, len(events) + 1))
        assert ids_of(await engine.events(turn)) == ids_of(events)[len(before) :]


# --- many readers ------------------------------------------------------------------------------------------------


async def test_readers_of_one_turn_get_identical_bytes_whenever_they_come(store: Store) -> None:
    paced = Paced()
    async with open_engine(paced, store=store) as engine:
        turn = await engine.start()
        early = [asyncio.create_task(engine.frames(turn)) for _ in range(2)]
        paced.say("é\u2028", "é\u2028b")
        await until(lambda: turn.room.log is not None and turn.room.log.published_seq >= 3)
        late = asyncio.create_task(engine.frames(turn))
        paced.say("x", None)
        await engine.end_of(turn)
        streams = {await within(task) for task in (*early, late)} | {await engine.frames(turn)}
        assert len(streams) == 1
        assert streams == {await resume(engine, turn, None)}


async def test_log_is_left_to_the_store_when_the_last_reader_of_an_ended_turn_leaves(store: Store) -> None:
    paced = Paced()
    paced.say("a", "ab", None)
    async with open_engine(paced, store=store) as engine:
        turn = await engine.start()
        first, second = (engine.turns.read_turn(turn, NATIVE) for _ in range(2))
        frames = await engine.read(first)
        await engine.end_of(turn)
        assert second.cursor.log.last_seq > second.cursor.log.base
        assert await engine.read(second) == frames
        assert second.cursor.log.last_seq == second.cursor.log.base
        assert await resume(engine, turn, None) == frames


async def test_session_reader_without_a_cursor_starts_with_the_open_turn() -> None:
    paced = Paced()
    async with open_engine(paced) as engine:
        paced.say("old", None)
        await engine.ask()
        turn = await engine.start()
        paced.say("a")
        await until(lambda: turn.run.draft is not None and bool(turn.run.draft.messages()))
        reader = await engine.turns.follow_session("", "s_1", None, NATIVE)
        paced.say("ab", None)
        assert decode(await engine.read(reader)) == await engine.events(turn)


@pytest.mark.usefixtures("small_logs")
async def test_session_reader_without_a_cursor_starts_with_an_open_turn_that_outgrew_the_log(store: Store) -> None:
    paced = Paced()
    async with open_engine(paced, store=store) as engine:
        paced.say("old", None)
        before = ids_of(await engine.events(await engine.start()))
        turn = await engine.start()
        await say_until_trimmed(engine, turn, paced)
        reader = await engine.turns.follow_session("", "s_1", None, NATIVE)
        paced.say(None)
        events = decode(await engine.read(reader))
        assert ids_of(events) == list(range(before[-1] + 1, before[-1] + 1 + len(events)))
        assert answer_of(events).text == (await engine.end_of(turn)).messages[0].text


async def test_session_reader_goes_live_when_no_turn_is_open() -> None:
    async with open_engine(lambda message, history: message) as engine:
        await engine.ask("old")
        reader = await engine.turns.follow_session("", "s_1", None, NATIVE)
        turn = await engine.start("new")
        assert decode(await engine.read(reader)) == await engine.events(turn)


# --- logs that are longer than what is kept ----------------------------------------------------------------------


async def say_until_trimmed(engine: Engine, turn: RunningTurn, paced: Paced) -> None:
    """Let an answer grow until the log has forgotten its beginning."""
    text = ""
    async with asyncio.timeout(20):
        while turn.room.log is None or turn.room.log.base < 20:
            text += "x"
            paced.say(text)
            await asyncio.sleep(0.0005)


@pytest.mark.usefixtures("small_logs")
async def test_reader_behind_the_log_is_fed_from_the_store(store: Store) -> None:
    paced = Paced()
    async with open_engine(paced, store=store) as engine:
        turn = await engine.start()
        slow = engine.turns.read_turn(turn, NATIVE)
        await say_until_trimmed(engine, turn, paced)
        assert slow.cursor.needs_store
        quick = asyncio.create_task(engine.frames(turn))
        paced.say("the end", None)
        stream = await engine.read(slow)
        assert stream == await within(quick)
        events = decode(stream)
        assert ids_of(events) == list(range(1, len(events) + 1))
        assert answer_of(events).text == "the end"


@pytest.mark.usefixtures("small_logs")
async def test_reader_with_a_format_of_its_own_is_fed_from_the_store_too(store: Store) -> None:
    paced = Paced()
    async with open_engine(paced, store=store) as engine:
        turn = await engine.start()
        slow = engine.turns.read_turn(turn, PlainEncoder())
        await say_until_trimmed(engine, turn, paced)
        paced.say(None)
        assert await engine.read(slow) == (await engine.end_of(turn)).messages[0].text.encode()


class Recorder:
    """An encoder with a memory, which keeps what it was given."""

    is_per_turn = True
    is_complete = False

    def __init__(self) -> None:
        self.seen: list[tuple[int, str | None]] = []

    def encode(self, numbered: NumberedEvent) -> bytes:
        self.seen.append((numbered.seq, numbered.turn_id))
        return NATIVE.encode(numbered)


@pytest.mark.usefixtures("small_logs")
async def test_encoder_with_a_memory_is_given_each_event_of_its_turn_once_and_no_others(store: Store) -> None:
    paced, recorder = Paced(), Recorder()
    async with open_engine(paced, store=store, when_busy="queue") as engine:
        turn = await engine.start()
        slow = engine.turns.read_turn(turn, recorder)
        await engine.start("queued")
        await say_until_trimmed(engine, turn, paced)
        stream = await engine.next_frames(slow)
        paced.say("the end", None, None)
        events = decode(stream + await engine.read(slow))
        assert recorder.seen == [(number, turn.turn_id) for number in ids_of(events)]
        assert answer_of(events).text == "the end"


@pytest.mark.usefixtures("small_logs")
async def test_reader_left_behind_in_a_stateless_turn_gets_a_snapshot_and_the_end() -> None:
    paced = Paced()
    async with open_engine(paced) as engine:
        turn = await engine.start(session_id="", history=())
        slow = engine.turns.read_turn(turn, NATIVE)
        await say_until_trimmed(engine, turn, paced)
        late = decode(await engine.next_frames(slow))
        assert [event.event for event in late] == ["snapshot"]
        paced.say("the end", None)
        record = await engine.end_of(turn)
        assert answer_of(late + decode(await engine.read(slow))).text == "the end"
        assert record.turn.session_id == ""
        after_the_end = engine.turns.read_turn(turn, NATIVE)
        after_the_end.cursor.seq = 0
        events = decode(await engine.read(after_the_end))
        assert [event.event for event in events] == ["snapshot", "done"]
        assert answer_of(events).text == "the end"


async def test_slow_reader_gets_many_events_in_one_piece() -> None:
    paced = Paced()
    async with open_engine(paced) as engine:
        turn = await engine.start()
        reader = engine.turns.read_turn(turn, NATIVE)
        paced.say(*map(str, range(300)), None)
        await engine.end_of(turn)
        assert len(decode(reader.take())) == len(await engine.events(turn)) > 250


@pytest.mark.parametrize(("yields", "values"), [("deltas", ["a", "b", "c"]), ("snapshots", ["a", "ab", "abc"])])
async def test_what_is_yielded_without_a_wait_behind_the_first_word_is_one_event(
    yields: str, values: list[str]
) -> None:
    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        for value in values:
            yield value

    async with open_engine(predict, yields=yields) as engine:
        turn = await engine.start()
        deltas = [event.json["text"] for event in await engine.events(turn) if event.event == "delta"]
        assert deltas == ["a", "bc"]


# --- cursors that fit nothing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [FAR_AHEAD, -1])
async def test_cursor_the_log_never_reached_gets_a_snapshot_and_then_what_follows(after: int, store: Store) -> None:
    paced = Paced()
    async with open_engine(paced, store=store) as engine:
        turn = await engine.start()
        paced.say("a", "ab")
        await until(lambda: turn.run.draft is not None and "".join(m.text for m in turn.run.draft.messages()) == "ab")
        reader = await engine.turns.follow_session("", "s_1", after, NATIVE)
        early = decode(await engine.next_frames(reader))
        paced.say("abc", None)
        events = early + decode(await engine.read(reader))
        assert [event.event for event in events] == ["snapshot", "delta", "done"]
        assert answer_of(events).text == "abc"
        assert events[0].json["turn"]["turn_id"] == turn.turn_id


@pytest.mark.parametrize("after", [FAR_AHEAD, -1])
async def test_turn_stream_with_such_a_cursor_starts_with_a_snapshot_of_that_turn(after: int, store: Store) -> None:
    paced = Paced()
    async with open_engine(paced, store=store, when_busy="queue") as engine:
        running, queued = await engine.start("first"), await engine.start("second")
        waiting = await engine.turns.follow_turn("", queued.turn_id, after, NATIVE)
        assert isinstance(waiting, Reader)
        (snapshot,) = decode(await engine.next_frames(waiting)) or decode(await engine.next_frames(waiting))
        assert (snapshot.event, snapshot.json["turn"]["turn_id"]) == ("snapshot", queued.turn_id)
        paced.say("a", None)
        for turn, text in ((running, "a"), (queued, "b")):
            reader = await engine.turns.follow_turn("", turn.turn_id, after, NATIVE)
            assert isinstance(reader, Reader)
            early = decode(await engine.next_frames(reader))
            if turn is queued:
                paced.say("b", None)
            events = early + decode(await engine.read(reader))
            assert events[0].event == "snapshot"
            assert events[0].json["turn"]["turn_id"] == turn.turn_id
            assert events[-1].json["messages"][0]["content"] == text


@pytest.mark.parametrize("after", [FAR_AHEAD, -1])
async def test_ended_turn_answers_such_a_cursor_with_its_record(after: int, store: Store) -> None:
    async with open_engine(lambda message, history: "a", store=store) as engine:
        turn = await engine.start()
        await engine.end_of(turn)
        assert isinstance(await engine.turns.follow_turn("", turn.turn_id, after, NATIVE), TurnRecord)


@pytest.mark.parametrize("after", [0, 3, None])
async def test_session_whose_log_was_purged_answers_with_the_last_turn(after: int | None, store: Store) -> None:
    async with open_engine(lambda message, history: message, store=store) as engine:
        for text in ("a", "b"):
            turn = await engine.start(text)
            await engine.end_of(turn)
        engine.turns.rooms.forget(["s_1"])
        await engine.store.purge(Purge(now=1e9, events_before=1e9, files_before=0))
        assert isinstance(await engine.turns.follow_turn("", turn.turn_id, after, NATIVE), TurnRecord)
        if after is not None:
            reader = await engine.turns.follow_session("", "s_1", after, NATIVE)
            (event,) = decode(await engine.next_frames(reader))
            assert (event.event, event.json["turn"]["turn_id"]) == ("snapshot", turn.turn_id)
            assert event.json["messages"][0]["content"] == "b"


async def test_running_turn_is_told_once_to_a_reader_whose_cursor_was_purged(store: Store) -> None:
    paced = Paced()
    async with open_engine(paced, store=store) as engine:
        paced.say("old", None)
        await engine.ask()
        engine.turns.rooms.forget(["s_1"])
        await engine.store.purge(Purge(now=1e9, events_before=1e9, files_before=0))
        turn = await engine.start()
        paced.say("a")
        await until(lambda: turn.run.draft is not None and bool(turn.run.draft.messages()))
        reader = await engine.turns.follow_session("", "s_1", 1, NATIVE)
        early = decode(await engine.next_frames(reader))
        paced.say("ab", None)
        events = early + decode(await engine.read(reader))
        assert [event.event for event in events] == ["snapshot", "delta", "done"]
        assert answer_of(events).text == "ab"


async def test_log_that_is_purged_within_a_turn_starts_with_that_turns_snapshot(store: Store, small_logs: None) -> None:
    paced = Paced()
    async with open_engine(paced, store=store) as engine:
        turn = await engine.start()
        await say_until_trimmed(engine, turn, paced)
        engine.clock.now = 2000.0
        paced.say("the end", None)
        record = await engine.end_of(turn)
        engine.turns.rooms.forget(["s_1"])
        await engine.store.purge(Purge(now=1e9, events_before=1500, files_before=0))
        assert (await engine.store.read_events("s_1", after=0, limit=1)).first_seq > 1
        reader = await engine.turns.follow_session("", "s_1", 1, NATIVE)
        events = decode(await engine.read(reader))
        assert [event.event for event in events] == ["snapshot", "done"]
        assert answer_of(events).text == record.messages[0].text == "the end"


async def test_idempotent_replay_of_a_turn_whose_log_was_purged_streams_its_snapshot_and_end(store: Store) -> None:
    async with open_engine(lambda message, history: "a", store=store) as engine:
        first = await engine.start(idempotency_key="k", body_hash="h")
        await engine.end_of(first)
        await engine.ask("more")
        engine.turns.rooms.forget(["s_1"])
        await engine.store.purge(Purge(now=1000, events_before=1e9, files_before=0))
        replayed = await engine.start(idempotency_key="k", body_hash="h")
        assert (replayed.turn_id, replayed.replayed) == (first.turn_id, True)
        assert answer_of(await engine.events(replayed)).text == "a"


# --- snapshots and strict durability -----------------------------------------------------------------------------


class Gated:
    """A store that keeps events waiting until it is let go."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.gate = asyncio.Event()
        self.stored: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def journal_events(self, batch: Any, *, now: float, durable: bool) -> None:
        await self.gate.wait()
        await self._store.journal_events(batch, now=now, durable=durable)
        self.stored += [str(event) for _, events in batch for event in events]


async def test_snapshot_does_not_run_ahead_of_events_that_wait_for_the_store() -> None:
    paced, gated = Paced(), Gated(create_store("memory://"))
    async with open_engine(paced, store=gated, settings={"durability": "events"}) as engine:
        turn = await engine.start()
        paced.say("a")
        await until(lambda: turn.run.draft is not None and bool(turn.run.draft.messages()))
        reader = await engine.turns.follow_session("", "s_1", FAR_AHEAD, NATIVE)
        early = asyncio.create_task(engine.next_frames(reader))
        await until(lambda: bool(turn.room.log and turn.room.log.waiters))
        gated.gate.set()
        assert await within(early) == b""
        (snapshot,) = decode(await engine.next_frames(reader))
        assert answer_of([snapshot]).text == "a"
        paced.say("ab", None)
        assert answer_of([snapshot, *decode(await engine.read(reader))]).text == "ab"


async def test_strict_durability_shows_no_event_before_it_is_stored() -> None:
    paced, gated = Paced(), Gated(create_store("memory://"))
    async with open_engine(paced, store=gated, settings={"durability": "events"}) as engine:
        turn = await engine.start()
        reader = engine.turns.read_turn(turn, NATIVE)
        assert [event.event for event in decode(await engine.next_frames(reader))] == ["turn"]
        paced.say("a")
        await until(lambda: turn.run.draft is not None and bool(turn.run.draft.messages()))
        queued = await engine.start("queued", when_busy="queue")
        assert reader.take() == b""
        gated.gate.set()
        shown = decode(await engine.next_frames(reader))
        shown += decode(await engine.next_frames(reader)) if not shown else []
        assert [event.event for event in shown] == ["message", "delta"]
        assert any("['a']" in event for event in gated.stored)
        paced.say("ab")
        while b'"b"' not in await engine.next_frames(reader):
            pass
        assert any("['b']" in event for event in gated.stored)
        paced.say(None, None)
        await engine.end_of(queued)


# --- the response ------------------------------------------------------------------------------------------------


class Client:
    """An ASGI client that takes what is sent in its own time, and may leave."""

    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.may_take = asyncio.Event()
        self.has_left = asyncio.Event()
        self.is_done = False

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            await self.may_take.wait()
            self.body.append(message.get("body", b""))
            self.is_done = not message.get("more_body", False)

    async def receive(self) -> dict[str, Any]:
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def take(self, response: LogStream) -> None:
        await within(response({"type": "http", "method": "GET"}, self.receive, self.send))


def stream_of(engine: Engine, reader: Reader, **reply: Any) -> LogStream:
    """Return the response that sends a turn's native stream."""
    source = OfTurn(reader.cursor.turn_id or "")
    return LogStream(engine.turns, reader, StreamReply(source, NATIVE, form=Native.form, **reply))


async def test_response_sends_the_stream_after_a_first_block_with_retry() -> None:
    async with open_engine(lambda message, history: "a") as engine:
        turn, client = await engine.start(), Client()
        client.may_take.set()
        await client.take(stream_of(engine, engine.turns.read_turn(turn, NATIVE)))
        retry, _, rest = b"".join(client.body).partition(b"\n\n")
        assert retry.startswith(b"retry: ")
        assert rest == await engine.frames(turn)
        assert client.is_done
        assert len(engine.turns.readers) == 0


async def test_client_that_takes_late_gets_what_came_meanwhile_in_one_piece() -> None:
    paced, client = Paced(), Client()
    async with open_engine(paced) as engine:
        turn = await engine.start()
        streaming = asyncio.create_task(client.take(stream_of(engine, engine.turns.read_turn(turn, NATIVE))))
        await asyncio.sleep(0)
        paced.say(*("x" * length for length in range(1, 200)), None)
        await engine.end_of(turn)
        client.may_take.set()
        await within(streaming)
        first_piece, rest = client.body
        assert decode(first_piece + rest) == await engine.events(turn)


@pytest.mark.parametrize("is_over", [True, False])
async def test_client_that_takes_nothing_is_dropped_in_the_middle_and_at_the_last_frames(is_over: bool) -> None:
    paced, client = Paced(), Client()
    async with open_engine(paced) as engine:
        turn = await engine.start()
        paced.say("a")
        if is_over:
            paced.say(None)
            await engine.end_of(turn)
        reader = engine.turns.read_turn(turn, NATIVE)
        streaming = asyncio.create_task(client.take(stream_of(engine, reader)))
        await until(lambda: reader.cursor.seq > 0)
        engine.turns.readers.tick(ping_ticks=100, stall_ticks=1)
        assert not streaming.done()
        engine.turns.readers.tick(ping_ticks=100, stall_ticks=1)
        await within(streaming)
        assert (client.body, len(engine.turns.readers)) == ([], 0)


async def test_stream_in_which_words_come_is_neither_pinged_nor_dropped() -> None:
    paced, client = Paced(), Client()
    client.may_take.set()
    async with open_engine(paced, settings={"ping_interval_s": 2}) as engine:
        turn = await engine.start()
        reader = engine.turns.read_turn(turn, NATIVE)
        streaming = asyncio.create_task(client.take(stream_of(engine, reader)))
        for end in range(1, 5):
            paced.say("abcd"[:end])
            await until(lambda end=end: b"".join(client.body).count(b"event: delta") == end)  # type: ignore[misc]
            engine.turns.readers.tick(ping_ticks=2, stall_ticks=2)
        paced.say(None)
        await within(streaming)
        assert Native.form.ping not in b"".join(client.body)


async def test_stream_that_is_let_go_while_its_client_takes_a_piece_ends_behind_it() -> None:
    paced, client = Paced(), Client()
    async with open_engine(paced, settings={"ping_interval_s": 60}) as engine:
        turn = await engine.start()
        paced.say("a")
        await until(lambda: _text_so_far(turn) == "a")
        reader = engine.turns.read_turn(turn, NATIVE)
        streaming = asyncio.create_task(client.take(stream_of(engine, reader)))
        await until(lambda: reader.cursor.seq > 0)
        engine.turns.readers.say_bye()
        client.may_take.set()
        await within(streaming)
        assert b"".join(client.body).endswith(b'event: bye\ndata: {"reconnect":true}\n\n')


@pytest.mark.parametrize("leaves", [True, False])
async def test_leaving_stops_the_turn_that_is_served_only_when_the_stream_was_not_over(leaves: bool) -> None:
    paced, client = Paced(), Client()
    client.may_take.set()
    async with open_engine(paced) as engine:
        turn = await engine.start(on_disconnect="stop")
        reader = engine.turns.read_turn(turn, NATIVE)
        streaming = asyncio.create_task(client.take(stream_of(engine, reader, serves=(turn.turn_id,))))
        await until(lambda: reader.cursor.is_waiting)
        if leaves:
            client.has_left.set()
        else:
            paced.say(None)
        await within(streaming)
        client.has_left.set()
        record = await engine.end_of(turn)
        assert record.turn.status == ("stopped" if leaves else "completed")


class Failing(NativeEncoder):
    """Encodes all but deltas."""

    def encode(self, numbered: NumberedEvent) -> bytes:
        if isinstance(numbered.event, Delta):
            raise LookupError("no word for it")
        return super().encode(numbered)


class Broken:
    """An outlet of a server that fails."""

    def offer(self, frames: bytes) -> bool:
        raise OSError("the socket is gone")


@pytest.mark.parametrize(("fails", "error"), [("encoder", LookupError), ("outlet", OSError)])
@pytest.mark.parametrize("texts", [[], ["a"]], ids=["first word", "further word"])
async def test_reader_that_fails_fails_alone(texts: list[str], fails: str, error: type[Exception]) -> None:
    paced = Paced()
    async with open_engine(paced) as engine:
        turn = await engine.start()
        readers = [engine.turns.read_turn(turn, NATIVE) for _ in range(2)]
        paced.say(*texts)
        for text in ("", *texts):
            await until(lambda text=text: _text_so_far(turn) == text)  # type: ignore[misc]
        for reader in readers:
            assert reader.take()
        failing = readers[0].cursor
        failing.encoder = Failing() if fails == "encoder" else NATIVE
        failing.outlet = Broken() if fails == "outlet" else None
        news = [asyncio.ensure_future(reader.cursor.news()) for reader in readers]
        paced.say("ab", None)
        with pytest.raises(error):
            await within(news[0])
        assert b"event: delta" in await within(news[1])
        assert (await engine.end_of(turn)).messages[0].text == "ab"


def _text_so_far(turn: RunningTurn) -> str:
    return "" if turn.run.draft is None else "".join(message.text for message in turn.run.draft.messages())


# --- what travels ------------------------------------------------------------------------------------------------


async def test_message_mutated_in_place_is_seen_by_clients_step_by_step() -> None:
    thought = ChatMessage("looking", metadata={"title": "Search", "status": "pending"})

    async def predict(message: str, history: list[Any]) -> AsyncIterator[ChatMessage]:
        yield thought
        thought.metadata["status"] = "done"
        thought.content += " up"
        yield thought

    async with open_engine(predict) as engine:
        events = await engine.events(await engine.start())
        assert [event.event for event in events] == ["turn", "message", "delta", "delta", "metadata", "done"]
        assert events[1].json["metadata"] == {"title": "Search", "status": "pending"}
        assert events[4].json["metadata"] == {"status": "done"}


@pytest.mark.parametrize(
    "hostile", ["a\n\ndata: x\n\nid: 9\nevent: done", "\r\r", "\u2028\u2029\x85", "\x00\ufeff", ":"]
)
async def test_no_text_of_anybody_becomes_a_field_of_the_stream(hostile: str) -> None:
    async with open_engine(lambda message, history: message) as engine:
        turn = await engine.start(hostile)
        stream = await engine.frames(turn)
        assert len(stream.split(b"\n\n")) == 5
        assert len(stream.decode().splitlines()) == 4 * 4
        assert answer_of(decode(stream)).text == hostile


async def test_blocks_the_loop_nowhere(store: Store) -> None:
    async with open_engine(lambda message, history: message, store=store) as engine:
        with nothing_blocks():
            turn = await engine.start("é" * 1000)
            assert answer_of(await engine.events(turn)).text == "é" * 1000
