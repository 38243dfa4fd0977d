"""Stored messages as items, and lists of them, for conversations and `input_items`.

A message becomes the same items, with the same ids, as in the stream of its response. Knows only the page fields of
requests.

Source: OpenAI API reference, "List items", "List input items".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from chatserve.core.events import Snapshot
from chatserve.core.types import FilePart, Json, Message, Part, TextPart, ToolCallPart, ToolResultPart
from chatserve.formats.shared.appended import AppendedAnswer
from chatserve.formats.shared.history_content import json_text
from chatserve.formats.shared.message_array import field_invalid, read_limit
from chatserve.formats.wire.openai_responses.ids import ItemIds
from chatserve.formats.wire.openai_responses.output import FUNCTION, Item, OutputItems, answer_items, call_kind

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
NO_CALLS: Final[Mapping[str, ToolCallPart]] = {}


def items_of(messages: Sequence[Message], base_url: str) -> list[Item]:
    """Return the items of messages, in order."""
    items: list[Item] = []
    answer: list[Message] = []
    calls: dict[str, ToolCallPart] = {}  # those that ran in the client
    for message in messages:
        if message.role == "assistant" or (message.role == "tool" and answer and not _has_result(message, calls)):
            answer.append(message)
            parts = [part for part in message.content if isinstance(part, ToolCallPart)]
            calls |= {part.tool_call_id: part for part in parts if part.where == "client"}
            continue
        items += [*_answer_items(answer, base_url), *_said_items(message, base_url, calls)]
        answer = []
    return [*items, *_answer_items(answer, base_url)]


def without_item(message: Message, item_id: str) -> Message | None:
    """Return a message without the content of one of its items, or None if nothing is left."""
    if message.role == "assistant":
        owners = list(_owners(message))
    else:  # a message of the user is one item, and leaves nothing
        owners = [item["id"] for item in _said_items(message, "")]
    kept = tuple(part for part, owner in zip(message.content, owners, strict=False) if owner != item_id)
    is_all = len(kept) == len(message.content)  # data shown in place of text belongs to no part's item
    return replace(message, content=kept) if kept and not is_all else None


def page(items: Sequence[Item], query: Mapping[str, str]) -> dict[str, Json]:
    """Return the requested page of a list: newest first, unless `order` is `asc`.

    Raises:
        InputsInvalid: `order`, `limit` or `after` is invalid.
    """
    order, after = query.get("order", "desc"), query.get("after")
    if order not in {"asc", "desc"}:
        raise field_invalid("order", f"{order!r:.80} is neither asc nor desc")
    limit = read_limit(query, DEFAULT_LIMIT, MAX_LIMIT)
    ordered = list(items) if order == "asc" else list(reversed(items))
    ids = [item["id"] for item in ordered]
    if after is not None and after not in ids:
        raise field_invalid("after", f"there is no item {after!r:.200}")
    rest = ordered if after is None else ordered[ids.index(after) + 1 :]
    return list_object(rest[:limit], has_more=len(rest) > limit)


def list_object(items: Sequence[Item], *, has_more: bool = False) -> dict[str, Json]:
    """Return a list of items."""
    return {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else "",
        "last_id": items[-1]["id"] if items else "",
        "has_more": has_more,
    }


# --- what the assistant said -------------------------------------------------------------------------------------


def _answer_items(messages: Sequence[Message], base_url: str) -> list[Item]:
    if not messages:
        return []
    return answer_items(messages, base_url, "completed" if messages[-1].status is None else "incomplete")


def _owners(message: Message) -> Iterator[str]:
    """Yield the id of the item that holds each part of an answer's message: the one that grew last."""
    items, answer, owner = OutputItems(), AppendedAnswer(), ""
    for count in range(1, len(message.content) + 1):
        for said in answer.take(Snapshot(None, (replace(message, content=message.content[:count]),))):
            for event in items.take(said):
                owner = event["item_id"] if "item_id" in event else event["item"]["id"]
        yield owner


def _has_result(message: Message, calls: Collection[str]) -> bool:
    return any(isinstance(part, ToolResultPart) and part.tool_call_id in calls for part in message.content)


# --- what others said --------------------------------------------------------------------------------------------


def _said_items(message: Message, base_url: str, calls: Mapping[str, ToolCallPart] = NO_CALLS) -> list[Item]:
    ids = ItemIds()
    if message.role == "tool":
        results = [part for part in message.content if isinstance(part, ToolResultPart)]
        return [_result_item(part, ids.next("fco_", message.message_id), calls) for part in results]
    content = [shown for part in message.content if (shown := _input_part(part, base_url)) is not None]
    item_id = ids.next("msg_", message.message_id)
    return [{"id": item_id, "type": "message", "role": message.role, "status": "completed", "content": content}]


def _result_item(result: ToolResultPart, item_id: str, calls: Mapping[str, ToolCallPart]) -> Item:
    call = calls.get(result.tool_call_id)
    kind = FUNCTION if call is None else call_kind(call)
    return {
        "id": item_id,
        "type": f"{kind.type}_output",
        "status": "completed",
        "call_id": result.tool_call_id,
        "output": json_text(result.output),
    }


def _input_part(part: Part, base_url: str) -> Item | None:
    match part:
        case TextPart(text):
            return {"type": "input_text", "text": text}
        case FilePart() if part.media_type.startswith("image/"):
            url = f"{base_url}{part.url}"
            return {"type": "input_image", "detail": "auto", "file_id": part.file_id, "image_url": url}
        case FilePart():
            return {"type": "input_file", "file_id": part.file_id, "filename": part.name}
        case _:
            return None
