"""The response that sends a reader's frames to a socket, in any format. All streams use it.

Each frame costs one `send`, without a cancel scope, lock or log line. Pings are sent only after silence. A client that
receives nothing is disconnected without a traceback. A stream that ends early sends a farewell or omits its last chunk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
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
    """The stream of one reader, until its turn ends, its client leaves or its server stops.

    `begun` are frames that were taken from the reader before.

    - The stream begins with the head, the opening and all existing frames. If the answer is about to begin, its first
      frames are sent with them.
    - After `ping_interval_s` of silence it sends a ping, in formats that have one.
    - A client that receives nothing for `send_timeout_s` is disconnected. A slow client is not, because long chunks are
      sent in pieces.
    - When the client leaves, the stream ends, and `on_disconnect` decides whether the turns it serves go on.
    - When the server stops or the session is deleted, everything published so far is still sent. A stream that is then
      not at its end sends a farewell. If the format cannot express that, or a failure, the connection is closed without
      the last chunk: half an answer must not look complete.
    """

    def __init__(self, engine: TurnEngine, reader: Reader, reply: StreamReply, begun: bytes = b"") -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = head_of(reply)
        self._engine = engine
        self._reader = reader
        self._cursor = reader.cursor
        self._reply = replace(reply, headers={})  # a stream lasts; it keeps nothing of its head
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
            self.raw_headers, self._begun = [], _NOTHING
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
        """Send the existing frames. An outlet then sends later frames directly; without one, a task sends them."""
        reader, cursor = self._reader, self._cursor
        head: Message = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        frames = opening_of(self._reply) + self._begun + reader.take() + self._take_extras()
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
        """Start a task that sends the frames that the outlet refused, and all later ones."""
        if not news.cancelled():
            self._start_sending(self._send_rest(send, news))

    def _start_sending(self, sending: Coroutine[Any, Any, None]) -> None:
        """Send in a new task, while the request's own task waits for a disconnect.

        Each event then resumes a stack of two coroutines; in the request's task there are twenty.
        """
        self._sending = self._reader.task = asyncio.ensure_future(sending)
        self._sending.add_done_callback(self._stop_listening)

    def _stop_listening(self, _sending: asyncio.Task[None]) -> None:
        if self._listening is not None:
            self._listening.cancel()

    async def _listen(self, receive: Receive) -> None:
        """Return when the client has left or all is sent; some servers report no disconnect after the last frame."""
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
        """Send these frames and all later ones, to the end of the response."""
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
        """Send the reader's frames until its end; return the last ones. The inner loop is the hot path."""
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
        """Wait for and return the next frames or a ping; b"": check the reader again."""
        reader = self._reader
        if frames := self._take_extras():
            return frames
        if reader.silent_ticks >= self._ping_ticks and not self._cursor.has_more and not self._cursor.needs_store:
            reader.silent_ticks = 0
            return self._reply.form.ping or await self._cursor.news()
        return await self._engine.readers.next_frames(reader)

    def _take_extras(self) -> bytes:
        """Return the frames that are due and that no event brings."""
        extras = self._reply.extras
        return b"" if extras is None else extras.take(self._engine.clock())

    async def _send_pieces(self, chunk: bytes, send: Send) -> bytes:
        """Send all pieces of a chunk but the last, which is returned. Each piece sent shows that the client reads."""
        start = 0
        while len(chunk) - start > MAX_PIECE_BYTES:
            end = start + MAX_PIECE_BYTES
            await send({"type": "http.response.body", "body": chunk[start:end], "more_body": True})
            self._reader.silent_ticks = 0
            start = end
        return chunk[start:]

    def _last_words(self) -> bytes | None:
        """Return the bytes that end the stream; None: cut the connection."""
        if self._cursor.is_at_end:
            return self._reply.form.ending if untold_failure(self._reply.encoder) is None else None
        if self._reader.closed_by == "server":
            return farewell_of(self._reply)
        is_whole = self._cursor.turn_id is None and not self._cursor.has_more
        return b"" if is_whole else None
