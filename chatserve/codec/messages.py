"""Messages and their parts in JSON (contract section 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, assert_never, cast

from chatserve.codec.values import decode_time, dumps, encode_time, loads_stored
from chatserve.core.types import (
    DataPart,
    Feedback,
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


def part_json(part: Part) -> dict[str, Json]:
    """Return the JSON of one part, `type` first."""
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ReasoningPart():
            return {"type": "reasoning", "text": part.text}
        case FilePart():
            return {
                "type": "file",
                "file_id": part.file_id,
                "name": part.name,
                "media_type": part.media_type,
                "size": part.size,
                "url": f"/files/{part.file_id}",
            }
        case DataPart():
            return {"type": "data", "data": part.data} | ({"name": part.name} if part.name is not None else {})
        case SourcePart():
            return {"type": "source", "url": part.url} | ({"title": part.title} if part.title is not None else {})
        case ToolCallPart():
            return {
                "type": "tool_call",
                "tool_call_id": part.tool_call_id,
                "name": part.name,
                "arguments": part.arguments,
                "where": part.where,
            }
        case ToolResultPart():
            return {
                "type": "tool_result",
                "tool_call_id": part.tool_call_id,
                "output": part.output,
                "is_error": part.is_error,
            }
        case _:
            assert_never(part)


_PART_DECODERS: Final[Mapping[str, Callable[[Mapping[str, Json]], Part]]] = {
    "text": lambda v: TextPart(v["text"]),
    "reasoning": lambda v: ReasoningPart(v["text"]),
    "file": lambda v: FilePart(v["file_id"], v["name"], v["media_type"], v["size"]),
    "data": lambda v: DataPart(v["data"], v.get("name")),
    "source": lambda v: SourcePart(v["url"], v.get("title")),
    "tool_call": lambda v: ToolCallPart(v["tool_call_id"], v["name"], v["arguments"], v.get("where", "client")),
    "tool_result": lambda v: ToolResultPart(v["tool_call_id"], v["output"], v.get("is_error", False)),
}


def decode_part(value: Mapping[str, Json]) -> Part:
    """Read a part. Raises: ValueError naming what is wrong."""
    try:
        return _PART_DECODERS[value["type"]](value)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a message part: {value!r:.200}") from error


def content_json(content: Sequence[Part]) -> Json:
    """Return a string when the content is text only, else a list of parts."""
    if len(content) == 1:
        only = content[0]
        return only.text if isinstance(only, TextPart) else [part_json(only)]
    if all(isinstance(part, TextPart) for part in content):
        return "".join(part.text for part in content if isinstance(part, TextPart))
    return [part_json(part) for part in content]


def decode_content(value: Json) -> tuple[Part, ...]:
    """Read what `content_json` wrote. Raises: ValueError."""
    if isinstance(value, str):
        return (TextPart(value),)
    if not isinstance(value, list):
        raise ValueError(f"content is neither text nor a list of parts: {value!r:.200}")
    return tuple(map(decode_part, value))


def message_json(message: Message) -> dict[str, Json]:
    """Return the JSON of a message (contract section 7)."""
    value: dict[str, Json] = {
        "message_id": message.message_id,
        "turn_id": message.turn_id,
        "parent_id": message.parent_id,
        "role": message.role,
        "content": content_json(message.content),
        "created_at": encode_time(message.created_at),
    }
    if message.metadata is not None:
        value["metadata"] = dict(message.metadata)
    if message.options is not None:
        value["options"] = [dict(option) for option in message.options]
    if message.status is not None:
        value["status"] = message.status
    if message.feedback is not None:
        value["feedback"] = feedback_json(message.feedback)
    return value


def feedback_json(feedback: Feedback) -> dict[str, Json]:
    """Return the JSON of a feedback."""
    return {"value": feedback.value} | ({"comment": feedback.comment} if feedback.comment is not None else {})


def decode_message(value: Mapping[str, Json]) -> Message:
    """Read what `message_json` wrote. Raises: ValueError, KeyError."""
    options, feedback = value.get("options"), value.get("feedback")
    return Message(
        message_id=value["message_id"],
        role=value["role"],
        content=decode_content(value["content"]),
        created_at=decode_time(value["created_at"]),
        turn_id=value.get("turn_id"),
        parent_id=value.get("parent_id"),
        metadata=value.get("metadata"),
        options=None if options is None else tuple(options),
        status=value.get("status"),
        feedback=None if feedback is None else Feedback(feedback["value"], feedback.get("comment")),
    )


def encode_content(content: Sequence[Part]) -> bytes:
    """Return content as the stores keep it. Reading it back gives equal parts."""
    return dumps([part_json(part) for part in content])


def decode_stored_content(data: bytes | str) -> tuple[Part, ...]:
    """Read what `encode_content` wrote. Raises: ValueError."""
    return tuple(map(decode_part, cast("list[dict[str, Json]]", loads_stored(data))))
