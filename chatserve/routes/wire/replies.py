"""Replies of wire formats as responses."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from chatserve.contracts.streams import OfTurn, StreamReply
from chatserve.contracts.wire import FileReply, JsonReply, Reply
from chatserve.engine import RunningTurn, TurnEngine
from chatserve.routes.files import FileRoutes
from chatserve.routes.http.responses import json_response
from chatserve.routes.streams.responses import stream_response
from chatserve.routes.wire.steps import Exchange


class Replies:
    """Sends replies of any kind."""

    def __init__(self, engine: TurnEngine, files: FileRoutes) -> None:
        self._engine = engine
        self._files = files

    async def respond(self, request: Request, reply: Reply, exchange: Exchange | None = None) -> Response:
        """Return the response for a reply; `exchange` holds the steps that were performed. Raises: RequestError."""
        headers = {} if exchange is None else exchange.headers
        match reply:
            case JsonReply():
                return json_response(reply.body, reply.status_code, headers | dict(reply.headers))
            case FileReply(file_id):
                return await self._files.send(request, file_id)
            case StreamReply():
                turn = _own_turn(reply, exchange)
                serves = reply.serves if turn is None or turn.is_detached else (turn.turn_id,)
                reply = replace(reply, headers=headers | dict(reply.headers), serves=serves)
                return await stream_response(self._engine, request, reply, turn)


def _own_turn(reply: StreamReply, exchange: Exchange | None) -> RunningTurn | None:
    """Return the streamed turn, if the same request started it."""
    if exchange is None or not isinstance(reply.source, OfTurn):
        return None
    return exchange.submitted.get(reply.source.turn_id)
