"""Responses: created, read, streamed, cancelled, deleted. A response is a turn.

Knows how requests become turns and turns become replies; the modules beside it know what is in them.

Source: OpenAI API reference, "Responses".
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

from chatserve.contracts.streams import OfTurn, StreamReply
from chatserve.contracts.turns import TURN_OPEN, TurnRecord
from chatserve.contracts.wire import (
    DeleteSession,
    FindTurn,
    ForgetTurn,
    Handling,
    RawRequest,
    ReadBranch,
    Step,
    StopTurn,
    Submit,
    Wait,
)
from chatserve.core.errors import NotFound, SessionBusy, SessionUnknown, TurnUnknown
from chatserve.formats.shared.appended import prefill_length
from chatserve.formats.shared.message_array import field_invalid
from chatserve.formats.shared.openai_endpoints import headers_of, reply
from chatserve.formats.shared.openai_errors import reply_to_failure
from chatserve.formats.wire.openai_responses.conversations import ConversationUnknown
from chatserve.formats.wire.openai_responses.documents import response_json
from chatserve.formats.wire.openai_responses.encode import ResponseEncoder
from chatserve.formats.wire.openai_responses.ids import response_id, turn_id
from chatserve.formats.wire.openai_responses.lists import items_of, page
from chatserve.formats.wire.openai_responses.requests import read_request


class ResponseUnknown(NotFound):
    """The response does not exist, has another owner, or was not stored."""

    code = "response_not_found"


def create_response(request: RawRequest) -> Handling:
    """Create a response. Reply with a stream, at once with `background`, or else when the answer is complete.

    Raises:
        RequestError: as `read_request`.
        ConversationUnknown: there is no such conversation.
    """
    try:
        asked = yield from read_request(request)
        started = yield from Submit(asked.call)
    except SessionUnknown as error:
        raise ConversationUnknown(f"Conversation not found: {error.detail}", param="conversation") from None
    if asked.is_streamed:
        return StreamReply(OfTurn(started.turn_id), ResponseEncoder(request.base_url), headers_of(request))
    record = yield from (FindTurn if asked.is_background else Wait)(started.turn_id)
    if record.turn.status == "failed" and not asked.is_background:
        return reply_to_failure(record.turn.error, request)
    return reply(response_json(record, request.base_url), request)


def retrieve_response(request: RawRequest) -> Handling:
    """Return the current state of a response, or with `stream=true` its stream, from the beginning or after an event.

    Raises:
        ResponseUnknown: there is no such response.
        InputsInvalid: `starting_after` is not a number.
    """
    record = yield from _find_response(request)
    if request.query.get("stream") == "true":
        prefill = prefill_length(record.turn)
        encoder = ResponseEncoder(request.base_url, _starting_after(request), prefill=prefill)
        return StreamReply(OfTurn(record.turn.turn_id), encoder, headers_of(request))
    return reply(response_json(record, request.base_url), request)


def cancel_response(request: RawRequest) -> Handling:
    """Stop a response. One that has ended stays as it is. Raises: ResponseUnknown."""
    try:
        record = yield from StopTurn(turn_id(request.path_params["response_id"]))
    except TurnUnknown:
        raise _unknown(request) from None
    return reply(response_json(record, request.base_url), request)


def delete_response(request: RawRequest) -> Handling:
    """Delete a response. With the last one of a chain, delete its session: it is not a conversation of the client.

    Raises:
        ResponseUnknown: there is no such response.
    """
    record = yield from _find_response(request)
    turn = record.turn
    if turn.status in TURN_OPEN:
        yield from StopTurn(turn.turn_id)
    left = yield from ForgetTurn(turn.turn_id)
    if not left and (turn.echo or {}).get("is_chain"):
        with contextlib.suppress(SessionBusy, SessionUnknown):  # another request uses it, or has deleted it
            yield from DeleteSession(turn.session_id)
    return reply({"id": response_id(turn.turn_id), "object": "response", "deleted": True}, request)


def list_input_items(request: RawRequest) -> Handling:
    """List the input items of a response. Raises: ResponseUnknown, InputsInvalid."""
    record = yield from _find_response(request)
    turn, message = record.turn, record.user_message
    if message is None:
        return reply(page((), request.query), request)
    branch = yield from ReadBranch(turn.session_id, message.message_id)
    count = (turn.echo or {}).get("input_count", 0) + 1
    return reply(page(items_of(branch[-count:], request.base_url), request.query), request)


def _find_response(request: RawRequest) -> Generator[Step, Any, TurnRecord]:
    try:
        record = yield from FindTurn(turn_id(request.path_params["response_id"]))
    except TurnUnknown:
        raise _unknown(request) from None
    if not record.turn.session_id:
        raise _unknown(request)
    return record


def _unknown(request: RawRequest) -> ResponseUnknown:
    return ResponseUnknown(f"Response with id {request.path_params['response_id']!r:.200} not found.")


def _starting_after(request: RawRequest) -> int | None:
    given = request.query.get("starting_after")
    if given is None or given == "":
        return None
    if not given.isdecimal() or len(given) > 18:
        raise field_invalid("starting_after", f"{given!r:.80} is not the number of an event")
    return int(given)
