"""Frames written from the log to uvicorn's socket: the bytes its own `send` would write, and never ahead of it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from chatserve import ChatServer
from chatserve.contracts.streams import OfTurn, StreamReply
from chatserve.contracts.turns import TurnCall, TurnRequest
from chatserve.engine import Pace, Reader, RunningTurn
from chatserve.formats.wire.native import Native
from chatserve.routes.streams.log_stream import LogStream
from chatserve.routes.streams.outlets import SERVER_SEND, ChunkedOutlet, Cork, open_outlet
from tests.support import engine as support
from tests.support.engine import NATIVE, WAIT_S, Engine, open_engine, until, within
from tests.support.serving import served
from tests.support.sse import read_events

WORDS = 300
FILLER = "é\u2028 " + "x" * 400


def chat_app(**settings: Any) -> ChatServer:
    app = ChatServer(store="memory://", **settings)

    @app.chat(yields="deltas")
    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        """Say words of many lengths, further apart than a beat, or as fast as it can."""
        pause_s = 0.005 if message == "slowly" else 0
        for number in range(WORDS):
            yield f"{number}{FILLER if number % 7 == 0 else ''} "
            await asyncio.sleep(pause_s)

    return app


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note for each piece that was offered to an outlet whether it was sent."""
    noted: list[bool] = []
    offer = ChunkedOutlet.offer

    def note(self: ChunkedOutlet, frames: bytes) -> bool:
        noted.append(offer(self, frames))
        return noted[-1]

    monkeypatch.setattr(ChunkedOutlet, "offer", note)
    return noted


