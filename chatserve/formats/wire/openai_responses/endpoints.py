"""Endpoints of Responses and Conversations, under `/v1` and under the prefix of the setting `openai_prefix`.

Source: OpenAI API reference, "Responses" and "Conversations". Knows only which handler serves which path.
"""

from __future__ import annotations

from chatserve.contracts.wire import Endpoint, RawRequest, Reply
from chatserve.core.errors import ChatserveError
from chatserve.formats.shared.openai_endpoints import prefixes_of
from chatserve.formats.shared.openai_errors import reply_to_error
from chatserve.formats.wire.openai_responses import conversations, responses
from chatserve.settings import Settings


class OpenAIResponses:
    """The format `openai_responses`."""

    name = "openai_responses"

    def __init__(self, settings: Settings) -> None:
        self.endpoints = tuple(endpoint for prefix in prefixes_of(settings) for endpoint in _endpoints(prefix))

    def refuse(self, error: ChatserveError, request: RawRequest) -> Reply:
        return reply_to_error(error, request)


def _endpoints(prefix: str) -> tuple[Endpoint, ...]:
    response = f"{prefix}/responses/{{response_id}}"
    conversation = f"{prefix}/conversations/{{conversation_id}}"
    item = f"{conversation}/items/{{item_id}}"
    return (
        Endpoint("POST", f"{prefix}/responses", "create a response, streamed or not", responses.create_response),
        Endpoint("GET", response, "get a response, or its stream after any event", responses.retrieve_response),
        Endpoint("DELETE", response, "delete a response", responses.delete_response),
        Endpoint("POST", f"{response}/cancel", "stop a response", responses.cancel_response),
        Endpoint("GET", f"{response}/input_items", "list a response's input items", responses.list_input_items),
        Endpoint("POST", f"{prefix}/conversations", "create a conversation", conversations.create_conversation),
        Endpoint("GET", conversation, "get a conversation", conversations.retrieve_conversation),
        Endpoint("POST", conversation, "set a conversation's metadata", conversations.update_conversation),
        Endpoint("DELETE", conversation, "delete a conversation", conversations.delete_conversation),
        Endpoint("GET", f"{conversation}/items", "list the items of a conversation", conversations.list_items),
        Endpoint("POST", f"{conversation}/items", "add items to a conversation", conversations.create_items),
        Endpoint("GET", item, "get an item of a conversation", conversations.retrieve_item),
        Endpoint("DELETE", item, "remove an item from a conversation", conversations.delete_item),
    )
