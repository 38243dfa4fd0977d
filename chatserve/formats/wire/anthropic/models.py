"""The chats of a server as models of the API. Source: platform.claude.com, "Models"."""

from __future__ import annotations

from typing import Final

from chatserve.codec import encode_time
from chatserve.contracts.wire import ChatProfile, RawRequest
from chatserve.core.types import Json
from chatserve.formats.shared.message_array import field_invalid, read_limit

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 1000


def model_of(chat: ChatProfile, request: RawRequest, name: str) -> dict[str, Json]:
    """Return a chat as a model with this id. Its creation time is the start of the server."""
    return {
        "type": "model",
        "id": name,
        "display_name": chat.title,
        "created_at": encode_time(request.started_at),
        "lifecycle": "active",
        "line": None,
        "deprecated_at": None,
        "retires_at": None,
        "max_input_tokens": None,
        "max_tokens": None,
        "capabilities": None,
    }


def model_list(request: RawRequest) -> dict[str, Json]:
    """Return one page of the chats: `limit` of them, after `after_id` or before `before_id`. Raises: InputsInvalid."""
    names = list(request.chats)
    limit = read_limit(request.query, DEFAULT_LIMIT, MAX_LIMIT)
    after, before = request.query.get("after_id"), request.query.get("before_id")
    begin = 0 if after is None else _place(names, after, "after_id") + 1
    end = len(names) if before is None else _place(names, before, "before_id")
    page = names[max(begin, end - limit) : end] if before is not None else names[begin : begin + limit]
    return {
        "data": [model_of(request.chats[name], request, name) for name in page],
        "has_more": len(page) < end - begin,
        "first_id": page[0] if page else None,
        "last_id": page[-1] if page else None,
    }


def _place(names: list[str], name: str, field: str) -> int:
    if name not in names:
        raise field_invalid(field, f"there is no model {name!r:.200}")
    return names.index(name)
