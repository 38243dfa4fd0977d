"""The one way out: what a reader is given of a log, on a socket, whatever the format.

A frame is one `send` without cancel scope, lock and log line; pings come after silence only; a client that takes
nothing is dropped without a traceback; what ends before its own end says farewell, or has no last chunk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from chatserve.contracts.streams import StreamReply, untold_failure
from chatserve.engine import Reader, TurnEngine
from chatserve.routes.streams.framing import farewell_of, head_of, opening_of
from chatserve.routes.streams.outlets import MAX_PIECE_BYTES, SERVER_SEND, drop_connection, open_outlet
from chatserve.routes.streams.waiting import release_served

_NOTHING: Final = b""


class LogStream(Response):
    """The stream of one reader, until its turn, its client or its server is done. `begun` is what was read before.

    - It begins with the head, the opening and all there is; an answer that is about to begin comes with them.
    - After `ping_interval_s` of silence comes a ping, in formats that have one.
    - A client that takes nothing for `send_timeout_s` is dropped; so is nobody who takes little, for what is long goes
      in pieces.
    - A client that leaves ends it, and `on_disconnect` decides what becomes of the turns it serves.
    - When the server goes, or the session is removed, all that was said is still sent. What is then not at its own end
      says farewell. Where the format has no word for that, nor for a failure, the connection is closed without the last
      chunk: half an answer must not look like a whole one.
    """

    def __init__(self, engine: TurnEngine, reader: Reader, reply: StreamReply, begun: bytes = b"") -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = head_of(reply)
        self._engine = engine
        self._reader = reader
        self._cursor = reader.cursor
        self._reply = reply
        self._begun = begun
        self._ping_ticks = max(1, round(engine.settings.ping_interval_s / engine.pace.tick_s))
        self._server_send: Send | None = None
        self._news: asyncio.Future[bytes] | None = None
        self._sending: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = self._reader
        self._server_send = scope.get(SERVER_SEND)
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
        elif reader.is_stalled:
            if self._engine.settings.direct_writes:
                drop_connection(self._server_send)
        elif self._sending is not None:
            raise asyncio.CancelledError

    async def _begin(self, send: Send) -> None:
        """Send what there is, and see to the rest: an outlet takes it as it comes, as far as it can, or else a task."""
        reader, cursor = self._reader, self._cursor
        head: Message = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        frames = opening_of(self._reply) + self._begun + reader.take()
        if cursor.awaits_words and reader.closed_by is None:
            frames += await self._engine.readers.first_words(reader)
            frames += reader.take()
        if self._engine.settings.direct_writes and not cursor.is_at_end and len(frames) <= MAX_PIECE_BYTES:
            cursor.outlet = await open_outlet(send, self._server_send, head, frames)
        if cursor.outlet is None:
            self._start_sending(self._send_rest(send, frames, head))
        elif cursor.seq != cursor.log.published_seq or reader.closed_by is not None:
            self._start_sending(self._send_rest(send, _NOTHING))
        else:
            self._news = cursor.news()
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
        self._reader.close("client")
        if not self._cursor.is_at_end:
            release_served(self._engine, self._reader, self._reply.serves)
        if self._sending is not None:
            await asyncio.wait({self._sending})

    # sending

    async def _send_rest(self, send: Send, frames: bytes | asyncio.Future[bytes], head: Message | None = None) -> None:
        """Send these frames and all that follows, to the response's end."""
        if head is not None:
            await send(head)
        chunk = frames if isinstance(frames, bytes) else await frames
        send_body = self._server_send or send
        rest = await self._send_frames(chunk, send_body)
        if self._reader.closed_by == "client":
            return
        last_words = self._last_words()
        rest = await self._send_pieces(rest + (last_words or _NOTHING), send_body)
        self._reader.silent_ticks = 0
        if last_words is None:
            await send_body({"type": "http.response.body", "body": rest, "more_body": True})
            return
        await send({"type": "http.response.body", "body": rest, "more_body": False})
        if self._cursor.is_at_end and self._reply.delivery is not None:
            self._reply.delivery.complete(self._engine.clock())

    async def _send_frames(self, chunk: bytes, send: Send) -> bytes:
        """Send all that the reader gets until its end; return the last frames. The inner loop is the hot one."""
        reader, cursor, log = self._reader, self._cursor, self._cursor.log
        while True:
            chunk += reader.take()
            if reader.is_over:
                return chunk
            if not chunk:
                chunk = await self._next_frames()
                continue
            while chunk:
                if len(chunk) > MAX_PIECE_BYTES:
                    chunk = await self._send_pieces(chunk, send)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                is_behind = reader.closed_by is not None or cursor.seq != log.published_seq
                chunk = b"" if is_behind else await cursor.news()

    async def _next_frames(self) -> bytes:
        """Return what there is to send when nothing can be taken, be it a ping; b"" when it is time to look again."""
        reader = self._reader
        if reader.silent_ticks >= self._ping_ticks and not self._cursor.has_more and not self._cursor.needs_store:
            reader.silent_ticks = 0
            return self._reply.form.ping or await self._cursor.news()
        return await self._engine.readers.next_frames(reader)

    async def _send_pieces(self, chunk: bytes, send: Send) -> bytes:
        """Send a chunk in pieces, all but the last one, which is returned. Each that is taken is a sign of life."""
        start = 0
        while len(chunk) - start > MAX_PIECE_BYTES:
            end = start + MAX_PIECE_BYTES
            await send({"type": "http.response.body", "body": chunk[start:end], "more_body": True})
            self._reader.silent_ticks = 0
            start = end
        return chunk[start:]

    def _last_words(self) -> bytes | None:
        """Return what ends the stream; None: it is cut."""
        if self._cursor.is_at_end:
            return self._reply.form.ending if untold_failure(self._reply.encoder) is None else None
        if self._reader.closed_by == "server":
            return farewell_of(self._reply)
        is_whole = self._cursor.turn_id is None and not self._cursor.has_more
        return b"" if is_whole else None
