"""Anthropic Messages: `POST /v1/messages`, its token count, and the list of chats as its models.

Source: platform.claude.com, "API reference"; the API versions 2023-06-01 and 2026-10-21 have the same shapes.
`formats/wire/README.md` records the decisions where the protocol leaves a choice. Knows no engine and no HTTP.
"""

from __future__ import annotations

from typing import Final

from chatserve.contracts.streams import OfTurn, StreamForm, StreamReply
from chatserve.contracts.wire import Endpoint, Handling, JsonReply, RawRequest, Submit, Wait
from chatserve.contracts.wire import Reply as Reply
from chatserve.core.errors import ChatserveError
from chatserve.formats.shared.message_array import keep_files, split_turn
from chatserve.formats.wire.anthropic.errors import refusal, turn_failure
from chatserve.formats.wire.anthropic.models import model_list, model_of
from chatserve.formats.wire.anthropic.replies import PING, Heading, MessageEncoder, message_document
from chatserve.formats.wire.anthropic.requests import asked_name, chat_of, read_messages, turn_call
from chatserve.formats.wire.anthropic.token_count import estimate_tokens
from chatserve.settings import Settings

VERSION_HEADER: Final = "anthropic-version"
"""Distinguishes requests of Anthropic's clients from those of OpenAI's, which have the same paths for models."""

FORM: Final = StreamForm(ping=PING)


class Anthropic:
    """The Messages API, as its client packages speak it."""

    name = "anthropic"
    client_header: str | None = VERSION_HEADER

    def __init__(self, _settings: Settings) -> None:
        self.endpoints: tuple[Endpoint, ...] = (
            Endpoint("POST", "/v1/messages", "create a message", create_message),
            Endpoint("POST", "/v1/messages/count_tokens", "estimate the tokens of a request", count_tokens),
            Endpoint("GET", "/v1/models", "list the chats as models", list_models, header=VERSION_HEADER),
            Endpoint("GET", "/v1/models/{model:path}", "describe a chat as a model", read_model, header=VERSION_HEADER),
        )

    def refuse(self, error: ChatserveError, request: RawRequest) -> JsonReply:
        """Return the reply to a request that cannot be answered."""
        return refusal(error, request.request_id)


def create_message(request: RawRequest) -> Handling:
    """Answer a conversation, as a stream if the request asks for one."""
    body = request.json_object()
    chat = chat_of(request, body)
    messages = yield from keep_files(read_messages(body), chat)
    started = yield from Submit(turn_call(request, body, chat, split_turn(messages)))
    heading = Heading(started.turn_id, asked_name(body, chat), request.request_id, request.base_url)
    if body.get("stream"):
        return StreamReply(OfTurn(started.turn_id), MessageEncoder(heading), _headers(request), FORM)
    record = yield from Wait(started.turn_id)
    if record.turn.error is not None:
        return turn_failure(record.turn.error, request.request_id)
    return JsonReply(message_document(record, heading), headers=_headers(request))


def count_tokens(request: RawRequest) -> Handling:
    """Estimate the tokens of a request, without a turn."""
    body = request.json_object()
    chat_of(request, body)
    read_messages(body)
    yield from ()  # no steps
    return JsonReply({"input_tokens": estimate_tokens(body)}, headers=_headers(request))


def list_models(request: RawRequest) -> Handling:
    """List the chats."""
    yield from ()
    return JsonReply(model_list(request), headers=_headers(request))


def read_model(request: RawRequest) -> Handling:
    """Describe one chat."""
    chat = chat_of(request, request.path_params)
    yield from ()
    return JsonReply(model_of(chat, request, asked_name(request.path_params, chat)), headers=_headers(request))


def _headers(request: RawRequest) -> dict[str, str]:
    return {"request-id": request.request_id}
