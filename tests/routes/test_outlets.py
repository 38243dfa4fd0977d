"""Frames written from the log to uvicorn's socket: the bytes its own `send` would write, and never ahead of it."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from chatserve import ChatServer
from chatserve.routes.outlets import ChunkedOutlet, outlet_of
from tests.support.engine import WAIT_S, until, within
from tests.support.sse import read_events

WORDS = 300
FILLER = "é\u2028 " + "x" * 400


def chat_app() -> ChatServer:
    app = ChatServer(store="memory://")

    @app.chat(yields="deltas")
    async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
        """Say words of many lengths, further apart than a beat, or as fast as it can."""
        pause_s = 0.005 if message == "slowly" else 0
        for number in range(WORDS):
            yield f"{number}{FILLER if number % 7 == 0 else ''} "
            await asyncio.sleep(pause_s)

    return app


@asynccontextmanager
async def served(http: str, app: Any) -> AsyncIterator[tuple[str, int]]:
    """Serve an application with uvicorn in this loop; yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=http, log_level="error", lifespan="off"))  # type: ignore[arg-type]
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[:2]
    finally:
        server.should_exit = True
        await within(serving)


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


def test_send_that_others_wrapped_or_made_has_no_outlet() -> None:
    class Cycle:
        async def send(self, message: Any) -> None: ...

    async def wrapped(message: Any) -> None: ...

    assert outlet_of(wrapped) is None
    assert outlet_of(Cycle().send) is None


@pytest.mark.parametrize("missing", [None, "chunked_encoding", "response_complete", "flow", "transport"])
def test_uvicorn_of_another_kind_is_left_alone(missing: str | None) -> None:
    class Cycle:
        __module__ = "uvicorn.protocols.http.httptools_impl"

        def __init__(self) -> None:
            self.chunked_encoding: Any = True
            self.response_complete = False
            self.flow: Any = None
            self.transport: Any = sys.stdout
            if missing is not None:
                delattr(self, missing)

        async def send(self, message: Any) -> None: ...

    assert (outlet_of(Cycle().send) is not None) is (missing is None)
