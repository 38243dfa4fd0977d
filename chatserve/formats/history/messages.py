"""History as messages: `{"role", "content"[, "metadata"][, "options"]}`, the shape of OpenAI and of Gradio since 5.

`content` is always text, or, for multimodal chats, always a list of parts in Gradio 6's shape. Reasoning is left out.
Tool calls appear in OpenAI's shape, so that a function can continue after tools ran in the client: the assistant's
entry has `tool_calls`, and each result is an entry of role `tool` with `tool_call_id` and the output as text. A message
with both becomes several entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from chatserve import codec
from chatserve.contracts.formats import ParsedMessage, RenderOptions
from chatserve.core.types import (
    DataPart,
    FilePart,
    Json,
    Message,
    Part,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from chatserve.formats.shared.history_content import (
    fresh,
    json_text,
    split_name,
    text_of,
)
from chatserve.formats.shared.history_entries import parse_entries


class MessagesHistory:
    """Renders and parses the messages shape."""

    def render(self, messages: Sequence[Message], options: RenderOptions) -> list[Any]:
        multimodal = options.multimodal
        entries: list[Any] = []
        for message in messages:
            content = message.content
            if len(content) == 1 and type(content[0]) is TextPart and not (message.metadata or message.options):
                text = content[0].text
                entries.append({"role": message.role, "content": [_text(text)] if multimodal else text})
            else:
                entries.extend(_render_message(message, options))
        return entries

    def parse(self, history: Json) -> tuple[ParsedMessage, ...]:
        return parse_entries(history)

    def copy(self, entries: list[Any]) -> list[Any]:
        return [
            entry.copy() if len(entry) == 2 and type(entry["content"]) is str else _copy_entry(entry)
            for entry in entries
        ]


def _copy_entry(entry: dict[str, Any]) -> dict[str, Any]:
    parts = entry["content"]
    if len(entry) > 2 or type(parts) is str:
        return {key: fresh(value) for key, value in entry.items()}
    copied = [part.copy() if part["type"] == "text" else fresh(part) for part in parts]
    return {"role": entry["role"], "content": copied}


def _render_message(message: Message, options: RenderOptions) -> list[dict[str, Any]]:
    entries = list(_split(message, options))
    metadata, name = split_name(message)
    if name is not None:
        entries[0]["name"] = name
    if metadata:
        entries[0]["metadata"] = fresh(metadata)
    if message.options:
        entries[0]["options"] = fresh(message.options)
    return entries


def _split(message: Message, options: RenderOptions) -> Iterator[dict[str, Any]]:
    """Yield the entries of a message: one for each tool result, and one for the parts before, between and after."""
    for is_result, parts in groupby(message.content, key=lambda part: isinstance(part, ToolResultPart)):
        if is_result:
            yield from (_result_entry(part, options) for part in parts if isinstance(part, ToolResultPart))
        else:
            yield _entry(message.role, tuple(parts), options)
    if not message.content:
        yield _entry(message.role, (), options)


def _result_entry(result: ToolResultPart, options: RenderOptions) -> dict[str, Any]:
    text = json_text(result.output)
    content = [_text(text)] if options.multimodal else text
    return {"role": "tool", "content": content, "tool_call_id": result.tool_call_id}


def _entry(role: str, parts: Sequence[Part], options: RenderOptions) -> dict[str, Any]:
    content = [_render_part(part, options) for part in parts] if options.multimodal else text_of(parts)
    entry = {"role": role, "content": content if isinstance(content, str) else list(filter(None, content))}
    calls = [_tool_call(part) for part in parts if isinstance(part, ToolCallPart)]
    return entry | ({"tool_calls": calls} if calls else {})


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _render_part(part: Part, options: RenderOptions) -> dict[str, Any] | None:
    match part:
        case TextPart():
            return _text(part.text)
        case FilePart():
            file = {
                "path": options.path_of(part),
                "orig_name": part.name,
                "mime_type": part.media_type,
                "size": part.size,
            }
            return {"type": "file", "file": file}
        case DataPart() | SourcePart():
            return {key: fresh(value) for key, value in codec.part_json(part).items()}
        case _:
            return None


def _tool_call(call: ToolCallPart) -> dict[str, Any]:
    """Source: OpenAI Chat Completions, assistant message, `tool_calls`."""
    if call.kind == "custom":
        called = {"name": call.name, "input": call.arguments}
        return {"id": call.tool_call_id, "type": "custom", "custom": called}
    return {
        "id": call.tool_call_id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
