"""Responses to requests that start or follow a turn, in the format that the client asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from chatserve.codec import message_json, usage_json
from chatserve.contracts.streams import EVENT_STREAM, OfSession, OfTurn, StreamFormat, StreamReply
from chatserve.contracts.turns import TurnRecord
from chatserve.core.types import Json
from chatserve.engine import RunningTurn, TurnEngine
from chatserve.routes.http.media_types import choose_media_type
from chatserve.routes.http.problems import turn_problem
from chatserve.routes.http.requests import headers_of
from chatserve.routes.http.responses import json_response
from chatserve.routes.streams.responses import stream_response
from chatserve.routes.streams.waiting import wait_for_end

DOCUMENT: Final = "application/json"


class Answers:
    """Answers turns in any of the stream formats. The header `Accept` says which one the client wants.

    Formats whose frames carry event numbers are called *events*: a client can follow a turn or a session in them, and
    can reconnect. The other formats send an answer only to the request that started the turn.
    """

    def __init__(self, engine: TurnEngine, formats: Iterable[StreamFormat]) -> None:
        self._engine = engine
        self._formats: Mapping[str, StreamFormat] = {each.form.media_type: each for each in formats}
        self._events = tuple(name for name, each in self._formats.items() if each.form.is_resumable)
        words = tuple(name for name, each in self._formats.items() if not each.form.is_resumable)
        self._offers = {True: (*self._events, DOCUMENT, *words), False: (DOCUMENT, *words)}

    async def answer(self, request: Request, turn: RunningTurn, *, stream: bool | None) -> Response:
        """Answer with the turn's events, its text, its location or its result. Raises: as `stream_response`."""
        headers, wanted = _turn_headers(request, turn), self._wanted(request, stream)
        if "respond-async" in headers_of(request).get("prefer", "") and wanted not in self._events:
            turn.detach()
            return json_response(_accepted_json(turn), 202, headers | {"location": f"/turns/{turn.turn_id}"})
        if wanted != DOCUMENT:
            wire_format, served = self._formats[wanted], () if turn.is_detached else (turn.turn_id,)
            reply = StreamReply(OfTurn(turn.turn_id), wire_format.encoder(), headers, wire_format.form, serves=served)
            return await stream_response(self._engine, request, reply, turn)
        return await self._wait(request, turn, headers)

    async def follow(self, request: Request, source: OfTurn | OfSession) -> Response:
        """Answer with events after the client's cursor; 204 when it has them all. Raises: as `stream_response`."""
        wire_format = self._formats[choose_media_type(_accept_of(request), self._events, EVENT_STREAM)]
        reply = StreamReply(source, wire_format.encoder(), form=wire_format.form)
        return await stream_response(self._engine, request, reply)

    def _wanted(self, request: Request, stream: bool | None) -> str:
        """Return the media type of the answer; if `stream` is given, it decides whether that is events."""
        if stream:
            return EVENT_STREAM
        return choose_media_type(_accept_of(request), self._offers[stream is None], DOCUMENT)

    async def _wait(self, request: Request, turn: RunningTurn, headers: dict[str, str]) -> Response:
        await wait_for_end(self._engine, request, turn)
        record = turn.record
        if record is None:
            return json_response(_accepted_json(turn), 202, headers)
        if record.turn.status == "failed" and record.turn.error is not None:
            return turn_problem(record.turn, record.turn.error)
        etag = {} if record.turn.version is None else {"etag": f'"{record.turn.version}"'}
        return json_response(answer_json(record), 200, headers | etag)


def _accept_of(request: Request) -> str:
    """Return the value of `Accept`, joined where a request has several such header lines."""
    lines = [value for name, value in request.scope["headers"] if name == b"accept"]
    accept: str = b",".join(lines).decode("latin-1")
    return accept


def _turn_headers(request: Request, turn: RunningTurn) -> dict[str, str]:
    headers = {"x-turn-id": turn.turn_id}
    if turn.room.session_id:
        headers["x-session-id"] = turn.room.session_id
    if turn.replayed and turn.request.http_request is not request:
        headers["idempotency-replayed"] = "true"
    return headers


def answer_json(record: TurnRecord) -> dict[str, Json]:
    """Return the JSON of an ended turn for a client that waited for it."""
    turn = record.turn
    spoken = [message for message in record.messages if message.role == "assistant" and not message.is_thought]
    return {
        "session_id": turn.session_id or None,
        "turn_id": turn.turn_id,
        "status": turn.status,
        "text": spoken[-1].text if spoken else "",
        "messages": [message_json(message) for message in record.messages],
        "finish_reason": turn.finish_reason,
        "usage": None if turn.usage is None else usage_json(turn.usage),
        "version": turn.version,
    }


def _accepted_json(turn: RunningTurn) -> dict[str, Json]:
    return {"session_id": turn.room.session_id or None, "turn_id": turn.turn_id, "status": turn.turn.status}
