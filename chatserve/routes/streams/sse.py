"""Server-sent event responses: a reader's frames on a socket. The only importer of sse-starlette.

`EventStream` sends `EventSourceResponse`'s head and replaces what costs or hurts behind it: an event is one `send`
without cancel scope, lock and log line; pings come after silence only; shutdown is the engine's, who lets each reader
say `bye`; a client that takes nothing is dropped without a traceback.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

from sse_starlette.sse import AppStatus, EventSourceResponse
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from chatserve.core.frozen import frozen
from chatserve.engine import Reader, TurnEngine
from chatserve.formats.wire.native import PING, encode_bye, encode_retry
from chatserve.routes.streams.outlets import open_outlet

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
        self._ping_ticks = max(1, round(engine.settings.ping_interval_s / engine.pace.tick_s))
        self._server_send: Send | None = None
        self._news: asyncio.Future[bytes] | None = None
        self._sending: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = self._reader
        self._server_send = scope.get(SERVER_SEND)
        if scope["method"] == "HEAD":
            self._engine.detach(reader)
            await self._send_head_alone(send)
            return
        refusal = self._manners.refusal
        if refusal is not None and self._engine.is_draining and scope["method"] == "GET":
            self._engine.detach(reader)
            await refusal(scope, receive, send)
            return
        try:
            await self._begin(send)
            await self._listen(receive)
            if self._sending is None or not self._sending.done():
                await self._leave()
        finally:
            for waits in (self._news, self._sending):
                if waits is not None:
                    waits.cancel()
            self._engine.detach(reader)
        if self._sending is not None and not self._sending.cancelled():
            self._sending.result()
        elif self._sending is not None and not reader.is_stalled:
            raise asyncio.CancelledError

    async def _send_head_alone(self, send: Send) -> None:
        await send(self._head)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    @property
    def _head(self) -> Message:
        return {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}

    async def _begin(self, send: Send) -> None:
        """Send what there is, and see to the rest: an outlet takes it as it comes, as far as it can, or else a task."""
        reader = self._reader
        frames = self._manners.opening + reader.take()
        if reader.awaits_words and not reader.closed:
            frames += await self._engine.readers.first_words(reader)
            frames += reader.take()
        if not reader.is_at_end:
            reader.outlet = await open_outlet(send, self._server_send, self._head, frames)
        if reader.outlet is None:
            self._start_sending(self._send_rest(send, frames, self._head))
        elif reader.cursor != reader.log.published_seq or reader.closed:
            self._start_sending(self._send_rest(send, b""))
        else:
            self._news = reader.news()
            self._news.add_done_callback(partial(self._go_on, send))

    def _go_on(self, send: Send, news: asyncio.Future[bytes]) -> None:
        """Send in a task what the outlet did not take, and all that follows."""
        if not news.cancelled():
            self._start_sending(self._send_rest(send, news))

    def _start_sending(self, sending: Coroutine[Any, Any, None]) -> None:
        """Send in a task of its own, while the one that is deep in the application listens.

        What is resumed for every event is then two coroutines deep, not twenty.
        """
        self._sending = self._reader.task = asyncio.ensure_future(sending)
        self._sending.add_done_callback(self._stop_listening)

    def _stop_listening(self, _sending: asyncio.Task[None]) -> None:
        if self._listening is not None:
            self._listening.cancel()

    async def _listen(self, receive: Receive) -> None:
        """Return when the client has left or all is sent; servers that say nothing then are not waited for."""
        listening = self._listening = asyncio.current_task()
        assert listening is not None
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if self._sending is None or not self._sending.done() or listening.uncancel() > 0:
                raise
        finally:
            self._listening = None

    async def _leave(self) -> None:
        """End the stream of a client that has left."""
        if self._news is not None:
            self._news.cancel()
        self._reader.close()
        if self._on_leave is not None and not self._reader.is_at_end:
            self._on_leave()
        if self._sending is not None:
            await asyncio.wait({self._sending})

    async def _send_rest(self, send: Send, frames: bytes | asyncio.Future[bytes], head: Message | None = None) -> None:
        """Send these frames and all that follows, to the response's end."""
        reader = self._reader
        if head is not None:
            await send(head)
        chunk = frames if isinstance(frames, bytes) else await frames
        rest = await self._send_frames(chunk, self._server_send or send)
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
    return 1000 + int(random.random() * 2000)  # noqa: S311 - spreads load, guards nothing
