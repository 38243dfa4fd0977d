"""Replies of wire formats as responses. A stream is a reader of the log with the format's own encoder."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from chatserve.contracts.turns import TurnRecord
from chatserve.contracts.wire import (
    BytesReply,
    FileReply,
    Inbox,
    InboxStream,
    JsonReply,
    PulseStream,
    Reply,
    TurnStream,
)
from chatserve.engine import TurnEngine, ended_turn_frames
from chatserve.routes.files import FileRoutes
from chatserve.routes.http.requests import owner_of
from chatserve.routes.streams.sse import HEADERS, EventStream, StreamManners
from chatserve.routes.streams.waiting import NATIVE, on_leave
from chatserve.routes.turns import json_response
from chatserve.routes.wire.delivery import Delivery
from chatserve.routes.wire.inboxes import Inboxes
from chatserve.routes.wire.steps import Exchange


class Replies:
    """What it takes to send any reply."""

    def __init__(self, engine: TurnEngine, files: FileRoutes, inboxes: Inboxes) -> None:
        self._engine = engine
        self._files = files
        self._inboxes = inboxes

    async def respond(self, request: Request, reply: Reply, exchange: Exchange | None = None) -> Response:
        """Return the response that is the reply; `exchange` is what was done for it. Raises: RequestError."""
        headers = {} if exchange is None else exchange.headers
        match reply:
            case JsonReply():
                return json_response(reply.body, reply.status_code, headers | dict(reply.headers))
            case BytesReply():
                return Response(
                    reply.content, reply.status_code, headers=headers | dict(reply.headers), media_type=reply.media_type
                )
            case FileReply(file_id):
                return await self._files.send(request, file_id)
            case TurnStream():
                return await self._turn_stream(request, reply, exchange, headers | dict(reply.headers))
            case InboxStream():
                return await self._inbox_stream(request, reply)
            case PulseStream():
                return self._pulse_stream(reply)

    async def _turn_stream(
        self, request: Request, reply: TurnStream, exchange: Exchange | None, headers: dict[str, str]
    ) -> Response:
        engine = self._engine
        manners = StreamManners(b"", reply.ping, reply.encoder.farewell)
        turn = None if exchange is None else exchange.submitted.get(reply.turn_id)
        if turn is not None and turn.room.log is not None:
            reader = engine.read_turn(turn, reply.encoder)
            leave = None if turn.is_detached else on_leave(engine, turn)
            return EventStream(engine, reader, manners, on_leave=leave, headers=headers)
        followed = await engine.follow_turn(owner_of(request), reply.turn_id, None, reply.encoder)
        if isinstance(followed, TurnRecord):
            frames = ended_turn_frames(followed, reply.encoder, 0)
            return Response(frames, headers=HEADERS | headers, media_type="text/event-stream")
        return EventStream(engine, followed, manners, headers=headers)

    async def _inbox_stream(self, request: Request, reply: InboxStream) -> Response:
        engine, inbox, owner = self._engine, reply.inbox, owner_of(request)
        reader = await engine.follow_session(owner, inbox.session_id, inbox.after, reply.encoder)
        opening = b"".join(ended_turn_frames(record, reply.encoder, 0) for record in inbox.ended)
        leave = partial(self._leave_inbox, owner, inbox)
        return Delivery(engine, reader, opening, reply, self._inboxes, (owner, inbox.session_id), leave)

    def _leave_inbox(self, owner: str, inbox: Inbox) -> None:
        """Do with each turn that waits what is to be done when its client leaves."""
        for turn in self._engine.open_turns:
            if turn.room.owner == owner and turn.turn_id in inbox.waiting and (leave := on_leave(self._engine, turn)):
                leave()

    def _pulse_stream(self, reply: PulseStream) -> Response:
        manners = StreamManners(reply.ping, reply.ping, bytes)
        return EventStream(self._engine, self._engine.read_nothing(NATIVE), manners, headers=reply.headers)
