"""Makes the response for a stream reply: opens the reader, and refuses requests that cannot be served."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from chatserve.contracts.streams import OfNothing, OfSession, OfTurn, StreamReply, untold_failure
from chatserve.contracts.turns import TurnRecord
from chatserve.core.errors import Overloaded, ShuttingDown, TurnFailed
from chatserve.core.types import TurnError
from chatserve.engine import Reader, RunningTurn, TurnEngine
from chatserve.routes.http.requests import owner_of
from chatserve.routes.streams.framing import head_of, refusal_of
from chatserve.routes.streams.log_stream import LogStream
from chatserve.routes.streams.waiting import ClientLeft, release_served, unless_left


async def stream_response(
    engine: TurnEngine, request: Request, reply: StreamReply, turn: RunningTurn | None = None
) -> Response:
    """Return a streaming response, or 204 if the client has all events. `turn` is the turn that the request started.

    Raises:
        RequestError: there is nothing to read, or there are too many readers.
        TurnFailed, ShuttingDown, ClientLeft: before the first frame of a form that `awaits_words`.
    """
    may_come_back = reply.form.is_resumable and request.method == "GET"
    try:
        reader = await _open_reader(engine, owner_of(request), reply, turn)
    except Overloaded:
        if not may_come_back:
            raise
        return refusal_of(reply)
    if reader is None:
        return Response(status_code=204)
    try:
        if request.method == "HEAD":
            return _head_alone(engine, reader, reply)
        if engine.is_draining and may_come_back:
            engine.detach(reader)
            return refusal_of(reply)
        begun = await _first_words(engine, request, reader, reply) if reply.form.awaits_words else b""
    except BaseException:
        engine.detach(reader)
        raise
    return LogStream(engine, reader, reply, begun)


async def _open_reader(engine: TurnEngine, owner: str, reply: StreamReply, turn: RunningTurn | None) -> Reader | None:
    """Return an attached reader, or None when no events follow the client's cursor. Raises: RequestError."""
    match reply.source:
        case OfNothing():
            return engine.read_nothing(reply.encoder)
        case OfSession(session_id, after):
            return await engine.follow_session(owner, session_id, after, reply.encoder)
        case OfTurn(turn_id, after):
            if turn is not None and turn.room.log is not None:
                return engine.read_turn(turn, reply.encoder, after)
            followed = await engine.follow_turn(owner, turn_id, after, reply.encoder)
            return _unread_part(engine, reply, followed, after)


def _unread_part(
    engine: TurnEngine, reply: StreamReply, followed: Reader | TurnRecord, after: int | None
) -> Reader | None:
    if isinstance(followed, Reader):
        if not followed.cursor.is_at_end:
            return followed
        engine.detach(followed)
        return None
    if after is not None and after >= (followed.turn.done_seq or 0):
        return None
    return engine.read_record(followed, reply.encoder, after or 0)


def _head_alone(engine: TurnEngine, reader: Reader, reply: StreamReply) -> Response:
    engine.detach(reader)
    response = Response()
    response.raw_headers = head_of(reply)
    return response


async def _first_words(engine: TurnEngine, request: Request, reader: Reader, reply: StreamReply) -> bytes:
    """Return the first frames of a stream; b"" if it has none. Raises: TurnFailed, ShuttingDown, ClientLeft."""
    try:
        frames = await unless_left(request, engine.readers.first_frames(reader))
    except ClientLeft:
        release_served(engine, reader, reply.serves)
        raise
    if frames:
        return frames
    if (failure := untold_failure(reply.encoder)) is not None:
        raise _turn_failed(reader, failure)
    if not reader.cursor.is_at_end:
        raise ShuttingDown("the server is shutting down; ask again")
    return b""


def _turn_failed(reader: Reader, error: TurnError) -> TurnFailed:
    return TurnFailed(
        error.detail,
        code=error.code,
        status_code=error.status_code,
        retryable=error.retryable,
        error_id=error.error_id,
        turn_id=reader.cursor.turn_id,
        session_id=reader.room.session_id or None,
    )
