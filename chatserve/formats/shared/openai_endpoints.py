"""What the endpoints for OpenAI's clients have in common: path prefixes, the choice of the chat, headers of replies.

Shared by the wire formats, which must not import one another. `openai_errors` makes the error replies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from chatserve.contracts.wire import ChatProfile, Endpoint, JsonReply, RawRequest
from chatserve.core.errors import ChatUnknown
from chatserve.core.types import Json
from chatserve.formats.shared.message_array import field_invalid
from chatserve.settings import Settings


def under_prefixes(endpoints: Sequence[Endpoint], settings: Settings) -> tuple[Endpoint, ...]:
    """Return endpoints under `/v1`, and under the setting `openai_prefix`."""
    own = settings.openai_prefix.strip("/")
    prefixes = dict.fromkeys(("/v1", f"/{own}" if own else "/v1"))
    return tuple(replace(each, path=prefix + each.path) for prefix in prefixes for each in endpoints)


def chat_of(named: Mapping[str, Json], request: RawRequest) -> ChatProfile:
    """Return the chat that `model` names, or the default chat if there is no `model`.

    Raises:
        InputsInvalid: the name is not text.
        ChatUnknown: there is no such chat.
    """
    name = named.get("model")
    if name is None:
        return request.default_chat
    if not isinstance(name, str):
        raise field_invalid("model", f"{name!r:.80} is no name of a model")
    chat = request.find_chat(name)
    if chat is None:
        raise ChatUnknown(f"the model {name!r:.200} does not exist; there are: {', '.join(request.chats)}")
    return chat


def model_of(named: Mapping[str, Json], chat: ChatProfile) -> str:
    """Return the model's name as the client asked for it: clients compare it with the one in the answer."""
    name = named.get("model")
    return name if isinstance(name, str) else chat.name


def reply(body: Json, request: RawRequest) -> JsonReply:
    """Return a document as a reply."""
    return JsonReply(body, headers=headers_of(request))


def headers_of(request: RawRequest) -> dict[str, str]:
    """Return the header that identifies a request to OpenAI's clients."""
    return {"x-request-id": request.request_id}
