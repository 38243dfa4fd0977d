"""Requests of the Messages API, read: the conversation, the tools, and everything else that a turn needs.

The conversation comes from the client and is untrusted. Blocks that clients only echo (thinking, tools that a server
ran) are left out. A block with content that cannot be read is refused instead of ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from chatserve.codec import clean_text, dumps
from chatserve.contracts.formats import ParsedMessage
from chatserve.contracts.turns import TurnCall
from chatserve.contracts.wire import ChatProfile, RawRequest
from chatserve.core.errors import ChatUnknown
from chatserve.core.types import DataPart, DraftPart, Json, LocalFile, TextPart, ToolCallPart, ToolResultPart
from chatserve.formats.shared.message_array import (
    BETWEEN_TEXTS,
    ArrayTurn,
    asking_place,
    field_invalid,
    read_base64,
    read_link,
    read_tools,
    split_fields,
    words_first,
)

_STRUCTURE: Final = frozenset({"model", "messages", "system", "stream", "tools"})
"""Fields that the protocol itself uses. Every other field is an input of the chat function or one of its `params`."""

_ROLES: Final = frozenset({"user", "assistant", "system"})


def chat_of(request: RawRequest, named: Mapping[str, Json]) -> ChatProfile:
    """Return the chat that `model` names, or the default chat if there is no `model`. Raises: ChatUnknown."""
    model = named.get("model")
    if model is None:
        return request.default_chat
    chat = request.find_chat(model) if isinstance(model, str) else None
    if chat is None:
        raise ChatUnknown(f"model: there is no chat {model!r:.200}; GET /v1/models lists them")
    return chat


def asked_name(named: Mapping[str, Json], chat: ChatProfile) -> str:
    """Return the model's name as the client asked for it."""
    name = named.get("model")
    return name if isinstance(name, str) else chat.name


def turn_call(request: RawRequest, body: Mapping[str, Json], chat: ChatProfile, turn: ArrayTurn) -> TurnCall:
    """Return the turn that a request asks for. With a session key, its conversation replaces the stored one."""
    key = _session_key(request, body)
    said = {name: value for name, value in body.items() if value is not None or name not in chat.input_names}
    inputs, params = split_fields(said, _STRUCTURE, chat)
    tools, other_tools = _tools_of(body)
    return turn.call(
        chat,
        params | ({"tools": other_tools} if other_tools else {}),
        history=turn.history,
        session_key=key,
        is_kept=key is not None,
        inputs=inputs,
        tools=tools,
        on_disconnect="stop",
    )


def _session_key(request: RawRequest, body: Mapping[str, Json]) -> str | None:
    """Return the session key of the header or the metadata. `metadata.user_id` names a person, not a conversation."""
    metadata = body.get("metadata")
    key = request.headers.get("x-session-id") or (metadata.get("session_id") if isinstance(metadata, dict) else None)
    return key if isinstance(key, str) and key else None


def _tools_of(body: Mapping[str, Json]) -> tuple[tuple[Json, ...], list[Json]]:
    """Return the tools with a schema as functions, and the others: those that the API runs or knows by their type."""
    tools = read_tools(body)
    functions = [_function(tool) for tool in tools if "input_schema" in tool]
    return tuple(functions), [tool for tool in tools if "input_schema" not in tool]


def _function(tool: Mapping[str, Json]) -> Json:
    kept = {"name": tool.get("name"), "description": tool.get("description", ""), "parameters": tool["input_schema"]}
    return {"type": "function", "function": kept | ({"strict": tool["strict"]} if "strict" in tool else {})}


# --- messages ----------------------------------------------------------------------------------------------------


