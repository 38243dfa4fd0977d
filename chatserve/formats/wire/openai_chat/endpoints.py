"""Endpoints of Chat Completions and Models, under `/v1` and under the prefix of the setting `openai_prefix`.

A model is a chat; its id is the chat's name. Source: OpenAI API reference, "Models" and "Chat Completions". Knows how
requests become turns and turns become replies; the modules beside it know what is in them.
"""

from __future__ import annotations

from typing import Final

from chatserve.contracts.streams import OfTurn, StreamReply
from chatserve.contracts.wire import ChatProfile, Endpoint, Handling, JsonReply, RawRequest, Submit, Wait
from chatserve.core.errors import ChatserveError
from chatserve.core.types import Json
from chatserve.formats.shared.openai_endpoints import chat_of, headers_of, model_of, reply, under_prefixes
from chatserve.formats.shared.openai_errors import reply_to_error, reply_to_failure
from chatserve.formats.wire.openai_chat.completions import Completion, CompletionEncoder, describe
from chatserve.formats.wire.openai_chat.requests import read_request
from chatserve.formats.wire.openai_chat.texts import create_text
from chatserve.settings import Settings


class OpenAIChat:
    """The format `openai_chat`."""

    name = "openai_chat"
    client_header: str | None = None

    def __init__(self, settings: Settings) -> None:
        self.endpoints = under_prefixes(_ENDPOINTS, settings)

    def refuse(self, error: ChatserveError, request: RawRequest) -> JsonReply:
        return reply_to_error(error, request)


# --- models ------------------------------------------------------------------------------------------------------


def list_models(request: RawRequest) -> Handling:
    """List the chats."""
    yield from ()
    models = [_model(chat, request, name) for name, chat in request.chats.items()]
    return reply({"object": "list", "data": models}, request)


def retrieve_model(request: RawRequest) -> Handling:
    """Describe one chat. Raises: ChatUnknown."""
    yield from ()
    chat = chat_of(request.path_params, request)
    return reply(_model(chat, request, model_of(request.path_params, chat)), request)


def _model(chat: ChatProfile, request: RawRequest, name: str) -> Json:
    """Return a chat as a model with this id. Front ends show its `name` in place of the id."""
    return {
        "id": name,
        "object": "model",
        "created": int(request.started_at),
        "owned_by": "chatserve",
        "name": chat.title,
    }


# --- completions -------------------------------------------------------------------------------------------------


def create_completion(request: RawRequest) -> Handling:
    """Answer a conversation. Raises: RequestError."""
    asked = yield from read_request(request)
    started = yield from Submit(asked.call)
    completion = Completion(started.turn_id, started.created_at, asked.model, request.base_url)
    if asked.is_streamed:
        encoder = CompletionEncoder(completion, includes_usage=asked.includes_usage)
        return StreamReply(OfTurn(started.turn_id), encoder, headers_of(request))
    record = yield from Wait(started.turn_id)
    if record.turn.status == "failed":
        return reply_to_failure(record.turn.error, request)
    return reply(describe(record, completion), request)


_ENDPOINTS: Final = (
    Endpoint("GET", "/models", "list the chats as models", list_models),
    Endpoint("GET", "/models/{model:path}", "describe a chat as a model", retrieve_model),
    Endpoint("POST", "/chat/completions", "answer a conversation, streamed or whole", create_completion),
    Endpoint("POST", "/completions", "answer one prompt, streamed or whole (legacy)", create_text),
)
