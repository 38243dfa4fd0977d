"""Endpoints of Chat Completions and Models, below `/v1` and below the prefix of one's choice.

A model is a chat, its id the chat's name. Source: OpenAI API reference, "Models" and "Chat Completions". Knows how
requests become turns and turns replies; what stands in either is the business of the modules beside it.
"""

from __future__ import annotations

from chatserve.errors import ChatserveError, ChatUnknown
from chatserve.formats.openai_errors import reply_to_error, reply_to_failure
from chatserve.formats.wire.openai_chat.completions import Completion, CompletionEncoder, describe
from chatserve.formats.wire.openai_chat.requests import read_request
from chatserve.settings import Settings
from chatserve.types import Json
from chatserve.wire import ChatProfile, Endpoint, Handling, JsonReply, RawRequest, Reply, Submit, TurnStream, Wait


class OpenAIChat:
    """The format `openai_chat`."""

    name = "openai_chat"

    def __init__(self, settings: Settings) -> None:
        own = settings.openai_prefix.strip("/")
        prefixes = dict.fromkeys(("/v1", *([f"/{own}"] if own else ())))
        self.endpoints = tuple(endpoint for prefix in prefixes for endpoint in _endpoints(prefix))

    def refuse(self, error: ChatserveError, request: RawRequest) -> Reply:
        return reply_to_error(error, request)


def _endpoints(prefix: str) -> tuple[Endpoint, ...]:
    return (
        Endpoint("GET", f"{prefix}/models", "list the chats as models", list_models),
        Endpoint("GET", f"{prefix}/models/{{model}}", "describe a chat as a model", retrieve_model),
        Endpoint("POST", f"{prefix}/chat/completions", "answer a conversation, streamed or whole", create_completion),
    )


def _request_id(request: RawRequest) -> dict[str, str]:
    return {"x-request-id": request.request_id}


# --- models ------------------------------------------------------------------------------------------------------


def list_models(request: RawRequest) -> Handling:
    """List the chats."""
    yield from ()
    models = [_model(chat, request) for chat in request.chats.values()]
    return JsonReply({"object": "list", "data": models}, headers=_request_id(request))


def retrieve_model(request: RawRequest) -> Handling:
    """Describe one chat. Raises: ChatUnknown."""
    yield from ()
    name = request.path_params["model"]
    if name not in request.chats:
        raise ChatUnknown(f"the model {name!r} does not exist; there are: {', '.join(request.chats)}")
    return JsonReply(_model(request.chats[name], request), headers=_request_id(request))


def _model(chat: ChatProfile, request: RawRequest) -> Json:
    """Return a chat as a model; `name` is what front ends show in place of the id."""
    return {
        "id": chat.name,
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
    completion = Completion(started.turn_id, started.created_at, asked.call.chat, request.base_url)
    if asked.is_streamed:
        encoder = CompletionEncoder(completion, includes_usage=asked.includes_usage)
        return TurnStream(started.turn_id, encoder, _request_id(request))
    record = yield from Wait(started.turn_id)
    if record.turn.status == "failed":
        return reply_to_failure(record.turn.error, request)
    return JsonReply(describe(record, completion), headers=_request_id(request))
