"""Messages, content, files and data as developers write them, read into parts.

Shared by the output normalizers, which must not import one another. The values come from the chat function and are
trusted: file paths are allowed. `history_content` reads the content that clients send. No file is opened here.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

from chatserve.codec import is_record
from chatserve.contracts.formats import AnswerSnapshot, AnswerView, MessageAppended, Output, ParsedMessage, PartAppended
from chatserve.core.configuration import shown
from chatserve.core.errors import AnswerInvalid
from chatserve.core.types import (
    ROLES,
    ChatMessage,
    DataPart,
    DraftPart,
    FilePart,
    Json,
    LocalFile,
    ReasoningPart,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from chatserve.formats.shared.components import is_shown, read_shown
from chatserve.formats.shared.file_parts import is_file, is_file_tuple, named_file, read_file
from chatserve.formats.shared.model_answer import arguments_text, json_of, member

# --- answers -----------------------------------------------------------------------------------------------------


def messages_answer(
    messages: tuple[ParsedMessage, ...], view: AnswerView, *, is_list: bool = False
) -> tuple[Output, ...]:
    """Return the outputs that make these messages the answer, or in deltas mode append them to it."""
    if view.yields == "deltas":
        return tuple(map(MessageAppended, messages))
    return (AnswerSnapshot(messages, is_list),)


def parts_answer(parts: tuple[DraftPart, ...], view: AnswerView) -> tuple[Output, ...]:
    """Return the outputs that make a message with these parts the answer, or in deltas mode append them to it."""
    if view.yields == "deltas":
        return tuple(map(PartAppended, parts))
    return (AnswerSnapshot((ParsedMessage("assistant", parts),)),)


# --- messages ----------------------------------------------------------------------------------------------------


def is_message(value: object) -> bool:
    """Whether a value has the shape of a message: a dict with `content`, or an object with `role` and `content`."""
    if isinstance(value, dict):
        return "content" in value or ("role" in value and "tool_calls" in value)
    return isinstance(value, ChatMessage) or (
        hasattr(value, "role") and hasattr(value, "content") and not isinstance(value, type)
    )


def read_message(value: Any) -> ParsedMessage:
    """Copy a message, dict or object.

    Without `role` it is the assistant's. `tool_calls` and `tool_call_id` have OpenAI's shape.

    Raises:
        AnswerInvalid: role, content, metadata or options are invalid.
    """
    role = _role(member(value, "role"))
    content = read_content(member(value, "content"))
    if not content and isinstance(refusal := member(value, "refusal"), str):
        content = (TextPart(refusal),)
    if role == "tool" and isinstance(tool_call_id := member(value, "tool_call_id"), str):
        content = (ToolResultPart(tool_call_id, _output(content, member(value, "content"))),)
    return ParsedMessage(
        role,
        (*content, *map(_read_tool_call, member(value, "tool_calls") or ())),
        _metadata(member(value, "metadata")),
        _options(member(value, "options")),
    )


def _role(role: Any) -> str:
    if role is None:
        return "assistant"
    if isinstance(role, str) and role in ROLES:
        return str.__str__(role)
    raise AnswerInvalid(f"a message has the unknown role {shown(role)}; use one of {', '.join(sorted(ROLES))}")


def _output(content: tuple[DraftPart, ...], raw: Any) -> Json:
    if all(isinstance(part, TextPart) for part in content):
        return "".join(part.text for part in content if isinstance(part, TextPart))
    return json_of(raw)


def is_custom_call(value: object) -> bool:
    """Whether a value is a call of a custom tool, in the shape of Chat Completions or of Responses."""
    kind = member(value, "type")
    if kind == "custom":
        return member(value, "custom") is not None or member(value, "input") is not None
    return isinstance(kind, str) and kind == "custom_tool_call"


def read_custom_call(call: Any) -> ToolCallPart:
    """Read a call of a custom tool, whose input is any text. Raises: AnswerInvalid."""
    called = member(call, "custom") or call
    call_id, name, text = member(call, "call_id") or member(call, "id"), member(called, "name"), member(called, "input")
    if not (isinstance(call_id, str) and isinstance(name, str) and isinstance(text, str)):
        raise AnswerInvalid(
            "a call of a custom tool has no id, no name or no input that is text; "
            'use {"id": …, "type": "custom", "custom": {"name": …, "input": …}}'
        )
    return ToolCallPart(call_id, name, text, kind="custom")


def _read_tool_call(call: Any) -> ToolCallPart:
    if is_custom_call(call):
        return read_custom_call(call)
    function = member(call, "function")
    call_id, name = member(call, "id"), member(function, "name")
    if not isinstance(call_id, str) or not isinstance(name, str):
        raise AnswerInvalid(
            f"a tool call has no id or no function name: {shown(call)}; "
            'use {"id": …, "type": "function", "function": {"name": …, "arguments": …}}'
        )
    return ToolCallPart(call_id, name, arguments_text(member(function, "arguments")))


def _metadata(metadata: Any) -> Mapping[str, Json] | None:
    if not metadata:
        return None
    if not isinstance(metadata, Mapping):
        raise AnswerInvalid(f"the metadata of a message is {shown(metadata)}; make it a dict")
    return dict(json_of(metadata))


def _options(options: Any) -> tuple[Mapping[str, Json], ...] | None:
    if not options:
        return None
    if not isinstance(options, list | tuple):
        raise AnswerInvalid(f"the options of a message are {shown(options)}; make them a list of dicts")
    return tuple(map(_option, options))


def _option(option: Any) -> Mapping[str, Json]:
    """Copy one option. A label without a value is also the value, as in Gradio."""
    if not isinstance(option, Mapping) or not {"value", "label"} & option.keys():
        raise AnswerInvalid(f'an option of a message is {shown(option)}; make it a dict with "value"')
    copied: dict[str, Json] = json_of(option)
    return {"value": copied["label"]} | copied if "value" not in copied else copied


# --- content -----------------------------------------------------------------------------------------------------


def read_content(content: Any) -> tuple[DraftPart, ...]:
    """Copy the content of a message: text, a file, a part, data, or a list of those.

    A tuple is a file as in Gradio's older history: `(path,)` or `(path, alt_text)`.

    Raises:
        AnswerInvalid: it holds something that cannot be part of a message.
    """
    if content is None:
        return ()
    if not isinstance(content, list):
        return _read_item(content)
    return tuple(part for item in content if item is not None for part in _read_item(item))


def _read_item(item: Any) -> tuple[DraftPart, ...]:
    if isinstance(item, str):
        return (TextPart(plain_text(item)),)
    return read_shown(item) if is_shown(item) else (_read_other(item),)


def _read_other(item: Any) -> DraftPart:
    if is_file_tuple(item):
        return named_file(item[0])
    if isinstance(item, dict):
        return read_part(item)
    if callable(dump := getattr(item, "model_dump", None)) and isinstance(getattr(item, "type", None), str):
        return read_part(dump())
    return read_data(item)


def plain_text(text: str) -> str:
    """Return the text as an exact `str`: encoders do not accept subclasses."""
    return str.__str__(text)


def read_part(part: Mapping[str, Any]) -> DraftPart:
    """Copy a part dict in chatserve's, Gradio's or OpenAI's shape. A dict of an unknown type is data.

    Raises:
        AnswerInvalid: the type is known, but the rest does not match it.
    """
    kind = part.get("type")
    reader = _PART_READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        return read_data(part)
    try:
        return reader(part)
    except (KeyError, TypeError, ValueError) as error:
        raise AnswerInvalid(f"a content part of type {kind!r} is broken ({error!r}): {shown(part)}") from error


def _text(value: Any) -> str:
    if isinstance(value, str):
        return plain_text(value)
    raise TypeError(f"{shown(value)} is not text")


def _read_file_part(part: Mapping[str, Any]) -> DraftPart:
    """Read `{"file_id"}` (chatserve), `{"file": {"path"}}` (Gradio) or `{"file": {"file_data"}}` (OpenAI)."""
    file = part.get("file", part)
    if is_file(file):
        return read_file(file)
    if "file_id" in file:
        return FilePart(
            _text(file["file_id"]),
            _text(file.get("name") or file.get("filename") or ""),
            _text(file.get("media_type") or "application/octet-stream"),
            int(file.get("size") or 0),
        )
    return _linked(file["file_data"], file.get("filename")) if "file_data" in file else _read_embedded(file)


def _read_image_url(part: Mapping[str, Any]) -> DraftPart:
    image = part["image_url"]
    return _linked(image["url"] if isinstance(image, Mapping) else image, None)


def _read_input_audio(part: Mapping[str, Any]) -> DraftPart:
    audio = part["input_audio"]
    return LocalFile(base64.b64decode(audio["data"], validate=True), None, f"audio/{_text(audio['format'])}")


def _read_embedded(part: Mapping[str, Any]) -> DraftPart:
    """Read `{"base64"|"url", "mime_type"}` (LangChain) or `{"source": {"data", "media_type"}}` (Anthropic)."""
    source = part.get("source", part)
    if "url" in source:
        return _linked(source["url"], None)
    data = source["base64"] if "base64" in source else source["data"]
    return LocalFile(base64.b64decode(data, validate=True), None, source.get("mime_type") or source.get("media_type"))


def _linked(url: Any, name: str | None) -> DraftPart:
    head, comma, data = _text(url).partition(",")
    if not head.startswith("data:"):
        return SourcePart(head + comma + data, name)
    if not head.endswith(";base64"):
        raise ValueError("a data URL must be base64")
    return LocalFile(base64.b64decode(data, validate=True), name, head[5:-7] or None)


def _read_component(part: Mapping[str, Any]) -> DraftPart:
    value = part["value"]
    return read_file(value) if is_file(value) else DataPart(json_of(value), _text(part["component"]))


def _read_tool_call_part(part: Mapping[str, Any]) -> DraftPart:
    where = part.get("where", "client")
    if where not in {"server", "client"}:
        raise ValueError('"where" must be "server" or "client"')
    call_id, name, kind = _text(part["tool_call_id"]), _text(part["name"]), part.get("kind")
    if kind not in {"custom", None}:
        raise ValueError('"kind" must be "custom" or left out')
    return ToolCallPart(call_id, name, arguments_text(part["arguments"]), where, kind)


def _read_tool_result(part: Mapping[str, Any]) -> DraftPart:
    return ToolResultPart(_text(part["tool_call_id"]), json_of(part["output"]), bool(part.get("is_error")))


def _read_data_part(part: Mapping[str, Any]) -> DraftPart:
    name = part.get("name")
    return DataPart(json_of(part["data"]), None if name is None else _text(name))


def _read_source(part: Mapping[str, Any]) -> DraftPart:
    title = part.get("title")
    return SourcePart(_text(part["url"]), None if title is None else _text(title))


_PART_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], DraftPart]]] = {
    "text": lambda part: TextPart(_text(part["text"])),
    "input_text": lambda part: TextPart(_text(part["text"])),
    "output_text": lambda part: TextPart(_text(part["text"])),
    "refusal": lambda part: TextPart(_text(part["refusal"])),
    "reasoning": lambda part: ReasoningPart(_text(part["text"])),
    "thinking": lambda part: ReasoningPart(_text(part["thinking"])),
    "file": _read_file_part,
    "input_file": _read_file_part,
    "image_url": _read_image_url,
    "input_image": _read_image_url,
    "input_audio": _read_input_audio,
    "image": _read_embedded,
    "audio": _read_embedded,
    "video": _read_embedded,
    "component": _read_component,
    "data": _read_data_part,
    "source": _read_source,
    "tool_call": _read_tool_call_part,
    "tool_result": _read_tool_result,
}

# --- data ------------------------------------------------------------------------------------------------------


def read_data(value: Any) -> DataPart:
    """Copy a value as data. The name of a model or dataclass becomes the part's name.

    Raises:
        AnswerInvalid: the value has no JSON form, or holds one without.
    """
    return DataPart(json_of(value), type(value).__name__ if is_record(value) else None)


def read_text(text: str) -> ParsedMessage:
    """Return a message of the assistant with this text."""
    return ParsedMessage("assistant", (TextPart(plain_text(text)),))
