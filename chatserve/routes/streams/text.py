"""An answer's words as they come, and nothing else: `Accept: text/plain`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatserve.core.errors import ShuttingDown
from chatserve.engine import Reader, RunningTurn, TurnEngine
from chatserve.formats.wire.plain import PlainEncoder
from chatserve.routes.http.problems import error_response, turn_problem


class WordStream(Response):
    """The words of one turn.

    Its head waits for the first word, so that a turn that fails before it is a problem document; a failure after it
    closes the connection without the last chunk, for a client must not take half an answer for a whole one. So does a
    server that goes before the turn's end.
    """

    media_type = "text/plain"

    def __init__(
        self, engine: TurnEngine, turn: RunningTurn, *, headers: dict[str, str], on_leave: Callable[[], None] | None
    ) -> None:
        super().__init__(None, 200, headers=headers | {"cache-control": "no-store, no-transform"})
        del self.headers["content-length"]
        self._engine = engine
        self._turn = turn
        self._on_leave = on_leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = self._engine.read_turn(self._turn, PlainEncoder())
        listener = asyncio.ensure_future(self._listen(receive, reader))
        try:
            await self._stream(scope, receive, send, reader)
        finally:
            listener.cancel()
            self._engine.detach(reader)

    async def _listen(self, receive: Receive, reader: Reader) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not reader.is_at_end:
            reader.close()
            if self._on_leave is not None:
                self._on_leave()

    async def _stream(self, scope: Scope, receive: Receive, send: Send, reader: Reader) -> None:
        begun, words = False, b""
        while not reader.closed:
            words += await self._engine.readers.catch_up(reader) if reader.needs_store else reader.take()
            if words:
                if not begun:
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                begun = True
                await send({"type": "http.response.body", "body": words, "more_body": True})
                words = b""
            elif reader.is_at_end:
                break
            elif not reader.has_more:
                words = await reader.news()
        await self._finish(scope, receive, send, begun=begun)

    async def _finish(self, scope: Scope, receive: Receive, send: Send, *, begun: bool) -> None:
        record = self._turn.record
        if record is None:  # the server goes before the turn's end
            if not begun:
                await error_response(ShuttingDown("the server is shutting down; ask again"))(scope, receive, send)
            return
        error = record.turn.error if record.turn.status == "failed" else None
        if error is not None:
            if not begun:
                await turn_problem(record.turn, error)(scope, receive, send)
            return
        if not begun:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
