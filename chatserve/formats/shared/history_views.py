"""Stored messages in two more shapes for clients besides chatserve's own JSON: as pairs, and in OpenAI's shape.

Files are named by id and address, never by path, so that clients can send the result back as a history. Both shapes
leave out thoughts and reasoning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from chatserve.codec import part_json
from chatserve.contracts.formats import HistoryFormat, RenderOptions
from chatserve.core.types import FilePart, Json, Message
from chatserve.formats.shared.history_content import json_text

_BY_ID: Final = RenderOptions(multimodal=True, path_of=attrgetter("file_id"))
"""Renders files with their ids in place of their paths."""


def render_tuples(messages: Sequence[Message], tuples: HistoryFormat) -> list[Json]:
    """Return messages as `[user, assistant]` lists; a side is text, null or a file part."""
    files = {
        part.file_id: part_json(part) for message in messages for part in message.content if isinstance(part, FilePart)
    }
    return [[_side(side, files) for side in pair] for pair in tuples.render(messages, _BY_ID)]


def _side(side: Any, files: Mapping[str, Json]) -> Json:
    return files[side[0]] if isinstance(side, tuple) else side


def render_openai(messages: Sequence[Message], entries: HistoryFormat) -> list[Json]:
    """Return messages in the shape of OpenAI's Chat Completions. `entries` is the messages format.

    Source: OpenAI API reference, Chat Completions, `messages`.
    """
    spoken = [message for message in messages if not message.is_thought]
    return [_openai_entry(entry) for entry in entries.render(spoken, _BY_ID)]


def _openai_entry(entry: Mapping[str, Any]) -> dict[str, Json]:
    parts = [_OPENAI_PARTS[part["type"]](part) for part in entry["content"]]
    content: Json = parts
    if all(part["type"] == "text" for part in parts):
        content = "".join(part["text"] for part in parts)
    if not parts and "tool_calls" in entry:
        content = None
    kept = {name: entry[name] for name in ("name", "tool_calls", "tool_call_id") if name in entry}
    return {"role": entry["role"], "content": content, **kept}


def _file(part: Mapping[str, Any]) -> dict[str, Json]:
    file = part["file"]
    if file["mime_type"].startswith("image/"):
        return {"type": "image_url", "image_url": {"url": f"/files/{file['path']}"}}
    return {"type": "file", "file": {"file_id": file["path"], "filename": file["orig_name"]}}


def _text(value: Json) -> dict[str, Json]:
    return {"type": "text", "text": json_text(value)}


_OPENAI_PARTS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Json]]]] = {
    "text": dict,
    "file": _file,
    "data": lambda part: _text(part["data"]),
    "source": lambda part: _text(part["url"]),
}
