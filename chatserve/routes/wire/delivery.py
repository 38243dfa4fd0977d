"""The stream of an inbox: it delivers what waits there, and what joins meanwhile. Knows no protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Send

from chatserve.contracts.wire import InboxStream
from chatserve.engine import Reader, TurnEngine
from chatserve.routes.streams.sse import EventStream, StreamManners
from chatserve.routes.wire.inboxes import Inboxes, Place


class Delivery(EventStream):
    """A stream of an inbox: what it delivered to the end waits no more.

    Of a stream that was cut nobody knows how much of it arrived: all its turns are delivered again.
    """

    def __init__(
        self,
        engine: TurnEngine,
        reader: Reader,
        opening: bytes,
        reply: InboxStream,
        inboxes: Inboxes,
        place: Place,
        on_leave: Callable[[], None],
    ) -> None:
        manners = StreamManners(opening, reply.ping, reply.encoder.farewell)
        super().__init__(engine, reader, manners, on_leave=on_leave, headers=reply.headers)
        self._reply = reply
        self._inboxes = inboxes
        self._place = place

    async def _send_frames(self, chunk: bytes, send: Send) -> bytes:
        rest = await super()._send_frames(chunk, send)
        encoder = self._reply.encoder
        if not encoder.is_complete:
            return rest
        await send({"type": "http.response.body", "body": rest, "more_body": True})
        self._inboxes.close(self._place, encoder.told, now=asyncio.get_running_loop().time())
        return self._reply.ending
