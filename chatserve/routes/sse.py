"""Server-sent event responses: a reader's frames on a socket. The only importer of sse-starlette.

`EventStream` sends `EventSourceResponse`'s head and replaces what costs or hurts behind it: an event is one `send`
without cancel scope, lock and log line; pings come after silence only; shutdown is the engine's, who lets each reader
say `bye`; a client that takes nothing is dropped without a traceback.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Final

from sse_starlette.sse import AppStatus, EventSourceResponse
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatserve.engine import TICK_S, Reader, TurnEngine
from chatserve.formats.wire.native import PING, encode_bye, encode_retry
from chatserve.frozen import frozen
from chatserve.routes.outlets import outlet_of

SERVER_SEND = "chatserve.send"
"""Where the application keeps the server's own `send`: frames need none of what routing wraps around it."""

SERVER_POLL_S = 0.25
"""How often `drain_with_server` looks."""

HEADERS = {"cache-control": "no-store, no-transform", "x-accel-buffering": "no"}

_HEAD: Final = tuple(EventSourceResponse(iter(()), headers=HEADERS).raw_headers)
"""What sse-starlette sends before a stream, made once: one made per stream would cost a tenth of a turn."""


@frozen
class StreamManners:
    """What a format says besides events: first, in silence, and when the server goes away before the stream's end.

    `refusal` answers a GET while the server takes no more streams; None: it is answered as ever.
    """

    opening: bytes
    ping: bytes
    farewell: Callable[[], bytes]
    refusal: Response | None = None


def native_manners() -> StreamManners:
    """Return the manners of chatserve's own streams, with a time to reconnect of their own."""
    return StreamManners(
        opening=encode_retry(_retry_ms()),
        ping=PING,
        farewell=lambda: encode_bye(retry_ms=_retry_ms()),
        refusal=_REFUSAL,
    )


class EventStream(Response):
    """The stream of one reader, until its turn or its client is done. `on_leave` is called if the client is first."""

    def __init__(
        self,
        engine: TurnEngine,
        reader: Reader,
        manners: StreamManners,
        *,
        on_leave: Callable[[], None] | None = None,
        headers: Mapping[str, str],
    ) -> None:
        self.status_code = 200
        self.background = None
        own = ((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items())
        self.raw_headers = [*_HEAD, *own]
        self._engine = engine
        self._reader = reader
        self._manners = manners
        self._on_leave = on_leave
        self._ping_ticks = max(1, round(engine.settings.ping_interval_s / TICK_S))
        self._unwrapped: Send | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = self._reader
        self._unwrapped = scope.get(SERVER_SEND)
        if scope["method"] == "HEAD":
            self._engine.detach(reader)
            await self._send_head_alone(send)
            return
        refusal = self._manners.refusal
        if refusal is not None and self._engine.is_draining and scope["method"] == "GET":
            self._engine.detach(reader)
            await refusal(scope, receive, send)
            return
        sending = reader.task = asyncio.ensure_future(self._stream_response(send))
        try:
            await _left_or_complete(receive, sending)
            if not sending.done():
                self._leave()
                await asyncio.wait({sending})
        finally:
            sending.cancel()
            self._engine.detach(reader)
        if not sending.cancelled():
            sending.result()
        elif not reader.is_stalled:
            raise asyncio.CancelledError

    async def _send_head_alone(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _leave(self) -> None:
        self._reader.close()
        if self._on_leave is not None and not self._reader.is_at_end:
            self._on_leave()

    async def _stream_response(self, send: Send) -> None:
        reader = self._reader
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if self._unwrapped is not None:
            reader.outlet = outlet_of(self._unwrapped)
        rest = await self._send_frames(self._manners.opening, self._unwrapped or send)
        if reader.says_bye and not reader.is_at_end:
            rest += self._manners.farewell()
        reader.silent_ticks = 0
        await send({"type": "http.response.body", "body": rest, "more_body": False})

    async def _send_frames(self, chunk: bytes, send: Send) -> bytes:
        """Send all that the reader gets until its end; return the last frames. The inner loop is the hot one."""
        reader, log = self._reader, self._reader.log
        while True:
            chunk += reader.take()
            if reader.is_at_end or (reader.closed and not reader.owes_rest):
                return chunk
            if not chunk:
                chunk = await self._next_frames()
                continue
            while chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = b"" if reader.closed or reader.cursor != log.published_seq else await reader.news()

    async def _next_frames(self) -> bytes:
        """Return what there is to send when nothing can be taken, be it a ping; b"" when it is time to look again."""
        reader = self._reader
        if reader.needs_store:
            return await self._engine.readers.catch_up(reader)
        if reader.has_more:
            return b""
        if reader.silent_ticks >= self._ping_ticks:
            reader.silent_ticks = 0
            return self._manners.ping
        return await reader.news()


async def _left_or_complete(receive: Receive, sending: asyncio.Task[None]) -> None:
    """Return when the client has left or all is sent.

    It is this task, deep in the application, that listens, and a task of its own that sends: what is resumed for
    every event is then two coroutines deep, not twenty. Servers that say nothing once a response is complete are
    not waited for.
    """
    listening = asyncio.current_task()
    assert listening is not None
    is_listening = True

    def interrupt(_sent: asyncio.Task[None]) -> None:
        if is_listening:
            listening.cancel()

    sending.add_done_callback(interrupt)
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    except asyncio.CancelledError:
        if not sending.done() or listening.uncancel() > 0:
            raise
    finally:
        is_listening = False


class SoftReject(Response):
    """What an overloaded server tells an EventSource: come back later. Another status would send it away for ever."""

    def __init__(self, retry_ms: int = 5000) -> None:
        body = encode_bye(retry_ms=retry_ms)
        super().__init__(body, 200, headers=HEADERS, media_type="text/event-stream")


_REFUSAL: Final = SoftReject()


async def drain_with_server(engine: TurnEngine) -> None:
    """Drain when the server around begins to stop; for servers that wait for streams to end before they tell anybody.

    sse-starlette sees uvicorn's signals. Its flag is never taken back: one that is set already is an earlier server's.
    """
    if _server_exits():
        return
    while not _server_exits():  # noqa: ASYNC110 - a signal handler sets the flag, and wakes nobody
        await asyncio.sleep(SERVER_POLL_S)
    await engine.drain(engine.settings.drain_timeout_s)
    engine.readers.say_bye()


def _server_exits() -> bool:
    return AppStatus.should_exit


def _retry_ms() -> int:
    """Return a wait of 1 to 3 s, different for each client, so that a restart is no stampede."""
    return random.randint(1000, 3000)  # noqa: S311 - spreads load, guards nothing