def read_messages(body: Mapping[str, Json]) -> tuple[ParsedMessage, ...]:
    """Read the conversation, with the instructions of `system` first. Raises: InputsInvalid."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise field_invalid("messages", "send a list of at least one message")
    asked = asking_place([each.get("role") if isinstance(each, dict) else None for each in messages])
    read = [
        each
        for number, message in enumerate(messages)
        for each in _read_message(message, f"messages.{number}", is_asked=number == asked)
    ]
    instructions = _texts(body.get("system"), "system")
    return (ParsedMessage("system", instructions), *read) if instructions else tuple(read)


def _read_message(message: Json, where: str, *, is_asked: bool) -> Iterator[ParsedMessage]:
    """Read one message. Tool results become a message of their own, before the rest of the message.

    `is_asked`: it is the message to answer, whose blocks must all be readable.
    """
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise field_invalid(where, f"send an object whose role is one of {', '.join(sorted(_ROLES))}")
    role, content = message["role"], message.get("content")
    if role == "system":
        yield ParsedMessage(role, _texts(content, f"{where}.content"))
        return
    blocks = _blocks(content, f"{where}.content")
    parts = [part for place, block in blocks for part in _read_block(block, place, is_asked=is_asked)]
    if role == "assistant":
        if parts:
            yield ParsedMessage(role, tuple(parts))
        return
    results = tuple(part for part in parts if isinstance(part, ToolResultPart))
    others = [part for part in parts if not isinstance(part, ToolResultPart)]
    if results:
        yield ParsedMessage("tool", results)
    if others or not results:
        yield ParsedMessage(role, words_first(others))


def _blocks(content: Json, where: str) -> Iterator[tuple[str, dict[str, Json]]]:
    """Yield the blocks of a content, each with its place. A text counts as one block."""
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise field_invalid(where, "send text or a list of content blocks")
    for number, block in enumerate(content):
        if not isinstance(block, dict):
            raise field_invalid(f"{where}.{number}", f"{block!r:.80} is not a content block")
        yield f"{where}.{number}", block


def _texts(content: Json, where: str) -> tuple[TextPart, ...]:
    """Read content that may only hold text. An empty line separates its blocks."""
    if content is None:
        return ()
    text = "\n\n".join(_text(block.get("text"), place) for place, block in _blocks(content, where))
    return (TextPart(text),) if text else ()


def _text(value: Json, where: str) -> str:
    if not isinstance(value, str):
        raise field_invalid(where, f"{value!r:.80} is not text")
    return clean_text(value)


def _read_block(block: Mapping[str, Json], where: str, *, is_asked: bool) -> Sequence[DraftPart]:
    match block.get("type"):
        case "text":
            text = _text(block.get("text"), where)
            return (TextPart(text),) if text else ()
        case "tool_use":
            return (_read_call(block, where),)
        case "tool_result":
            return (_read_result(block, where),)
        case "image" | "document":
            return _read_file(block, where, is_asked=is_asked)
        case "search_result":
            return (TextPart(_search_result(block, where)),)
        case "thinking" | "redacted_thinking":
            return ()  # clients echo these from earlier answers
        case str(kind) if kind.endswith(("_tool_use", "_tool_result")):
            return (_read_server_tool(block, kind),)
        case str(kind) if not is_asked:
            return (DataPart(dict(block), kind),)
        case kind:
            raise field_invalid(where, f"content blocks of type {kind!r:.80} cannot be read here")


def _read_call(block: Mapping[str, Json], where: str) -> ToolCallPart:
    arguments = dumps(block.get("input") or {}).decode()
    return ToolCallPart(_text(block.get("id"), f"{where}.id"), _text(block.get("name"), f"{where}.name"), arguments)


def _read_server_tool(block: Mapping[str, Json], kind: str) -> DraftPart:
    """Read the call of a tool that the provider ran, or its result; what cannot be read is data."""
    is_call = kind.endswith("_tool_use")
    if not isinstance(block.get("id" if is_call else "tool_use_id"), str):
        return DataPart(dict(block), kind)
    if not is_call:
        return ToolResultPart(block["tool_use_id"], block.get("content"), bool(block.get("is_error")))
    name = block.get("name")
    arguments = dumps(block.get("input") or {}).decode()
    return ToolCallPart(block["id"], name if isinstance(name, str) else kind, arguments, where="server")


def _read_result(block: Mapping[str, Json], where: str) -> ToolResultPart:
    """Read the result of a tool: as text if it has only text, else as its blocks."""
    content = block.get("content")
    blocks = [] if content is None else list(_blocks(content, f"{where}.content"))
    output: Json = content
    if all(each.get("type") == "text" for _, each in blocks):
        output = BETWEEN_TEXTS.join(_text(each.get("text"), place) for place, each in blocks)
    return ToolResultPart(_text(block.get("tool_use_id"), f"{where}.tool_use_id"), output, bool(block.get("is_error")))


def _search_result(block: Mapping[str, Json], where: str) -> str:
    found = _texts(block.get("content"), f"{where}.content")
    head = [_text(block.get(field) or "", f"{where}.{field}") for field in ("title", "source")]
    return "\n".join(filter(None, [*head, *(part.text for part in found)]))


def _read_file(block: Mapping[str, Json], where: str, *, is_asked: bool) -> Sequence[DraftPart]:
    """Read an image or document. An address is a link in the history and refused in the message to answer.

    Raises:
        InputsInvalid: it cannot be read.
    """
    source = block.get("source")
    if not isinstance(source, dict):
        raise field_invalid(f"{where}.source", "send an object")
    title = block.get("title")
    name = title if isinstance(title, str) and title else None
    match source.get("type"):
        case "base64":
            media_type = _text(source.get("media_type"), f"{where}.source.media_type")
            return (read_base64(source.get("data"), media_type, f"{where}.source.data", name),)
        case "url":
            return (read_link(source.get("url"), f"{where}.source.url", name, is_asked=is_asked),)
        case "text":
            return (_text_file(_text(source.get("data"), f"{where}.source.data"), name),)
        case "content":
            parts = _texts(source.get("content"), f"{where}.source.content")
            return (_text_file("".join(part.text for part in parts), name),)
        case kind if is_asked:
            raise field_invalid(f"{where}.source", f"the type {kind!r:.80} cannot be read here; send base64")
        case _:
            return ()


def _text_file(text: str, name: str | None) -> LocalFile:
    return LocalFile(text.encode(), name or "document.txt", "text/plain")
