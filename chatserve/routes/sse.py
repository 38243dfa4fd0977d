"""Server-sent event responses: a reader's frames on a socket. The only importer of sse-starlette.

`EventStream` keeps `EventSourceResponse`'s place in an application (headers, HEAD, WebSocket denial) and replaces what costs or
hurts: an event is one `send` without cancel scope, lock and log line; pings come after silence only; shutdown is the engine's,
who lets each reader say `bye`; a client that takes nothing is dropped without a traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

from sse_starlette.sse import EventSourceResponse
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatserve.engine import Reader, TurnEngine
from chatserve.formats.wire.native import PING, encode_bye, encode_retry

HEADERS = {"cache-control": "no-store, no-transform", "x-accel-buffering": "no"}


class EventStream(EventSourceResponse):
    """The stream of one reader, until its turn or its client is done. `on_leave` is called when the client leaves first."""

    def __init__(
        self, engine: TurnEngine, reader: Reader, *, on_leave: Callable[[], None] | None = None, headers: dict[str, str]
    ) -> None:
        super().__init__(_nothing(), sep="\n", ping=0, headers=HEADERS | headers)
        self._engine = engine
        self._reader = reader
        self._on_leave = on_leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = self._reader
        if scope["method"] == "HEAD":
            self._engine.detach(reader)
            await super().__call__(scope, receive, send)
            return
        listener = asyncio.ensure_future(self._listen(receive))
        reader.task = asyncio.current_task()
        try:
            await self._stream_response(send)
        except asyncio.CancelledError:
            if not reader.is_stalled:
                raise
        finally:
            listener.cancel()
            self._engine.detach(reader)

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self._reader.is_at_end and not self._reader.closed:
            self._reader.close()
            if self._on_leave is not None:
                self._on_leave()

    async def _stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        reader, clock = self._reader, asyncio.get_running_loop().time
        chunk = encode_retry(_retry_ms())
        while True:
            chunk += reader.take()
            if chunk:
                reader.sending_since = clock()
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                reader.heard_at = clock()
                reader.sending_since = None
            if reader.closed or reader.is_at_end:
                break
            chunk = b""
            if reader.needs_store:
                chunk = await self._engine.readers.catch_up(reader)
            elif not reader.has_more:
                await reader.wait()
                if not reader.has_more and not reader.closed and self._is_silent(clock()):
                    chunk = PING
        farewell = encode_bye(retry_ms=_retry_ms()) if reader.says_bye and not reader.is_at_end else b""
        await send({"type": "http.response.body", "body": farewell, "more_body": False})

    def _is_silent(self, now: float) -> bool:
        return now - self._reader.heard_at >= self._engine.settings.ping_interval_s


class SoftReject(Response):
    """What an overloaded server tells an EventSource: come back later. Any status but 200 would send it away for ever."""

    def __init__(self, retry_ms: int = 5000) -> None:
        body = encode_bye(retry_ms=retry_ms)
        super().__init__(body, 200, headers=HEADERS, media_type="text/event-stream")


async def _nothing() -> object:
    """Stand in for the content the base class wants: this response takes its frames from a reader."""
    return
    yield


def _retry_ms() -> int:
    """Return a wait of 1 to 3 s, different for each client, so that a restart is no stampede."""
    return random.randint(1000, 3000)  # noqa: S311 - spreads load, guards nothing
