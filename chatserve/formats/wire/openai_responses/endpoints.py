"""Endpoints of Responses and Conversations, under `/v1` and under the prefix of the setting `openai_prefix`.

Source: OpenAI API reference, "Responses" and "Conversations". Knows only which handler serves which path.
"""

from __future__ import annotations

from typing import Final

from chatserve.contracts.wire import Endpoint, JsonReply, RawRequest
from chatserve.core.errors import ChatserveError
from chatserve.formats.shared.openai_endpoints import under_prefixes
from chatserve.formats.shared.openai_errors import reply_to_error
from chatserve.formats.wire.openai_responses import conversations, responses
from chatserve.settings import Settings

_RESPONSE: Final = "/responses/{response_id}"
_CONVERSATION: Final = "/conversations/{conversation_id}"
_ITEM: Final = f"{_CONVERSATION}/items/{{item_id}}"

_ENDPOINTS: Final = (
    Endpoint("POST", "/responses", "create a response, streamed or not", responses.create_response),
    Endpoint("GET", _RESPONSE, "get a response, or its stream after any event", responses.retrieve_response),
    Endpoint("DELETE", _RESPONSE, "delete a response", responses.delete_response),
    Endpoint("POST", f"{_RESPONSE}/cancel", "stop a response", responses.cancel_response),
    Endpoint("GET", f"{_RESPONSE}/input_items", "list a response's input items", responses.list_input_items),
    Endpoint("POST", "/conversations", "create a conversation", conversations.create_conversation),
    Endpoint("GET", _CONVERSATION, "get a conversation", conversations.retrieve_conversation),
    Endpoint("POST", _CONVERSATION, "set a conversation's metadata", conversations.update_conversation),
    Endpoint("DELETE", _CONVERSATION, "delete a conversation", conversations.delete_conversation),
    Endpoint("GET", f"{_CONVERSATION}/items", "list the items of a conversation", conversations.list_items),
    Endpoint("POST", f"{_CONVERSATION}/items", "add items to a conversation", conversations.create_items),
    Endpoint("GET", _ITEM, "get an item of a conversation", conversations.retrieve_item),
    Endpoint("DELETE", _ITEM, "remove an item from a conversation", conversations.delete_item),
)


class OpenAIResponses:
    """The format `openai_responses`."""

    name = "openai_responses"
    client_header: str | None = None

    def __init__(self, settings: Settings) -> None:
        self.endpoints = under_prefixes(_ENDPOINTS, settings)

    def refuse(self, error: ChatserveError, request: RawRequest) -> JsonReply:
        return reply_to_error(error, request)