async def ask(address: tuple[str, int], message: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a stream on a connection of its own; whoever gets it reads the response's head and body."""
    reader, writer = await asyncio.open_connection(*address, limit=2**20)
    body = f'{{"message": "{message}", "stream": true}}'
    head = f"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    writer.write(f"{head}\r\n\r\n{body}".encode())
    return reader, writer


async def chunked_body(reader: asyncio.StreamReader) -> bytes:
    """Return a chunked body to its end; what is no such body is an error."""
    assert b"transfer-encoding: chunked" in (await reader.readuntil(b"\r\n\r\n")).lower()
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        assert await reader.readexactly(2) == b"\r\n"
    assert await reader.readexactly(2) == b"\r\n"
    return body


def assert_whole(body: bytes) -> None:
    events = list(read_events(body.decode().split("\n")[:-1]))
    text = "".join(event.json["text"] for event in events if event.event == "delta")
    assert text == "".join(f"{number}{FILLER if number % 7 == 0 else ''} " for number in range(WORDS))
    assert [int(event.id) for event in events if event.id] == list(range(1, 1 + len(events)))
    assert events[-1].json["messages"][0]["content"] == text


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_stream_is_the_same_whether_the_server_is_known_or_not(http: str, offers: list[bool]) -> None:
    async with served(http, chat_app()) as address, asyncio.timeout(WAIT_S):
        reader, writer = await ask(address, "slowly")
        assert_whole(await chunked_body(reader))
        writer.close()
    assert bool(offers) is (http == "httptools")
    assert all(offers)


async def test_client_that_is_behind_loses_nothing(offers: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[Any] = []
    offer = ChunkedOutlet.offer

    def pause_once(self: ChunkedOutlet, frames: bytes) -> bool:
        """Let the transport say after three pieces that the client is behind, until the loop has turned for a while."""
        if len(offers) == 3 and not paused:
            paused.append(self)
            self._flow.pause_writing()
            asyncio.get_running_loop().call_later(0.05, self._flow.resume_writing)
        return offer(self, frames)

    monkeypatch.setattr(ChunkedOutlet, "offer", pause_once)
    async with served("httptools", chat_app()) as address, asyncio.timeout(WAIT_S):
        reader, writer = await ask(address, "slowly")
        assert_whole(await chunked_body(reader))
        writer.close()
    assert offers.count(False) == 1


async def test_client_that_takes_nothing_for_a_while_gets_all(offers: list[bool]) -> None:
    async with served("httptools", chat_app()) as address, asyncio.timeout(WAIT_S):
        reader, writer = await ask(address, "at once")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.sleep(0.1)
        assert_whole(await chunked_body(reader))
        writer.close()


async def test_client_that_leaves_ends_its_stream_and_not_the_turn(offers: list[bool]) -> None:
    app = chat_app()
    async with served("httptools", app) as address, asyncio.timeout(WAIT_S):
        reader, writer = await ask(address, "slowly")
        await reader.readuntil(b"event: delta")
        writer.transport.abort()
        assert app.engine is not None
        engine = app.engine
        await until(lambda: len(engine.readers) == 0)
        (turn,) = engine.open_turns
        await within(turn.ended.wait())
        assert turn.turn.status == "completed"


# --- streams that end, or go on, by other means than words ----------------------------------------------------------


async def session_of(address: tuple[str, int]) -> str:
    """Make a session and return its id."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(
        b"POST /sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        b"Connection: close\r\n\r\n{}"
    )
    response = await reader.read()
    writer.close()
    session_id: str = json.loads(response.partition(b"\r\n\r\n")[2])["session_id"]
    return session_id


@asynccontextmanager
async def following(
    address: tuple[str, int], session_id: str
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Follow a session on a connection of its own, from when it is attached and told how to reconnect."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(f"GET /sessions/{session_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"\n\n\r\n")
        yield reader, writer
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_stream_of_a_session_that_is_removed_ends(http: str) -> None:
    app = chat_app()
    async with served(http, app) as address, asyncio.timeout(WAIT_S):
        session_id = await session_of(address)
        async with following(address, session_id) as (reader, _):
            assert app.engine is not None
            await app.engine.sessions.delete("", session_id, if_version=None)
            assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")
            await until(lambda: app.engine is not None and len(app.engine.readers) == 0)


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_silent_stream_is_told_that_the_server_goes(http: str) -> None:
    app = chat_app()
    async with served(http, app) as address, asyncio.timeout(WAIT_S):
        session_id = await session_of(address)
        async with following(address, session_id) as (reader, _):
            assert app.engine is not None
            app.engine.readers.say_bye()
            assert b"event: bye\n" in await reader.readuntil(b"0\r\n\r\n")


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_silent_stream_is_pinged_again_and_again_and_then_told_words(http: str) -> None:
    app = chat_app(ping_interval_s=1)
    async with served(http, app) as address, asyncio.timeout(WAIT_S):
        session_id = await session_of(address)
        async with following(address, session_id) as (reader, _):
            engine = app.engine
            assert engine is not None
            for _ in range(3):
                engine.readers.tick(1, 10)
                await reader.readuntil(b":\n\n")
            await engine.submit(TurnRequest(TurnCall("predict", "slowly"), session_id=session_id))
            assert b"event: turn" in await reader.readuntil(b"\n\n")
            assert b'"text":"1 "' in await reader.readuntil(b'{"text":"1 "}')


async def test_client_of_a_silent_stream_that_leaves_is_forgotten() -> None:
    app = chat_app()
    async with served("httptools", app) as address, asyncio.timeout(WAIT_S):
        session_id = await session_of(address)
        async with following(address, session_id) as (_, writer):
            engine = app.engine
            assert engine is not None
            (reader,) = engine.readers._readers
            writer.transport.abort()
            await until(lambda: len(engine.readers) == 0)
            assert not reader.cursor.is_waiting
            turn = await engine.submit(TurnRequest(TurnCall("predict", "at once"), session_id=session_id))
            await within(turn.ended.wait())
            assert reader.closed_by == "client"


async def test_encoder_that_fails_ends_its_own_stream_only(caplog: pytest.LogCaptureFixture) -> None:
    app = chat_app()
    async with served("httptools", app) as address, asyncio.timeout(WAIT_S):
        session_id = await session_of(address)
        async with following(address, session_id) as (broken, _):
            engine = app.engine
            assert engine is not None
            (reader,) = engine.readers._readers
            reader.cursor.encoder = BrokenEncoder()
            turn = await engine.submit(TurnRequest(TurnCall("predict", "at once"), session_id=session_id))
            assert await broken.read() == b""  # cut, for it has not got all
            await within(turn.ended.wait())
            assert turn.turn.status == "completed"
            await until(lambda: len(engine.readers) == 0)


class BrokenEncoder:
    """Cannot say anything."""

    is_per_turn = True
    is_complete = False

    def encode(self, event: Any) -> bytes:
        raise ValueError("there is no word for it")


async def test_head_and_first_events_leave_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[list[bytes]] = []
    leave = Cork.__exit__

    def note(self: Cork, *exc: object) -> None:
        pieces.append(list(self._pieces))
        leave(self, *exc)

    monkeypatch.setattr(Cork, "__exit__", note)
    async with served("httptools", chat_app()) as address, asyncio.timeout(WAIT_S):
        reader, writer = await ask(address, "at once")
        first = await reader.read(2**20)
        assert first.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"event: turn\n" in first
        writer.close()
    ((head, chunk),) = pieces
    assert head.endswith(b"\r\n\r\n")
    assert b"retry: " in chunk


async def test_answer_of_known_length_leaves_a_connection_that_serves_on() -> None:
    async with served("httptools", chat_app()) as address, asyncio.timeout(WAIT_S):
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(3):
            writer.write(b"POST /sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: 2\r\n\r\n{}")
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            assert json.loads(await reader.readexactly(length))["version"] == 1
        writer.close()


async def test_answer_to_a_client_that_wants_no_other_is_whole_before_the_connection_is_closed() -> None:
    async with served("httptools", chat_app()) as address, asyncio.timeout(WAIT_S):
        assert (await session_of(address)).startswith("s_")


# --- servers that are not known ---------------------------------------------------------------------------------------


HEAD = {"type": "http.response.start", "status": 200, "headers": []}


async def send_nothing(message: Any) -> None:
    raise AssertionError(f"{message!r} was sent")


async def test_send_that_others_wrapped_or_made_has_no_outlet_and_is_sent_nothing() -> None:
    class Cycle:
        async def send(self, message: Any) -> None:
            raise AssertionError

    for own in (send_nothing, Cycle().send, None):
        assert await open_outlet(send_nothing, own, HEAD, b"frames") is None


class Flow:
    def __init__(self, *, write_paused: bool = False) -> None:
        self.write_paused = write_paused


class Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, piece: bytes) -> None:
        self.written.append(piece)


class KnownCycle:
    """As much of uvicorn's as an outlet looks at."""

    __module__ = "uvicorn.protocols.http.httptools_impl"

    def __init__(self) -> None:
        self.chunked_encoding: bool | None = None
        self.response_started = False
        self.disconnected = False
        self.flow = Flow()
        self.transport = Transport()

    async def send(self, message: Any) -> None:
        self.transport.write(b"head" if message["type"] == "http.response.start" else message["body"])


async def opened(cycle: KnownCycle) -> bool:
    return await open_outlet(cycle.send, cycle.send, HEAD, b"frames") is not None


async def test_uvicorn_of_the_known_kind_gets_one_piece() -> None:
    cycle = KnownCycle()
    transport = cycle.transport
    assert await opened(cycle)
    assert cycle.transport is transport
    assert transport.written == [b"headframes"]


@pytest.mark.parametrize("missing", ["chunked_encoding", "response_started", "disconnected", "flow", "transport"])
async def test_uvicorn_of_another_kind_is_left_alone(missing: str) -> None:
    cycle = KnownCycle()
    transport = cycle.transport
    delattr(cycle, missing)
    assert not await opened(cycle)
    assert transport.written == []


@pytest.mark.parametrize(
    "state",
    [
        {"chunked_encoding": False},
        {"response_started": True},
        {"disconnected": True},
        {"flow": Flow(write_paused=True)},
        {"transport": None},
    ],
)
async def test_response_that_could_not_be_begun_at_once_is_left_to_a_task(state: dict[str, Any]) -> None:
    cycle = KnownCycle()
    transport = cycle.transport
    for name, value in state.items():
        setattr(cycle, name, value)
    assert not await opened(cycle)
    assert transport.written == []


async def test_transport_is_itself_again_when_sending_fails() -> None:
    class Failing(KnownCycle):
        __module__ = KnownCycle.__module__

        async def send(self, message: Any) -> None:
            raise RuntimeError("no")

    cycle = Failing()
    transport = cycle.transport
    with pytest.raises(RuntimeError, match="no"):
        await opened(cycle)
    assert cycle.transport is transport


@dataclass
class Streaming:
    """A turn whose last word waits for `gate`, and the response that streams it."""

    gate: asyncio.Event
    engine: Engine
    turn: RunningTurn
    cycle: KnownCycle
    reader: Reader
    response: asyncio.Task[None]

    @property
    def written(self) -> list[bytes]:
        """What was written to the socket so far, piece by piece."""
        return self.cycle.transport.written


@asynccontextmanager
async def streaming(*said_before: str) -> AsyncIterator[Streaming]:
    """Stream the answer of a function that says some words at once, and "last " when it may."""
    gate = asyncio.Event()

    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        for word in said_before:
            yield word
        await gate.wait()
        yield "last "

    async def never() -> Any:
        await asyncio.Event().wait()

    async with open_engine(predict, yields="deltas") as engine, asyncio.timeout(WAIT_S):
        turn, cycle = await engine.start(), KnownCycle()
        reader = engine.turns.read_turn(turn, NATIVE)
        stream = LogStream(engine.turns, reader, StreamReply(OfTurn(turn.turn_id), NATIVE, form=Native.form))
        scope = {"type": "http", "method": "POST", SERVER_SEND: cycle.send}
        response = asyncio.create_task(stream(scope, never, cycle.send))
        yield Streaming(gate, engine, turn, cycle, reader, response)
        gate.set()
        await engine.end_of(turn)
        response.cancel()
        with suppress(asyncio.CancelledError):
            await response


async def test_stream_whose_response_is_cancelled_writes_nothing_more() -> None:
    async with streaming("first ") as stream:
        await until(lambda: b"first " in b"".join(stream.written))
        written = len(stream.written)
        stream.response.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stream.response
        stream.gate.set()
        await stream.engine.end_of(stream.turn)
        assert len(stream.written) == written
        assert stream.reader.task is None


async def test_stream_begins_together_with_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "PACE", Pace(first_words_s=2 * WAIT_S))
    async with streaming() as stream:
        await until(lambda: stream.reader.cursor.is_waiting)
        assert stream.written == []
        stream.gate.set()
        await until(lambda: bool(stream.written))
        assert [event in stream.written[0] for event in (b"head", b"event: turn\n", b'"last "')] == [True] * 3
        assert len(stream.engine.turns.readers._awaiting_words) == 0


async def test_stream_does_not_wait_long_for_its_answer_to_begin() -> None:
    async with streaming() as stream:
        await until(lambda: bool(stream.written))
        assert [event in stream.written[0] for event in (b"head", b"event: turn\n", b'"last "')] == [True, True, False]
        await until(lambda: stream.reader.cursor.is_waiting)
        stream.gate.set()
        await until(lambda: b'"last "' in b"".join(stream.written[1:]))


async def test_stream_that_waits_for_its_answer_to_begin_ends_when_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "PACE", Pace(first_words_s=2 * WAIT_S))
    async with streaming() as cancelled, streaming() as told_bye:
        await until(lambda: cancelled.reader.cursor.is_waiting and told_bye.reader.cursor.is_waiting)
        cancelled.response.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled.response
        cancelled.gate.set()
        await cancelled.engine.end_of(cancelled.turn)
        assert cancelled.written == []
        told_bye.engine.turns.readers.say_bye()
        await until(lambda: b"event: bye\n" in b"".join(told_bye.written))
        assert b"event: turn\n" in b"".join(told_bye.written)


async def test_stream_that_begins_far_behind_gets_all() -> None:
    app = chat_app(ping_interval_s=600)  # no ping helps it on
    app.pace = Pace(read_events=WORDS // 4)
    async with served("httptools", app) as address, asyncio.timeout(WAIT_S):
        session_id = await session_of(address)
        engine = app.engine
        assert engine is not None
        turn = await engine.submit(TurnRequest(TurnCall("predict", "slowly"), session_id=session_id))
        await within(turn.ended.wait())
        reader, writer = await asyncio.open_connection(*address, limit=2**20)
        writer.write(f"GET /sessions/{session_id}/events?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        last_seq = (await engine.store.get_session("", session_id)).last_seq
        await reader.readuntil(f"id: {last_seq}\nevent: done\n".encode())
        writer.transport.abort()
