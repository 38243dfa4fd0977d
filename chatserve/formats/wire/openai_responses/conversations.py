"""Conversations: sessions under the protocol's name, with their messages as items.

Adding and removing items replaces the history: messages before the change stay as they are, messages after it are
copied with new ids. Knows nothing about responses.

Source: OpenAI API reference, "Conversations".
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, TypeVar

from chatserve.contracts.formats import ParsedMessage
from chatserve.contracts.wire import (
    ChangeSession,
    CreateSession,
    DeleteSession,
    FindSession,
    Handling,
    RawRequest,
    ReadBranch,
    ReplaceHistory,
    Step,
    Wanted,
)
from chatserve.core.errors import NotFound, SessionUnknown
from chatserve.core.types import Json, Message, Session
from chatserve.formats.shared.message_array import field_invalid, keep_files
from chatserve.formats.shared.openai_endpoints import reply
from chatserve.formats.wire.openai_responses.ids import conversation_id, message_id, session_key
from chatserve.formats.wire.openai_responses.input import read_input
from chatserve.formats.wire.openai_responses.lists import items_of, list_object, page, without_item

T = TypeVar("T")


class ConversationUnknown(NotFound):
    """The conversation does not exist or has another owner."""

    code = "conversation_not_found"


class ItemUnknown(NotFound):
    """The conversation has no such item."""

    code = "item_not_found"


def create_conversation(request: RawRequest) -> Handling:
    """Create a conversation, with the items and metadata of the request. Raises: InputsInvalid, FileUnknown."""
    body = request.json_object()
    history = yield from _read_items(body.get("items") or [], request)
    session = yield from CreateSession(metadata=_metadata(body) or {}, history=history)
    return reply(_conversation(session), request)


def retrieve_conversation(request: RawRequest) -> Handling:
    """Return a conversation. Raises: ConversationUnknown."""
    session = yield from _found(FindSession(_key(request)), request)
    return reply(_conversation(session), request)


def update_conversation(request: RawRequest) -> Handling:
    """Set a conversation's metadata. Raises: ConversationUnknown, InputsInvalid."""
    metadata = _metadata(request.json_object())
    step = FindSession(_key(request)) if metadata is None else ChangeSession(_key(request), metadata)
    session = yield from _found(step, request)
    return reply(_conversation(session), request)


def delete_conversation(request: RawRequest) -> Handling:
    """Delete a conversation with all its messages. Raises: ConversationUnknown, SessionBusy."""
    session = yield from _found(FindSession(_key(request)), request)
    yield from _found(DeleteSession(_key(request)), request)
    deleted = {"id": conversation_id(session.session_id), "object": "conversation.deleted", "deleted": True}
    return reply(deleted, request)


# --- items -------------------------------------------------------------------------------------------------------


def list_items(request: RawRequest) -> Handling:
    """List the items of a conversation. Raises: ConversationUnknown, InputsInvalid."""
    branch = yield from _found(ReadBranch(_key(request)), request)
    return reply(page(items_of(branch, request.base_url), request.query), request)


def create_items(request: RawRequest) -> Handling:
    """Add items at the end of a conversation. Raises: ConversationUnknown, SessionBusy, InputsInvalid, FileUnknown."""
    before = yield from _found(ReadBranch(_key(request)), request)
    added = yield from _read_items(request.json_object().get("items"), request)
    yield from ReplaceHistory(_key(request), (*before, *added))
    branch = yield from ReadBranch(_key(request))
    return reply(list_object(items_of(branch[len(before) :], request.base_url)), request)


def retrieve_item(request: RawRequest) -> Handling:
    """Return one item. Raises: ConversationUnknown, ItemUnknown."""
    branch = yield from _found(ReadBranch(_key(request)), request)
    return reply(_item_of(branch, request), request)


def delete_item(request: RawRequest) -> Handling:
    """Remove one item; its message keeps its other items. Raises: ConversationUnknown, ItemUnknown, SessionBusy."""
    branch = yield from _found(ReadBranch(_key(request)), request)
    item_id = _item_of(branch, request)["id"]
    place = next(place for place, message in enumerate(branch) if message.message_id == message_id(item_id))
    left = without_item(branch[place], item_id)
    history = (*branch[:place], *(() if left is None else (left,)), *branch[place + 1 :])
    session = yield from ReplaceHistory(_key(request), history)
    return reply(_conversation(session), request)


def _item_of(branch: tuple[Message, ...], request: RawRequest) -> dict[str, Any]:
    wanted = request.path_params["item_id"]
    for item in items_of(branch, request.base_url):
        if item["id"] == wanted:
            return item
    raise ItemUnknown(f"Item with id {wanted!r:.200} not found in conversation {_named(request)!r:.200}.")


def _read_items(items: Json, request: RawRequest) -> Generator[Step, Any, tuple[ParsedMessage, ...]]:
    if not isinstance(items, list):
        raise field_invalid("items", f"{items!r:.80} is not a list of items")
    messages = yield from read_input(items, "items")
    chat = next((chat for chat in request.chats.values() if chat.takes_files), request.default_chat)
    return (yield from keep_files(messages, chat))


# --- the conversation itself -------------------------------------------------------------------------------------


def _found(step: Wanted[T], request: RawRequest) -> Generator[Step, Any, T]:
    """Take a step for the named conversation. Raises: ConversationUnknown."""
    try:
        return (yield from step)
    except SessionUnknown:
        raise ConversationUnknown(f"Conversation with id {_named(request)!r:.200} not found.") from None


def _named(request: RawRequest) -> str:
    return request.path_params["conversation_id"]


def _key(request: RawRequest) -> str:
    return session_key(_named(request))


def _metadata(body: Mapping[str, Json]) -> Mapping[str, Json] | None:
    metadata = body.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise field_invalid("metadata", f"{metadata!r:.80} is not an object")
    return metadata


def _conversation(session: Session) -> dict[str, Json]:
    return {
        "id": conversation_id(session.session_id),
        "object": "conversation",
        "created_at": int(session.created_at),
        "metadata": dict(session.metadata),
    }
