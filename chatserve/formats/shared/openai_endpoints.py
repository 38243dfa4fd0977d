"""What the endpoints for OpenAI's clients have in common: where they stand, which chat is meant, how they reply.

Shared by the wire formats, which must not import one another. What went wrong is said by `openai_errors`.
"""

from __future__ import annotations

from collections.abc import Mapping

from chatserve.contracts.wire import ChatProfile, JsonReply, RawRequest
from chatserve.core.errors import ChatUnknown
from chatserve.core.types import Json
from chatserve.formats.shared.message_array import field_invalid
from chatserve.settings import Settings


def prefixes_of(settings: Settings) -> tuple[str, ...]:
    """Return what the paths begin with: `/v1`, and the prefix of one's choice."""
    own = settings.openai_prefix.strip("/")
    return tuple(dict.fromkeys(("/v1", *([f"/{own}"] if own else ()))))


def chat_of(named: Mapping[str, Json], request: RawRequest) -> ChatProfile:
    """Return the chat that a `model` names, the default one where none does.

    Raises:
        InputsInvalid: it is no text.
        ChatUnknown: there is no such chat.
    """
    name = named.get("model")
    if name is None:
        return request.default_chat
    if not isinstance(name, str):
        raise field_invalid("model", f"{name!r:.80} is no name of a model")
    if name not in request.chats:
        raise ChatUnknown(f"the model {name!r:.200} does not exist; there are: {', '.join(request.chats)}")
    return request.chats[name]


def reply(body: Json, request: RawRequest) -> JsonReply:
    """Return a document as a reply."""
    return JsonReply(body, headers=headers_of(request))


def headers_of(request: RawRequest) -> dict[str, str]:
    """Return the header by which OpenAI's clients tell a request."""
    return {"x-request-id": request.request_id}
