"""Answers as the values that Gradio's clients get: text, a message, a list of messages.

An answer of only text is a `str`, a single file is its dict, and a single piece of data is the data. A list stays a
list. Everything else is
a message `{"role", "content", "metadata", "options"}`, or a list of those. Thoughts, reasoning and tool calls are
messages with a title, as in a Gradio chat, and are always in a list, because more messages will follow. Knows no event
and no stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final
from urllib.parse import quote

from chatserve.codec import dumps
from chatserve.core.types import (
    DataPart,
    FilePart,
    Json,
    Message,
    Part,
    ReasoningPart,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

FILE_PATH: Final = "/gradio_api/file="
FILE_TYPE: Final = "gradio.FileData"

Entry = dict[str, Any]


def answer_value(messages: Sequence[Message], base_url: str, *, is_open: bool, is_list: bool = False) -> Json:
    """Return the value of an answer, None if it is empty.

    `is_open`: more of the answer may follow. `is_list`: the function yielded a list, which stays one.
    """
    entries = _Entries(messages, base_url, is_open=is_open).all()
    if is_list or len(entries) != 1 or "title" in entries[0]["metadata"]:
        return entries or None
    (entry,) = entries
    is_bare = entry["role"] == "assistant" and not entry["metadata"] and not entry["options"]
    return entry["content"] if is_bare and not _is_parts(messages) else entry


def _is_parts(messages: Sequence[Message]) -> bool:
    """Whether the only message has a list of parts, which is valid only inside a message."""
    content = messages[0].content
    return len(content) > 1 and not all(isinstance(part, TextPart) for part in content)


def file_id_of(path: str) -> str:
    """Return the id in the path of a file, which may end in its name."""
    file_id = path.partition("/")[0]
    return file_id if file_id.startswith("f_") else path


def file_value(file: FilePart, base_url: str) -> Entry:
    """Return a file in the form that clients upload and download.

    Its path is its id and its name: the Python client names a download by the last component.
    """
    return {
        "path": f"{file.file_id}/{file.name}",
        "url": f"{base_url}{FILE_PATH}{file.file_id}/{quote(file.name, safe='')}",
        "size": file.size,
        "orig_name": file.name,
        "mime_type": file.media_type,
        "is_stream": False,
        "meta": {"_type": FILE_TYPE},
    }


class _Entries:
    """The messages of one answer, split as Gradio shows them."""

    def __init__(self, messages: Sequence[Message], base_url: str, *, is_open: bool) -> None:
        self._messages = messages
        self._base_url = base_url
        self._is_open = is_open
        parts = [part for message in messages for part in message.content]
        self._answered = {part.tool_call_id for part in parts if isinstance(part, ToolResultPart)}
        self._last = parts[-1] if parts else None

    def all(self) -> list[Entry]:
        return [entry for message in self._messages for entry in self._of_message(message)]

    def _of_message(self, message: Message) -> Iterator[Entry]:
        for is_step, parts in groupby(message.content, lambda part: isinstance(part, _STEPS)):
            if is_step:
                yield from map(self._step, parts)
            else:
                yield _entry(message.role, self._content(list(parts)), message.metadata, message.options)

    def _step(self, part: Part) -> Entry:
        match part:
            case ReasoningPart(text):
                status = "pending" if self._is_open and part is self._last else "done"
                return _entry("assistant", text, {"title": "Reasoning", "status": status})
            case ToolCallPart(tool_call_id, name, arguments):
                is_done = tool_call_id in self._answered or not (self._is_open or part.where == "client")
                status = "done" if is_done else "pending"
                return _entry("assistant", arguments, {"title": name, "id": tool_call_id, "status": status})
            case ToolResultPart(tool_call_id, output):
                title = "Error" if part.is_error else "Result"
                metadata = {"title": title, "parent_id": tool_call_id, "status": "done"}
                return _entry("assistant", output if isinstance(output, str) else _as_text(output), metadata)
            case _:
                raise AssertionError(part)

    def _content(self, parts: list[Part]) -> Json:
        if all(isinstance(part, TextPart) for part in parts):
            return "".join(part.text for part in parts if isinstance(part, TextPart))
        typed = [self._typed_part(part) for part in parts]
        return typed if len(typed) > 1 else next(value for name, value in typed[0].items() if name != "type")

    def _typed_part(self, part: Part) -> Entry:
        match part:
            case FilePart():
                return {"type": "file", "file": file_value(part, self._base_url)}
            case DataPart(data, name):
                value = {"type": "data", "data": downloadless(data)}
                return value if name is None else value | {"name": name}
            case SourcePart(url, title):
                return {"type": "text", "text": f"[{title or url}]({url})"}
            case TextPart(text):
                return {"type": "text", "text": text}
            case _:
                raise AssertionError(part)


_STEPS: Final = (ReasoningPart, ToolCallPart, ToolResultPart)


def _entry(
    role: str,
    content: Json,
    metadata: Mapping[str, Json] | None = None,
    options: Sequence[Mapping[str, Json]] | None = None,
) -> Entry:
    named = {name: downloadless(value) for name, value in (metadata or {}).items()}
    if isinstance(named.get("path"), str):
        del named["path"]
    return {"role": role, "content": content, "metadata": named, "options": downloadless(list(options or ()))}


def downloadless(value: Json) -> Json:
    """Return a copy in which every dict with a textual `path` is replaced by its JSON text.

    The Python client treats any such dict as a file of the server, tries to download it, and fails if there is none.
    """
    if isinstance(value, Mapping):
        if isinstance(value.get("path"), str):
            return _as_text(value)
        return {name: downloadless(member) for name, member in value.items()}
    return [downloadless(item) for item in value] if isinstance(value, list) else value


def _as_text(value: Json) -> str:
    return dumps(value).decode()


def tail_path(value: Json) -> list[str | int] | None:
    """Return the path of the text to which further text is appended, or None if the value does not end in text."""
    if isinstance(value, str):
        return []
    if isinstance(value, list):
        path = tail_path(value[-1]) if value else None
        return None if path is None else [len(value) - 1, *path]
    if not isinstance(value, dict) or "content" not in value:
        return None
    content = value["content"]
    if isinstance(content, str):
        return ["content"]
    is_text = isinstance(content, list) and content and content[-1].get("type") == "text"
    return ["content", len(content) - 1, "text"] if is_text else None
